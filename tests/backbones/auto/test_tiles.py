"""What strategies read of the tiles of LLaVA-NeXT and LLaVA-OneVision, with the stock model's own packing as the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import LlavaNextConfig
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches, unpad_image

import tokenbench
from tokenbench import Budget, Selection, Signal, Stage, Strategy, View
from tokenbench.errors import InfeasibleError
from tokenbench_backbones.auto import Auto
from tokenbench_backbones.auto.tiles import count_tiles
from tokenbench_strategies.hired import HiRED

SIZES = [(12, 12), (16, 32), (30, 16), (32, 32), (20, 31), (50, 9)]
"""Heights and widths in pixels; tiles are of 16 x 16, and a picture has two or four of them."""


class Reads(Strategy):
    """Keeps everything and remembers what it saw."""

    asks: ClassVar[tuple[Signal, ...]] = tuple(
        Signal(kind, -2) if kind != "features" else Signal(kind) for kind in ("cls", "keys", "features")
    )

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(0, 1.0, signals=self.asks)]

    def select(self, view: View) -> Selection:
        SEEN.append((dict(view.signals), [frame.tiles for frame in view.frames]))
        return Selection(torch.arange(view.n))


SEEN: list[tuple[dict[Signal, Tensor], list[Tensor | None]]] = []


def prompt(model: Any, size: tuple[int, int]) -> dict[str, Tensor]:
    """One picture of that size, whose tiles are noise, between words."""
    pixels = torch.randn(1, 5, 3, 16, 16, generator=torch.Generator().manual_seed(size[0]))
    media = {"pixel_values": pixels, "image_sizes": torch.tensor([size])}
    with torch.no_grad():
        (features,) = model.base_model.get_image_features(**media, return_dict=True).pooler_output
    ids = torch.tensor([[5, 6, 7, *[model.config.image_token_id] * len(features), 8, 9]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}


def packed(model: Any, values: Tensor, size: tuple[int, int], newline: Tensor) -> Tensor:
    """[n, D] what the stock model makes of values [tiles, patches, D] that it takes for features."""
    arguments = {"image_features": [values], "image_sizes": torch.tensor([size]), "image_newline": newline}
    if model.config.model_type == "llava_onevision":
        (found,), _ = model.base_model.pack_image_features(**arguments, vision_aspect_ratio="anyres_max_9")
    else:
        (found,), _ = model.base_model.pack_image_features(**arguments, vision_feature_select_strategy="default")
    return found


@pytest.fixture(scope="module", params=["llava_next", "llava_onevision"])
def model(request: pytest.FixtureRequest) -> Any:
    made, _ = Auto(request.param).tiny()
    made.base_model.vision_tower.set_attn_implementation("eager")
    return made


@pytest.mark.parametrize("size", SIZES)
def test_signals_are_those_of_the_tiles_unpadded_by_the_stock_model(model: Any, size: tuple[int, int]) -> None:
    inputs = prompt(model, size)
    SEEN.clear()
    with torch.no_grad(), tokenbench.pruned(model, Reads()):
        model(**inputs)
    ((signals, tiles),) = SEEN
    config = model.config
    count = image_size_to_num_patches(size, config.image_grid_pinpoints, config.vision_config.image_size)
    cls = int(config.model_type == "llava_next")
    with torch.no_grad():
        stock = model.base_model.vision_tower(
            inputs["pixel_values"][0, :count], output_attentions=True, output_hidden_states=True
        )
    weights = stock.attentions[-2].mean(1)  # over heads
    # Without a [CLS]: the mean attention that a patch receives, 1 being the average.
    attention = weights[:, 0, 1:] if cls else weights.mean(1) * weights.shape[1]
    expected = packed(model, attention[..., None], size, torch.zeros(1))[:, 0]
    torch.testing.assert_close(signals[Reads.asks[0]], expected)

    states = stock.hidden_states[config.vision_feature_layer][:, cls:]
    newline = torch.full((states.shape[-1],), torch.nan)
    expected = packed(model, states, size, newline)
    patches = ~expected.isnan().any(1)
    assert 0 < int((~patches).sum()) < len(patches)
    torch.testing.assert_close(signals[Reads.asks[2]][patches], expected[patches])

    numbers = torch.arange(count)[:, None, None].expand(-1, states.shape[1], 1).float() - 1
    expected = packed(model, numbers, size, torch.full((1,), torch.nan))[16:, 0]
    assert tiles[0] is None
    assert tiles[1] is not None
    assert torch.equal(tiles[1].float()[~expected.isnan()], expected[~expected.isnan()])


def test_the_number_of_tiles_follows_from_the_lattice() -> None:
    """On the resolutions that LLaVA-NeXT was trained with, unless a side is rounded to whole tiles."""
    config = LlavaNextConfig()
    side, image, wrong = 24, 336, 0
    sizes = torch.randint(200, 3000, (400, 2), generator=torch.Generator().manual_seed(0)).tolist()
    for size in [*sizes, *([n, n] for n in range(300, 360))]:
        height, width = select_best_resolution(size, config.image_grid_pinpoints)
        h, w = unpad_image(torch.zeros(1, height // image * side, width // image * side), size).shape[1:]
        right = count_tiles(config, h, w) == height * width // image**2
        assert right or (h % side == 0 and w % side == 0), size
        wrong += not right
    assert wrong < 460 / 20


def test_a_tiled_picture_is_put_together_for_what_encodes_it_again() -> None:
    auto = Auto("llava_next")
    model, _ = auto.tiny()
    (encoder,) = auto.describe_towers(model)
    pixels = prompt(model, (16, 32))["pixel_values"][0, :3]
    whole, tiled = encoder.layouts(pixels, call={"image_sizes": torch.tensor([[16, 32]])})
    assert torch.equal(whole.pixels, pixels[:1])
    assert torch.equal(tiled.pixels, torch.cat([pixels[1:2], pixels[2:3]], 3))
    *_, padded = encoder.layouts(pixels, call={"image_sizes": torch.tensor([[12, 12]])})
    assert padded.pixels.shape == (1, 3, 16, 16)
    with torch.no_grad():
        assert encoder.encode_resized(padded.pixels, 2, 3).shape == (6, model.config.text_config.hidden_size)


def test_hired_shares_the_rest_among_the_tiles_by_the_whole_picture() -> None:
    """The whole picture has half of the budget; each tile has its share of the top half of the whole picture's tokens."""
    auto = Auto("llava_next")
    model, _ = auto.tiny()
    inputs = prompt(model, (32, 32))
    SEEN.clear()
    with torch.no_grad(), tokenbench.pruned(model, ReadsEarly()):
        model(**inputs)
    early = SEEN[0][0][Signal("cls", 0)][:16]
    tiles = SEEN[0][1][1]
    assert tiles is not None
    with torch.no_grad(), tokenbench.pruned(model, HiRED(full="first"), "32") as pruning:
        model(**inputs)
    kept = torch.tensor(pruning.rows[0].kept)
    own = tiles[kept[kept >= 16] - 16].bincount(minlength=4)
    best = early.argsort(descending=True)[:8]
    votes = torch.tensor([int(((best >= 4 * i) & (best < 4 * i + 4)).sum()) for i in range(4)])
    assert int((kept < 16).sum()) == 16
    (whole, of_whole), (tiled, of_tiles) = pruning.rows[0].kept_by_lattice
    assert (whole.tokens, of_whole, tiled.tokens, of_tiles) == (16, 16, 8 * 9, int((kept >= 16).sum()))
    assert torch.equal(own, (16 * votes) // 8)


class ReadsEarly(Reads):
    """Asks for what HiRED shares by."""

    asks: ClassVar[tuple[Signal, ...]] = (Signal("cls", 0),)


def test_a_picture_that_is_shrunk_after_the_encoder_cannot_be_read() -> None:
    auto = Auto("llava_onevision")
    model, _ = auto.tiny()
    model.config.vision_aspect_ratio = "anyres_max_1"
    inputs = prompt(model, (32, 32))
    with torch.no_grad(), tokenbench.pruned(model, "clse", "1/3") as pruning:
        model(**inputs)
    assert pruning.rows[0].grids[1].inputs is None
    with (
        pytest.raises(
            InfeasibleError, match="vision encoder, but the model shrinks what it computed of large pictures"
        ),
        torch.no_grad(),
        tokenbench.pruned(model, "visionzip", "1/3"),
    ):
        model(**inputs)

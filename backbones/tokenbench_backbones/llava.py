"""LLaVA-1.5: a CLIP tower whose patches, projected, are the visual tokens of a Llama decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tokenbench import Backbone, Grid, UsageError
from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.sizes import ModelSize
from tokenbench_backbones import dummy_inputs, sizes

__all__ = ["Llava", "describe_clip", "repeat_grid", "repeat_grids", "resize"]


class Llava(Backbone):
    """LlavaForConditionalGeneration: every image is one square lattice, 24 x 24 for LLaVA-1.5 at 336 pixels."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """One square lattice for every image."""
        return repeat_grids(self.visual(model, input_ids), _lattice(model.config), "image")

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the CLIP tower."""
        full = model.config.vision_feature_select_strategy != "default"
        return [describe_clip(model, model.base_model.vision_tower, full)]

    def prompt(self, processor: Any, question: str, kinds: Sequence[str]) -> str:
        """LLaVA-1.5's prompt, for processors without a chat template."""
        shown = "".join(f"{getattr(processor, f'{kind}_token')}\n" for kind in kinds)
        return f"USER: {shown}{question} ASSISTANT:"

    def size(self, config: Any) -> ModelSize:
        """Sizes of a CLIP encoder and of a Llama decoder."""
        return sizes.llava(config)

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """One image, or as many images as `tokens` visual tokens fill."""
        grid = _lattice(config)
        return repeat_grid(grid, tokens or grid.tokens, "image")

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random images."""
        side = config.vision_config.image_size
        shown = [config.image_token_id] * sum(grid.tokens for grid in grids)
        return {
            **dummy_inputs.prompt(config, shown, text),
            "pixel_values": dummy_inputs.noise(len(grids), 3, side, side),
        }

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random LLaVA and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.llava(attention)


def repeat_grids(visual: Tensor, grid: Grid, what: str) -> list[tuple[Grid, ...]]:
    """Equal lattices for every row [B, S]: as many as its visual tokens fill.

    Args:
        visual: [B, S] where the visual tokens are.
        grid: The lattice.
        what: What one lattice holds, for the error.

    Raises:
        UsageError: If the visual tokens of a row do not fill whole lattices.
    """
    return [repeat_grid(grid, count, what) for count in visual.sum(1).tolist()]


def repeat_grid(grid: Grid, count: int, what: str) -> tuple[Grid, ...]:
    """As many copies of a lattice as `count` visual tokens fill.

    Args:
        grid: The lattice.
        count: The number of visual tokens.
        what: What one lattice holds, for the error.

    Raises:
        UsageError: If the visual tokens do not fill whole lattices.
    """
    if count % grid.tokens:
        raise UsageError(f"this model has {grid.tokens} visual tokens per {what}, but the prompt has {count}")
    return (grid,) * (count // grid.tokens)


def describe_clip(model: Any, tower: nn.Module, full: bool) -> Encoder:
    """Describe a CLIP tower, or one of SigLIP, which has no [CLS], in front of the model's projector.

    Args:
        model: The stock model.
        tower: Its tower.
        full: Whether a frame's [CLS] is a visual token, too, if there is one.

    Raises:
        UsageError: If the projector reads several encoder layers.
    """
    clip: Any = tower
    layers, patch = list(clip.encoder.layers), clip.config.patch_size
    cls = int(hasattr(clip.embeddings, "class_embedding"))
    first = 0 if full else cls
    feature_layer = model.config.vision_feature_layer
    if not isinstance(feature_layer, int):
        raise UsageError(f"features of several encoder layers {feature_layer} are not supported")

    def layouts(pixel_values: Tensor, **options: Any) -> list[FrameLayout]:
        positions = cls + (pixel_values.shape[2] // patch) * (pixel_values.shape[3] // patch)
        tokens = torch.arange(first, positions).unsqueeze(1)
        return [FrameLayout(positions, tokens, frame) for frame in pixel_values.split(1)]

    def project(states: Tensor) -> Tensor:
        projected: Tensor = model.base_model.multi_modal_projector(states.mean(1))
        return projected

    def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
        # `forward` is called directly, so that hooks on the tower do not fire.
        smaller = resize(pixels, h * patch, w * patch)
        output = clip.forward(smaller, interpolate_pos_encoding=True, output_hidden_states=True)
        return project(output.hidden_states[feature_layer][:, first:].flatten(0, 1).unsqueeze(1))

    return Encoder(
        tower=tower,
        layers=layers,
        attentions=[layer.self_attn for layer in layers],
        depth=range(len(layers) + 1)[feature_layer],
        cls=bool(cls),
        batched=True,
        layouts=layouts,
        project=project,
        encode_resized=encode_resized,
    )


def resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures [B, 3, H, W] resized to [B, 3, height, width], bicubic, antialiased where they shrink."""
    shape = (height, width)
    smaller = nn.functional.interpolate(pictures.float(), shape, mode="bicubic", antialias=True, align_corners=False)
    return smaller.to(pictures.dtype)


def _lattice(config: Any) -> Grid:
    """The lattice of one image."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    return Grid(1, side, side, num_prefix_tokens=0 if config.vision_feature_select_strategy == "default" else 1)

"""What the engine and the runner must know of a model architecture, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from tokenbench.errors import MachineError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tokenbench.contract.lattice import Grid
    from tokenbench.contract.sizes import ModelSize

__all__ = ["Backbone", "Encoder", "FrameLayout", "runs"]


@dataclass(frozen=True)
class FrameLayout:
    """Where the visual tokens of one image, tile or frame are among the rows the encoder gives it.

    rows: how many these are. tokens: [n, patches] the rows of every visual token, in the order of the prompt.
    pixels: what the encoder was given for this frame, as `Encoder.shrunk` takes it.
    """

    rows: int
    tokens: Tensor
    pixels: Any


@dataclass(frozen=True)
class Encoder:
    """A stock vision encoder, as strategies that look into it need it described.

    tower: the model whose forward takes pixels. layers, attentions: its layers, and the attention module of each.
    depth: the layers that run before the projector. cls: the first row of a frame is a [CLS].
    batched: its layers take [frames, rows, C]; otherwise [rows of all frames, C].
    layouts: from the arguments of the tower's forward to the layout of every frame.
    project: [m, patches, C] output states of whole tokens -> [m, C of the decoder].
    shrunk: (pixels, h, w) -> [tokens, C of the decoder] of the frame, shown as a picture of h x w tokens.
    """

    tower: nn.Module
    layers: Sequence[nn.Module]
    attentions: Sequence[nn.Module]
    depth: int
    cls: bool
    batched: bool
    layouts: Callable[..., list[FrameLayout]]
    project: Callable[[Tensor], Tensor]
    shrunk: Callable[[Any, int, int], Tensor]

    def after(self, share: float) -> int:
        """The layer that follows that share of all layers; the last one before the projector at the latest."""
        return min(int(share * len(self.layers)), self.depth - 1)


class Backbone:
    """Adapter of one architecture to stock transformers.

    model_types: the `config.model_type` values it serves.
    source: for a backbone that is one particular model: its weights (a folder or a Hugging Face id).
    notes: sentences a reader of this model's numbers must see.
    tiled: an image may be several lattices, its tiles.
    published: the sizes that the `config.json` of `source` states, where they are to be known without a download.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str | None] = None
    notes: ClassVar[tuple[str, ...]] = ()
    tiled: ClassVar[bool] = False
    published: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def decoder(self, model: Any) -> nn.Module:
        """The module that holds the decoder `layers` and `rotary_emb`."""
        decoder: nn.Module = model.base_model.language_model
        return decoder

    def visual(self, model: Any, input_ids: Tensor) -> Tensor:
        """[B, S] -> [B, S] True at the columns that hold visual tokens."""
        visual: Tensor = input_ids == model.config.image_token_id
        video = getattr(model.config, "video_token_id", None)
        return visual if video is None else visual | (input_ids == video)

    def grids(self, model: Any, input_ids: Tensor, positions: Tensor | None) -> list[tuple[Grid, ...]]:
        """Of every row [B, S]: the lattice of each of its images and videos, in the order of the prompt.

        positions: the decoder's position ids, [B or 1, S] or (M-RoPE) [3, B, S]; None before they are known.
        Raises UsageError for a number of visual tokens that no lattice of this model has.
        """
        raise NotImplementedError

    def encode(self, model: Any, inputs: Any) -> list[Tensor]:
        """[tokens, C'] features of every image or video in `inputs`, as the image or the video processor made them.

        What they hold beyond the decoder's C channels is this adapter's own.
        """
        return list(self.stock_output(model, inputs).pooler_output)

    def encoders(self, model: Any) -> Sequence[Encoder]:
        """Its vision encoders: one for all it takes, or (Video-LLaVA) one for images and one for clips."""
        raise NotImplementedError

    def stock_output(self, model: Any, inputs: Any) -> Any:
        """What the stock encoder returns for `inputs`."""
        kind = "video" if "pixel_values_videos" in inputs else "image"
        return getattr(model.base_model, f"get_{kind}_features")(**inputs, return_dict=True)

    def encoded(self, model: Any, features: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
        """The model's `mm_encoder_outputs` for the features of all that a batch shows, each with its kind, row by row."""
        kinds = dict.fromkeys(kind for kind, _ in features)
        return {kind: self.output(model, [item for k, item in features if k == kind]) for kind in kinds}

    def output(self, model: Any, features: list[Tensor]) -> Any:
        """What the stock encoder would have returned for these images or videos."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        pooled: Any = features
        return BaseModelOutputWithPooling(pooler_output=pooled)

    def prompt(self, processor: Any, question: str, kinds: Sequence[str]) -> str:
        """The prompt of a model whose processor has no chat template, showing an "image" or "video" for each kind.

        Raises MachineError if the model needs one.
        """
        raise MachineError(
            "the model's processor has no chat template", "fetch the model again, with chat_template.jinja"
        )

    def size(self, config: Any) -> ModelSize:
        """Sizes of decoder and encoder, from the model's stock configuration alone.

        Raises UsageError if the cost of one of them is not known.
        """
        raise NotImplementedError(f"{type(self).__name__} has no size()")

    def typical(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """The lattices of a common input, or of one with so many visual tokens, for a cost that is no sample's.

        Raises UsageError for a number of visual tokens that no input has.
        """
        raise NotImplementedError(f"{type(self).__name__} has no typical()")

    def made_up(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """The model's inputs for one row that shows random pixels on lattices from `typical`, with `text` other tokens.

        No processor is needed. Raises UsageError for less text than the prompt's own marks.
        """
        raise NotImplementedError(f"{type(self).__name__} has no made_up()")

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random model and unlike prompts (its inputs for one row each), for the checks of tokenbench.testing."""
        raise NotImplementedError


def runs(row: Tensor, visual: Tensor) -> list[tuple[int, int]]:
    """(first column, length) of every stretch of equal ids [S] within the columns where visual [S] is True."""
    columns = visual.nonzero().flatten()
    if not len(columns):
        return []
    breaks = (columns.diff() != 1) | (row[columns].diff() != 0)
    starts = [0, *(breaks.nonzero().flatten() + 1).tolist()]
    ends = [*starts[1:], len(columns)]
    return [(at, end - start) for at, start, end in zip(columns[starts].tolist(), starts, ends, strict=True)]

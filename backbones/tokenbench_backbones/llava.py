"""LLaVA-1.5: a CLIP tower whose patches, projected, are the visual tokens of a Llama decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from tokenbench import Backbone, Grid, UsageError

__all__ = ["Llava", "equal_grids"]


class Llava(Backbone):
    """LlavaForConditionalGeneration: every image is one square lattice, 24 x 24 for LLaVA-1.5 at 336 pixels."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    def grids(self, model: Any, input_ids: Tensor, positions: Tensor | None) -> list[tuple[Grid, ...]]:
        vision = model.config.vision_config
        side = vision.image_size // vision.patch_size
        lead = 0 if model.config.vision_feature_select_strategy == "default" else 1
        return equal_grids(self.visual(model, input_ids), Grid(1, side, side, lead), "image")

    def prompt(self, processor: Any, question: str, kinds: Sequence[str]) -> str:
        shown = "".join(f"{getattr(processor, f'{kind}_token')}\n" for kind in kinds)
        return f"USER: {shown}{question} ASSISTANT:"

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        from tokenbench_backbones import tiny

        return tiny.llava(attention)


def equal_grids(visual: Tensor, grid: Grid, what: str) -> list[tuple[Grid, ...]]:
    """Of every row [B, S]: as many of the same lattice as its visual tokens fill. `what` it holds is for the error."""
    counts = visual.sum(1).tolist()
    for count in counts:
        if count % grid.tokens:
            raise UsageError(f"this model has {grid.tokens} visual tokens an {what}, but a prompt holds {count}")
    return [(grid,) * (count // grid.tokens) for count in counts]

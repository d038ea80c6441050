"""LLaVA-1.5: a CLIP tower whose patches, projected, are the visual tokens of a Llama decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tokenbench import Backbone, Grid, UsageError

__all__ = ["Llava"]


class Llava(Backbone):
    """LlavaForConditionalGeneration: every image is one square lattice, 24 x 24 for LLaVA-1.5 at 336 pixels."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    def grids(self, model: Any, counts: Sequence[int]) -> list[tuple[Grid, ...]]:
        vision = model.config.vision_config
        side = vision.image_size // vision.patch_size
        lead = 0 if model.config.vision_feature_select_strategy == "default" else 1
        grid = Grid(1, side, side, lead)
        if any(count % grid.tokens for count in counts):
            raise UsageError(f"this LLaVA has {grid.tokens} visual tokens an image, but a prompt holds {max(counts)}")
        return [(grid,) * (count // grid.tokens) for count in counts]

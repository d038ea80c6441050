"""What the engine and the runner must know of a model architecture, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tokenbench.strategy import Grid

__all__ = ["Backbone"]


class Backbone:
    """Adapter of one architecture to stock transformers.

    model_types: the `config.model_type` values it serves.
    source: for a backbone that is one particular model: its weights (a folder or a Hugging Face id).
    notes: sentences a reader of this model's numbers must see.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str | None] = None
    notes: ClassVar[tuple[str, ...]] = ()

    def decoder(self, model: Any) -> nn.Module:
        """The module that holds the decoder `layers` and `rotary_emb`."""
        decoder: nn.Module = model.base_model.language_model
        return decoder

    def visual(self, model: Any, input_ids: Tensor) -> Tensor:
        """[B, S] -> [B, S] True at the columns that hold visual tokens."""
        visual: Tensor = input_ids == model.config.image_token_id
        return visual

    def grids(self, model: Any, counts: Sequence[int]) -> list[tuple[Grid, ...]]:
        """Of every row with `counts` visual tokens: the lattice of each of its images, in the order of the prompt."""
        raise NotImplementedError

    def encode(self, model: Any, inputs: Any) -> list[Tensor]:
        """[tokens, C] features, projected to the decoder's width, of every image that `inputs` of the processor hold."""
        outputs = model.base_model.get_image_features(**inputs, return_dict=True)
        return list(outputs.pooler_output)

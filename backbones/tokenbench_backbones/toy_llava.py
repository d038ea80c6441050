"""The embedded model: a small LLaVA trained end to end on this repository's rendered scenes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tokenbench_backbones.llava import Llava

__all__ = ["ToyLlava"]


class ToyLlava(Llava):
    """A stock LLaVA of 7 million parameters; `training/README.md` tells how it was trained."""

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = str(Path(__file__).with_name("toy_llava_weights"))
    notes: ClassVar[tuple[str, ...]] = (
        "toy-llava is a demonstration: a small model trained on rendered scenes. It has 10 decoder layers only, and "
        "methods which rank by the attention of its first layer know nothing of the question there. "
        "Nothing about real models may be concluded from it.",
    )

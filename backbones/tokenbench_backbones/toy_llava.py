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
        "toy-llava is a demonstration: a small model that learned rendered scenes. It is shallow (10 decoder layers), and "
        "strategies that read the attention of the first layer learn nothing about the question there. Nothing about real "
        "models may be concluded from it.",
    )

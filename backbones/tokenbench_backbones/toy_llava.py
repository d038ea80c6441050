"""The embedded model: a small LLaVA trained by this repository on its own synthetic scenes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tokenbench_backbones.llava import Llava

__all__ = ["ToyLlava"]


class ToyLlava(Llava):
    """A stock LLaVA of a few million parameters; `training/README.md` tells how it was made."""

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = str(Path(__file__).with_name("toy_llava_weights"))
    notes: ClassVar[tuple[str, ...]] = (
        "toy-llava is a demonstration: a tiny model trained on synthetic scenes, in a way that favors methods which rank "
        "by the attention of its first layer or of layers 3 and 4. Nothing about real models may be concluded from it.",
    )

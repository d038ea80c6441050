"""The embedded video model: a small Video-LLaVA, trained in this repository from `toy-llava` on synthetic clips."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tokenbench_backbones.video_llava import VideoLlava

__all__ = ["ToyVideoLlava"]


class ToyVideoLlava(VideoLlava):
    """A stock Video-LLaVA of a few million parameters: a clip is 8 x (1 + 36) = 296 visual tokens."""

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = str(Path(__file__).with_name("toy_video_llava_weights"))
    notes: ClassVar[tuple[str, ...]] = (
        "toy-video-llava is a demonstration: a tiny model trained on synthetic clips, in a way that favors methods which "
        "rank by the attention of its first layer or of layers 3 and 4. Nothing about real models may be concluded from it.",
    )

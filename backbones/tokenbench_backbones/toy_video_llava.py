"""The embedded video model: a small Video-LLaVA, trained on this repository's rendered clips."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tokenbench_backbones.video_llava import VideoLlava

__all__ = ["ToyVideoLlava"]


class ToyVideoLlava(VideoLlava):
    """A stock Video-LLaVA of 2.8 million parameters: a clip is 8 x (1 + 36) = 296 visual tokens."""

    model_types: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = str(Path(__file__).with_name("toy_video_llava_weights"))
    notes: ClassVar[tuple[str, ...]] = (
        "toy-video-llava is a demonstration: a tiny model trained on rendered clips by an earlier recipe, with attention heads "
        "that were partly built by hand and guided. This favors strategies that rank tokens by the attention of its first "
        "layer or of layers 3 and 4. Nothing about real models may be concluded from it.",
    )

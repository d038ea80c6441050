"""Stage C of the video model: tower, projector and decoder together on pixels of clips."""

from pathlib import Path

import numpy as np
from torch import Tensor, nn
from transformers import VideoLlavaForConditionalGeneration

from training.clip_labels import CLIP_TOKENS
from training.clip_questions import ClipMind, pack_clips, training_clips
from training.frames import FrameEye, clip_pixels, frame_labels
from training.joint import DENSE_WEIGHT
from training.labels import SCALE
from training.loop import load_stage
from training.packing import choose_patches

JOINT_CLIPS = 20_000_000  # first clip index of this stage
FEW_TOKENS = 120


class ClipJoint(nn.Module):
    """Both halves of one model."""

    def __init__(self, model: VideoLlavaForConditionalGeneration) -> None:
        super().__init__()
        self.model, self.eye, self.mind = model, FrameEye(model), ClipMind(model)
        self.model.model.image_tower.requires_grad_(False)

    def load_halves(self, folder: Path) -> None:
        """Continue from stages A and B as far as they have come."""
        for name, half in (("frames", self.eye), ("symbols", self.mind)):
            if (folder / f"{name}.pt").exists():
                load_stage(half, folder, name)

    def loss(self, step: int, batch: int, rank: int, workers: int) -> tuple[Tensor, dict[str, float]]:
        """One step on clips of its own; all visual tokens every fourth step, few of them else."""
        clips, dense = training_clips(JOINT_CLIPS + (step * workers + rank) * batch, batch)
        rng = np.random.default_rng((19, step, rank))
        tokens = choose_patches(dense, CLIP_TOKENS if step % 4 == 0 else FEW_TOKENS, rng)
        projected, features, _ = self.eye(clip_pixels(clips))
        whole = projected.unflatten(0, (batch, -1)).flatten(1, 2)
        visual = whole.gather(1, tokens[..., None].expand(-1, -1, whole.shape[-1]))
        answers, figures = self.mind.clip_loss(visual, tokens, pack_clips(clips, dense, rng), dense, 0.0, 0.0)
        shown, seen = self.eye.dense_loss(projected / SCALE, features, frame_labels(dense))
        return answers + DENSE_WEIGHT * shown, figures | {"kind": seen["kind"]}

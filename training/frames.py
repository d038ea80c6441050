"""Stage B of the video model: tower and projector turn the tokens of a frame, its [CLS] too, into symbols."""

import numpy as np
import torch
from torch import Tensor
from transformers import VideoLlavaForConditionalGeneration

from tokenbench_suites.clips import FRAMES, Clip, clip_rng, frame_scene, make_clip, render_clip
from tokenbench_suites.clips import SIDE as CLIP_PIXELS
from tokenbench_suites.scenes import render
from training.clip_labels import FRAME_TOKENS, ClipDense, clip_labels, frame_positions
from training.clip_questions import CLIP_STYLE
from training.labels import SCALE
from training.tower import Eye

FRAME_CLIPS = 10_000_000  # first clip index of this stage
PER_CLIP = 3  # frames


class FrameEye(Eye):
    """The video tower and the projector."""

    def __init__(self, model: VideoLlavaForConditionalGeneration) -> None:
        super().__init__(model.model.video_tower, model.model.multi_modal_projector, frame_positions())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As Eye's, but tokens and features are those of [CLS] and patches [b, FRAME_TOKENS, w]."""
        states = self.tower(pixels, output_hidden_states=True).hidden_states
        return self.projector(states[-2]), states[-2], [states[-2][:, 0], states[-1][:, 0]]


def frame_pixels(frames: np.ndarray) -> Tensor:
    """What the processor makes of frames [n, s, s, 3]: [n, 3, s, s]."""
    return (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def clip_pixels(clips: list[Clip]) -> Tensor:
    """All frames of all clips [b * FRAMES, 3, s, s]."""
    return frame_pixels(np.concatenate([render_clip(clip) for clip in clips]))


def frame_labels(dense: list[ClipDense]) -> Tensor:
    """[b * FRAMES, 3, FRAME_TOKENS] of kinds, inks and marks."""
    stacked = np.stack([np.stack([d.kind, d.ink, d.mark]) for d in dense])
    return torch.from_numpy(stacked).unflatten(2, (FRAMES, FRAME_TOKENS)).transpose(1, 2).flatten(0, 1)


def frame_loss(eye: FrameEye, step: int, batch: int) -> tuple[Tensor, dict[str, float]]:
    """A few frames of each of `batch` clips."""
    indices = range(FRAME_CLIPS + step * batch, FRAME_CLIPS + (step + 1) * batch)
    clips = [make_clip(clip_rng("train", index), CLIP_STYLE) for index in indices]
    rng = np.random.default_rng((17, step))
    chosen = [(c, int(f)) for c in range(batch) for f in rng.permutation(FRAMES)[:PER_CLIP]]
    scenes = [frame_scene(clips[c], f) for c, f in chosen]
    pixels = np.stack([render(scene, CLIP_PIXELS, f) for scene, (_, f) in zip(scenes, chosen, strict=True)])
    labels = frame_labels([clip_labels(clip) for clip in clips])[[c * FRAMES + f for c, f in chosen]]
    projected, features, summaries = eye(frame_pixels(pixels))
    loss, figures = eye.dense_loss(projected / SCALE, features, labels)
    return loss + eye.pair_loss(summaries, scenes), figures

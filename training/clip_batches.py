"""Batches of rendered clips for toy-video-llava."""

import numpy as np
import torch

from tokenbench_suites.clips import ASKERS, FRAMES, SIDE, Clip, ClipStyle, clip_rng, frame_scene, make_clip, render_clip
from tokenbench_suites.scenes.world import CELL
from training.batches import Batch, Ints, label_patches
from training.clip_vocabulary import build_clip_tokenizer
from training.packing import Asking, pack

CLIP_SIDE = SIDE // CELL
FRAME_TOKENS = 1 + CLIP_SIDE**2  # [CLS] and the patches of a frame
CLIP_TOKENS = FRAMES * FRAME_TOKENS
SHARES = {"motion": 1.5, "order": 1.5, "moving": 0.6, "appearance": 1.5}
ASKING = Asking(ASKERS, SHARES, draws=24, distinct=True, rows=112, vocabulary=build_clip_tokenizer().get_vocab())


def make_clip_batch(first: int, size: int, progress: float) -> Batch:
    """Clips [first, first + size) of the training stream, which are alike from the first step to the last."""
    clips = [make_clip(clip_rng("train", index), ClipStyle()) for index in range(first, first + size)]
    asked = [ASKING.draw(clip, np.random.default_rng((11, first + i))) for i, clip in enumerate(clips)]
    labels = np.array([label_clip(clip) for clip in clips])
    pixels = np.stack([render_clip(clip) for clip in clips])
    kinds, inks = torch.from_numpy(labels).unbind(1)
    return Batch(torch.from_numpy(pixels), pack(asked, ASKING), kinds, inks)


def label_clip(clip: Clip) -> Ints:
    """(kinds, inks) of all visual tokens [2, CLIP_TOKENS]; nothing has its centre at a [CLS]."""
    frames = np.array([label_patches(frame_scene(clip, frame), CLIP_SIDE) for frame in range(FRAMES)])
    return np.pad(frames, ((0, 0), (0, 0), (1, 0))).swapaxes(0, 1).reshape(2, CLIP_TOKENS)

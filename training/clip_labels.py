"""What each visual token of a clip shows: a frame is its [CLS], then its patches row by row. Knows nothing of models."""

from dataclasses import dataclass

import numpy as np

from tokenbench_suites.clips import FRAMES, SIDE, Clip, frame_scene
from tokenbench_suites.clips.world import WAYS
from tokenbench_suites.scenes.world import CELL
from training.labels import Codes, Dense, Floats, Ints, dense_labels

CLIP_SIDE = SIDE // CELL  # patches
FRAME_TOKENS = 1 + CLIP_SIDE**2
CLIP_TOKENS = FRAMES * FRAME_TOKENS
MOTIONS = ("stands", *WAYS)
UNTOLD = -100
EARLY = 2  # frames in which nothing can be said to have moved


@dataclass(frozen=True)
class ClipDense(Dense):
    """As Dense, over CLIP_TOKENS; owner is the index of the actor. motion: index into MOTIONS, UNTOLD where nothing is."""

    motion: Ints


def clip_labels(clip: Clip) -> ClipDense:
    """Labels of all visual tokens of a clip."""
    frames = [_frame_labels(clip, frame) for frame in range(FRAMES)]
    kind, ink, mark, owner, motion = (np.concatenate(part) for part in zip(*frames, strict=True))
    return ClipDense(kind, ink, mark, owner, motion)


def frame_positions() -> Floats:
    """[FRAME_TOKENS, WIDTH]: the code that leads a frame, then the codes of its places."""
    return np.concatenate([Codes().spare[2:3], Codes(side=CLIP_SIDE).positions])


def _frame_labels(clip: Clip, frame: int) -> tuple[Ints, ...]:
    shown = dense_labels(frame_scene(clip, frame), CLIP_SIDE)
    seen = [index for index, actor in enumerate(clip.actors) if frame in actor.seen]
    owner = np.array([*seen, -1])[shown.owner]
    ways = np.array([MOTIONS.index(actor.way or "stands") for actor in clip.actors] + [UNTOLD])
    motion = np.full_like(owner, UNTOLD) if frame < EARLY else ways[owner]
    lead = ((shown.kind, 0), (shown.ink, 0), (shown.mark, 0), (owner, -1), (motion, UNTOLD))
    return tuple(np.concatenate([[first], rest]) for rest, first in lead)

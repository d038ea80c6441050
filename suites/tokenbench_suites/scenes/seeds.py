"""Random streams of scenes. Training and evaluation draw from different streams by construction.

A stream is keyed by (project, split, index), so no index of one split ever yields the stream of another.
"""

from typing import Literal

import numpy as np

__all__ = ["Split", "scene_rng"]

Split = Literal["train", "heldout", "eval"]
PROJECT = 0x746F6B65
SPLITS: dict[Split, int] = {"train": 1, "heldout": 2, "eval": 3}


def scene_rng(split: Split, index: int) -> np.random.Generator:
    """The stream that scene `index` of a split is made from."""
    return np.random.default_rng(np.random.SeedSequence((PROJECT, SPLITS[split], index)))

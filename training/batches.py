"""Pictures of a training step with their questions, and what each patch shows. Knows nothing of models."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tokenbench_suites.scenes import COLORS, SHAPES, Scene
from tokenbench_suites.scenes.world import CELL
from training.packing import Rows

KINDS = ("nothing", *SHAPES, *"0123456789")
INKS = ("nothing", *COLORS)
Ints = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """b images or clips. pixels: bytes [b, s, s, 3], or [b, frames, s, s, 3]. rows: their questions.

    kinds, inks [b, n]: indices into KINDS and INKS of what has its centre at each visual token.
    """

    pixels: Tensor
    rows: Rows
    kinds: Tensor
    inks: Tensor

    def to(self, device: torch.device) -> "Batch":
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(move(self.pixels), Rows(*map(move, self.rows)), move(self.kinds), move(self.inks))


def label_patches(scene: Scene, side: int) -> tuple[Ints, Ints]:
    """(kinds, inks) of the side x side patches, row by row: a thing or digit counts where its centre is."""
    kinds, inks = np.zeros((side, side), np.int64), np.zeros((side, side), np.int64)
    for thing in scene.things:
        at = thing.y // CELL, thing.x // CELL
        kinds[at], inks[at] = KINDS.index(thing.shape), INKS.index(thing.color)
    if scene.number:
        for place, digit in enumerate(scene.number.text):
            kinds[scene.number.y // CELL, scene.number.x // CELL + place] = KINDS.index(digit)
    return kinds.reshape(-1), inks.reshape(-1)


class Batches(Dataset[Batch]):
    """The batch of every step, made when it is asked for; make: step -> batch."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Batch:
        torch.set_num_threads(1)
        return self.make(step)


def load_batches(make: Callable[[int], Batch], steps: Sequence[int], workers: int, pin: bool) -> DataLoader[Any]:
    """The batches of these steps in order, made by that many processes (0: by this one)."""
    ahead = 4 if workers else None
    return DataLoader(Batches(make), None, sampler=steps, num_workers=workers, pin_memory=pin, prefetch_factor=ahead)

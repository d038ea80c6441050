"""Finds out before a run whether the clips of a task are too long for a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING

from tokenbench.contract.suite import Sample, Video
from tokenbench.errors import UsageError
from tokenbench.models.model import Model
from tokenbench.runner.work import Work

if TYPE_CHECKING:
    from PIL.Image import Image

    from tokenbench.models.batch import Load

__all__ = ["check_clips"]

FIRST = 4
"""How many of the first samples of a task are looked at."""


def check_clips(works: Iterable[Work]) -> None:
    """Check that the prompts of the first samples of every task with clips fit into the models' contexts.

    Raises:
        UsageError: Those of a task are all too long. It names the largest number of frames with which all of them fit.
    """
    for work in works:
        if work.model.context is not None:
            _check_work(work, work.model.context)


def _check_work(work: Work, context: int) -> None:
    for name, task in work.tasks.items():
        samples = work.samples[name][:FIRST] if task.sampling else ()
        lengths = _measure(work.model, samples, work.media.load)
        if not lengths or min(lengths) <= context:
            continue
        most = _most_frames(work, samples, context)
        raise UsageError(
            f"task '{name}' with {task.sampling}: the prompts of its first {len(samples)} samples have {min(lengths):,} tokens or more, and the "
            f"context of {work.model.name} is {context:,}",
            f"use --frames {most}, with which they fit, or a model with a longer context" if most else "use a model with a longer context",
        )  # fmt: skip


def _measure(model: Model, samples: Sequence[Sample], load: Load = methodcaller("load")) -> list[int]:
    """Return the number of tokens of every prompt; nothing if some cannot be loaded, which the run reports with the reason."""
    try:
        loaded = model.load_samples(samples, load) if samples else None
    except Exception:  # of a suite or of a processor
        return []
    return [] if loaded is None else [int(length) for length in loaded.inputs["attention_mask"].sum(1)]


def _most_frames(work: Work, samples: Sequence[Sample], context: int) -> int:
    """Return the largest number of frames of each clip with which all prompts fit; 0 if there is none."""
    shown = [work.media.load(sample) for sample in samples]
    fit = 0
    too_many = max((len(item.frames) for items in shown for item in items if isinstance(item, Video)), default=1)
    while too_many - fit > 1:
        frames = (fit + too_many) // 2
        cut = [replace(sample, load=partial(_cut, items, frames)) for sample, items in zip(samples, shown, strict=True)]
        lengths = _measure(work.model, cut)
        if lengths and max(lengths) <= context:
            fit = frames
        else:
            too_many = frames
    return fit


def _cut(shown: Sequence[Image | Video], frames: int) -> list[Image | Video]:
    return [replace(item, frames=item.frames[:frames]) if isinstance(item, Video) else item for item in shown]

"""The looks at a run: which of its samples each of them saw, and what a reader has to know of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenbench.comparison.looks import COLUMN, Looks, find_frozen
from tokenbench.contract.cells import IDENTITY, VANILLA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_known", "looked", "new_look", "rejoined", "sentence"]

Sizes = Mapping[str, int]  # leading samples by task


def looked(samples: pd.DataFrame, manifest: Mapping[str, Any]) -> tuple[pd.DataFrame, Looks]:
    """The samples with the column of the looks that saw them first, and the looks, this one included.

    What none has seen is left out: a run that was broken off may hold more of one cell than of vanilla.

    samples: rows of finished cells, those of a cell in the order in which the run took them up.
    """
    plan = manifest.get("plan")
    present = new_look(samples)["samples"] if len(samples) else {}
    if not present:  # vanilla failed, or nothing is there yet: there is nothing to compare with
        return samples.assign(**{COLUMN: 1}), Looks(False, None, (1.0,), "counted", ({},))
    if plan and plan["samples"].keys() >= present.keys():
        seen = _numbered(samples, present, plan["samples"])
        return seen, _looks(seen, plan["spending"], plan["maximum"], plan["looks"])
    sizes = [look["samples"] for look in manifest.get("looks", [])]
    sizes = sizes if is_known(sizes, present) else [*sizes, present]
    seen = _numbered(samples, present, {task: [size.get(task, 0) for size in sizes] for task in present})
    if len(sizes) == 1 and manifest["spec"]["limit"] is None:  # all there are: the maximum needs no declaration
        return seen, _looks(seen, "obrien-fleming", _images(seen), 1)
    return seen, _looks(seen)


def rejoined(samples: pd.DataFrame, looks: Sequence[Looks]) -> tuple[pd.DataFrame, Looks]:
    """Of samples of several runs, each with its own column of looks: a sample was seen when all have seen it."""
    last = samples.groupby(["task", "sample"], observed=True)[COLUMN].transform("max")
    seen = samples.assign(**{COLUMN: last.rank(method="dense").astype(int)})
    if all(own.declared and len(own) == 1 for own in looks):
        return seen, _looks(seen, "obrien-fleming", _images(seen), 1)
    return seen, _looks(seen)


def new_look(samples: pd.DataFrame) -> dict[str, Any]:
    """How run.json remembers a look: its time (UTC), and the numbers of leading samples and of their images by task."""
    vanilla = samples["strategy"] == VANILLA
    sizes = 1 + _places(samples)[vanilla].groupby(samples["task"], observed=True).max()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "samples": {str(task): int(number) for task, number in sizes.items()},
        "images": _images(samples),
    }


def is_known(sizes: Sequence[Sizes], present: Sizes) -> bool:
    """Whether earlier looks have seen all of the present samples."""
    return all(any(size.get(task, 0) >= number for size in sizes) for task, number in present.items())


def sentence(looks: Looks, answers: int, planned: int) -> str:
    """What a reader has to know; empty for a single look that nobody planned.

    answers: that were computed. planned: that would have been, had nothing stopped.
    """
    if looks.planned and looks.planned > 1:
        name = {"obrien-fleming": "O'Brien-Fleming", "pocock": "Pocock"}[looks.spending]
        saved = planned - answers
        return (
            f"This is look {len(looks)} of at most {looks.planned}, planned before the run ({name} spending): a strategy that was "
            f"decided against vanilla was not run further. {saved:,} of {planned:,} answers ({100 * saved / planned:.0f} %) were not "
            "computed. The intervals are valid whenever a strategy stopped."
        )
    if len(looks) == 1:
        return ""
    shown = [sum(images.values()) for images in looks.images]
    before = ", ".join(f"{number:,}" for number in shown[:-1])
    return (
        f"This is look {len(looks)} at this run: verdicts were shown before on {before} of the {shown[-1]:,} images. The intervals "
        "and p values allow for all looks, and are wider than those of a run that was looked at once."
    )


def _places(samples: pd.DataFrame) -> pd.Series[int]:
    """The place of every row's sample in the order of its task, from 0: that in the cell which lacks the fewest before it."""
    within = samples.groupby(list(IDENTITY), observed=True).cumcount()
    return within.groupby([samples["task"], samples["sample"]], observed=True).transform("max")


def _numbered(samples: pd.DataFrame, present: Sizes, ends: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """The samples that vanilla reaches, with their looks. ends: by task, how many leading samples each look has seen."""
    import numpy as np

    places, number = _places(samples), np.zeros(len(samples), dtype=np.int64)
    for task, reach in present.items():
        here = (samples["task"] == task) & (places < reach)
        number[here] = 1 + np.searchsorted(np.maximum.accumulate(ends[task]), places[here], side="right")
    return samples.assign(**{COLUMN: number})[number > 0]


def _looks(
    seen: pd.DataFrame, spending: Any = "counted", maximum: Sizes | None = None, planned: int | None = None
) -> Looks:
    count = int(seen[COLUMN].max())
    images = tuple(_images(seen[seen[COLUMN] <= look]) for look in range(1, count + 1))
    if planned:
        fractions = tuple(look / planned for look in range(1, count + 1))
    else:
        last = images[-1]
        fractions = tuple(sum(own.get(task, 0) / last[task] for task in last) / len(last) for own in images)
    return Looks(planned is not None, maximum, fractions, spending, images, planned, find_frozen(seen))


def _images(samples: pd.DataFrame) -> dict[str, int]:
    vanilla = samples[samples["strategy"] == VANILLA]
    return {
        str(task): int(number) for task, number in vanilla.groupby("task", observed=True)["cluster"].nunique().items()
    }

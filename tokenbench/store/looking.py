"""The looks at a run: which of its samples each look saw, and what a reader has to know about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.comparison.looks import COLUMN, Looks, find_frozen
from tokenbench.contract.cells import IDENTITY, VANILLA
from tokenbench.store.run_json import add_look

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "assign_looks",
    "describe_looks",
    "have_seen",
    "join_looks",
    "looks_notes",
    "merge_looks",
    "new_look",
    "record_look",
]

Sizes = Mapping[str, int]
"""The number of leading samples by task."""


def assign_looks(samples: pd.DataFrame, manifest: Mapping[str, Any]) -> tuple[pd.DataFrame, Looks]:
    """Find out which look saw each sample first.

    Samples that no look has seen are left out: an interrupted run may hold more samples of one cell than of vanilla.

    Args:
        samples: The samples of finished cells. Those of a cell are in the order in which the run took them up.
        manifest: The content of run.json.

    Returns:
        The samples with a column for the look, and the looks, this one included.
    """
    plan = manifest.get("plan")
    present = new_look(samples)["samples"] if len(samples) else {}
    if not present:  # vanilla failed, or no cell is finished: there is nothing to compare with
        return samples.assign(**{COLUMN: 1}), Looks(False, None, (1.0,), "counted", ({},))
    if plan and plan["samples"].keys() >= present.keys():
        seen = _number_looks(samples, present, plan["samples"])
        return seen, _looks(seen, plan["spending"], plan["maximum"], plan["looks"])
    sizes = [look["samples"] for look in manifest.get("looks", [])]
    sizes = sizes if have_seen(sizes, present) else [*sizes, present]
    seen = _number_looks(samples, present, {task: [size.get(task, 0) for size in sizes] for task in present})
    if len(sizes) == 1 and manifest["spec"]["limit"] is None:  # all there are: the maximum needs no declaration
        return seen, _looks(seen, "obrien-fleming", _images(seen), 1)
    return seen, _looks(seen)


def merge_looks(samples: pd.DataFrame, looks: Sequence[Looks]) -> tuple[pd.DataFrame, Looks]:
    """Merge the looks at several runs. A sample counts as seen once all runs' looks have seen it.

    Args:
        samples: The samples of the runs, each with the column that `assign_looks` added.
        looks: The looks at each run.
    """
    last = samples.groupby(["task", "sample"], observed=True)[COLUMN].transform("max")
    seen = samples.assign(**{COLUMN: last.rank(method="dense").astype(int)})
    if all(own.declared and len(own) == 1 for own in looks):
        return seen, _looks(seen, "obrien-fleming", _images(seen), 1)
    return seen, _looks(seen)


def join_looks(
    seen: Sequence[tuple[pd.DataFrame, Looks]],
    manifests: Sequence[Mapping[str, Any]],
    samples: Mapping[tuple[str, str], Sequence[str]],
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], list[str]]]:
    """Return the looks at several runs as those at one. A sample counts as seen once all runs' looks have seen it.

    Args:
        seen: The samples of each run with the column that `assign_looks` added, and the looks at it.
        manifests: The content of each run's run.json.
        samples: The samples that all runs share, in order, by model and task.

    Returns:
        The looks that any run records, as run.json stores them; and the samples in the order in which these looks saw them.
    """
    recorded: list[int] = []
    number: dict[tuple[str, str, str], int] = {}
    images: dict[tuple[str, str, str], str] = {}
    for (rows, looks), manifest in zip(seen, manifests, strict=True):
        own = manifest.get("looks", [])
        present = new_look(rows)["samples"] if len(rows) else {}
        recorded.append(len(looks) if have_seen([look["samples"] for look in own], present) else len(looks) - 1)
        each = rows.drop_duplicates(["model", "task", "sample"])
        for model, task, sample, cluster, look in zip(
            each["model"], each["task"], each["sample"], each["cluster"], each[COLUMN], strict=True
        ):
            key = (str(model), str(task), str(sample))
            number[key], images[key] = max(int(look), number.get(key, 0)), str(cluster)
    places = {
        key: [sample for _, _, sample in sorted((number[*key, sample], at, sample) for at, sample in enumerate(own))]
        for key, own in samples.items()
    }
    entries: list[dict[str, Any]] = []
    for look in range(1, max(recorded, default=0) + 1):
        sizes: dict[str, int] = {}
        clusters: dict[str, set[str]] = {}
        for (model, task), own in places.items():
            until = [sample for sample in own if number[model, task, sample] <= look]
            sizes[task] = max(sizes.get(task, 0), len(until))
            clusters.setdefault(task, set()).update(images[model, task, sample] for sample in until)
        times = [own[min(look, len(own)) - 1]["time"] for manifest in manifests if (own := manifest.get("looks", []))]
        entry = {"time": max(times), "samples": sizes, "images": {task: len(own) for task, own in clusters.items()}}
        if not entries or entries[-1]["samples"] != sizes:
            entries.append(entry)
    return entries, places


def new_look(samples: pd.DataFrame) -> dict[str, Any]:
    """Return a look at these samples as run.json stores it.

    Returns:
        A dict of the time (UTC), and of the numbers of leading samples and of their images by task.
    """
    vanilla = samples["strategy"] == VANILLA
    sizes = 1 + _places(samples)[vanilla].groupby(samples["task"], observed=True).max()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "samples": {str(task): int(number) for task, number in sizes.items()},
        "images": _images(samples),
    }


def record_look(run: Path, manifest: Mapping[str, Any], samples: pd.DataFrame) -> None:
    """Record in run.json that verdicts on these samples are shown now, unless an earlier look saw the same samples."""
    look = new_look(samples)
    if have_seen([own["samples"] for own in manifest.get("looks", [])], look["samples"]):
        return
    with suppress(OSError):  # somebody else's folder: who looks there does not change what its owner may say
        add_look(run, lambda looks: have_seen([own["samples"] for own in looks], look["samples"]), look)


def have_seen(sizes: Sequence[Sizes], present: Sizes) -> bool:
    """Return whether earlier looks, given by their sizes, have seen all of the present samples."""
    return all(any(size.get(task, 0) >= number for size in sizes) for task, number in present.items())


def looks_notes(
    samples: pd.DataFrame, looks: Looks, manifest: Mapping[str, Any], count: Callable[[str], int]
) -> list[str]:
    """Return what a reader has to know about the looks at a run; nothing if there are no samples.

    Args:
        samples: The samples that were seen.
        looks: The looks at the run, this one included.
        manifest: The content of run.json.
        count: Returns the number of final records of a cell, given its id.
    """
    if not len(samples):
        return []
    cells, tasks = manifest["cells"], manifest["tasks"]
    # Only a planned run states numbers; to count them opens every file.
    saving = looks.planned is not None and looks.planned > 1
    answers = sum(count(cell["id"]) for cell in cells) if saving else 0
    planned = sum(tasks[cell["task"]]["samples"] for cell in cells)
    sentence = describe_looks(looks, answers, planned)
    return [sentence] if sentence else []


def describe_looks(looks: Looks, answers: int, planned: int) -> str:
    """Return a sentence on the looks at a run; an empty one for a single look that was not planned.

    Args:
        looks: The looks, the present one included.
        answers: The number of answers that were computed.
        planned: The number of answers that a run without early stopping computes.
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
    """Return the place of each row's sample in the order of its task, counted from 0.

    It is the place in the cell in which the fewest samples before it are missing.
    """
    within = samples.groupby(list(IDENTITY), observed=True).cumcount()
    return within.groupby([samples["task"], samples["sample"]], observed=True).transform("max")


def _number_looks(samples: pd.DataFrame, present: Sizes, ends: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Return the samples that vanilla reaches, with their looks.

    Args:
        samples: The samples.
        present: The number of leading samples that vanilla reaches, by task.
        ends: The number of leading samples that each look has seen, by task.
    """
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

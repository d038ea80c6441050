"""Runs that stop when they are decided: look by look, a strategy whose verdict against vanilla is final is not run further.

Only the answers are stored. The decisions of a look follow from what it saw, so that an interrupted run takes the same decisions again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenbench.comparison.looks import ModelTreatment
from tokenbench.comparison.verdicts import Verdict
from tokenbench.contract.suite import Sample
from tokenbench.errors import SamplesError, UsageError
from tokenbench.runner.order import ORDER_SEED, image_of, look_sizes
from tokenbench.runner.work import Work
from tokenbench.store.directory import Store
from tokenbench.store.run import Run
from tokenbench.store.spec import Spec

__all__ = ["plan_looks", "run_until_decided"]


def plan_looks(spec: Spec, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Plan the looks of a run.

    Args:
        spec: The settings of the run.
        samples: The samples of each task, in the order in which they are taken up.

    Returns:
        The plan as run.json stores it; an empty dict if the run does not stop early.

    Raises:
        UsageError: There are more looks than images.
    """
    if not spec.until:
        return {}
    images = {name: len(set(image_of(own))) for name, own in samples.items()}
    if max(images.values()) < spec.looks:
        raise UsageError(f"--looks {spec.looks}: the largest task has only {max(images.values())} images")
    return {
        "looks": spec.looks,
        "spending": spec.spending,
        "margin": spec.margin,
        "order": {"images by": "SHA-256 of seed and name", "seed": ORDER_SEED},
        "maximum": images,
        "samples": {name: look_sizes(own, spec.looks) for name, own in samples.items()},
    }


def run_until_decided(
    spec: Spec,
    works: Mapping[str, Work],
    folder: Path,
    run: Callable[[Mapping[str, Work]], None],
    say: Callable[[str], object],
) -> None:
    """Run all planned looks, or as many as it takes until every strategy is decided.

    Args:
        spec: The settings of the run.
        works: The work of each model.
        folder: The run directory.
        run: Answers all that is asked of works, and finishes their cells.
        say: Takes a sentence on what each look decided.
    """
    sizes = plan_looks(spec, next(iter(works.values())).samples)["samples"]
    open_arms = {name: set(range(1, len(work.arms))) for name, work in works.items()}
    reach = {name: _count_answered(work, Store(folder)) for name, work in works.items()}
    for look in range(1, spec.looks + 1):
        for name, work in works.items():
            asked = open_arms[name] | {0} if open_arms[name] else set()  # vanilla runs as long as any strategy does
            for (arm, task), cell in work.cells.items():
                if arm in asked:
                    reach[name][cell.id] = max(reach[name][cell.id], sizes[task][look - 1])
        run({name: work.limit_to(dict(reach[name])) for name, work in works.items()})
        if look == spec.looks:
            return
        verdicts = _verdicts(folder, look)
        decided = []
        for name, work in works.items():
            own = {i: verdicts.get(_cell_of(work, i)) for i in sorted(open_arms[name])}
            decided += [
                f"{_describe(_cell_of(work, i))} ({verdict})" for i, verdict in own.items() if verdict and verdict.final
            ]
            open_arms[name] = {i for i, verdict in own.items() if verdict and not verdict.final}
        left = sum(len({_cell_of(works[name], i) for i in arms}) for name, arms in open_arms.items())
        news = f"final: {', '.join(dict.fromkeys(decided))}" if decided else "no new verdict is final"
        say(f"look {look} of {spec.looks}: {news}; {left} still running")
        if not left:
            return


def _count_answered(work: Work, store: Store) -> dict[str, int]:
    """Return how many of the first samples of each cell are answered. A resumed run asks no cell for fewer than it has."""
    counts, left_out = {}, store.left_out.questions()
    for cell in work.cells.values():
        there = store.final_questions(cell.id) | left_out.get((work.model.name, cell.task), set())
        lacking = (i for i, sample in enumerate(work.samples[cell.task]) if (sample.key, sample.digest) not in there)
        counts[cell.id] = next(lacking, len(work.samples[cell.task]))
    return counts


def _verdicts(folder: Path, look: int) -> dict[ModelTreatment, Verdict]:
    """Return the verdicts against vanilla at a look. A strategy that failed has none."""
    try:
        pairs = Run.open(folder).compare(look=look).pairs
    except (SamplesError, UsageError):  # everything failed
        return {}
    rows = pairs[pairs["family"] == "F1"].to_dict("records")
    return {(row["model"], row["a"], row["budget"]): row["verdict"] for row in rows}


def _cell_of(work: Work, arm: int) -> ModelTreatment:
    one = work.arms[arm]
    return work.model.name, one.named.name, str(one.budget)


def _describe(cell: ModelTreatment) -> str:
    _, strategy, budget = cell
    return f"{strategy} at {budget}"

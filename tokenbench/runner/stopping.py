"""A run that stops when it is decided: look by look, and a strategy whose verdict against vanilla is final goes no further.

Nothing is remembered but the answers: what was decided at a look follows from what that look saw, so that a run that was broken off
takes the same decisions again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenbench.comparison.looks import Cell
from tokenbench.comparison.verdicts import Verdict
from tokenbench.contract.suite import Sample
from tokenbench.errors import SamplesError, UsageError
from tokenbench.runner.order import ORDER_SEED, image_of, look_sizes
from tokenbench.runner.work import Work
from tokenbench.store.directory import Store
from tokenbench.store.run import Run
from tokenbench.store.spec import Spec

__all__ = ["plan_of", "until_decided"]


def plan_of(spec: Spec, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """What run.json says before the first look; nothing if the run has no plan.

    samples: by task, in the order in which they are taken up. Raises UsageError for more looks than there are images.
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


def until_decided(
    spec: Spec,
    works: Mapping[str, Work],
    folder: Path,
    run: Callable[[Mapping[str, Work]], None],
    say: Callable[[str], object],
) -> None:
    """Run all planned looks, or as many as it takes until every strategy is decided.

    run: asks all that these works ask, and publishes it. say: is told what each look decided.
    """
    sizes = plan_of(spec, next(iter(works.values())).samples)["samples"]
    open_arms = {name: set(range(1, len(work.arms))) for name, work in works.items()}
    reach = {name: _reached(work, Store(folder)) for name, work in works.items()}
    for look in range(1, spec.looks + 1):
        for name, work in works.items():
            asked = open_arms[name] | {0} if open_arms[name] else set()  # vanilla goes on while anyone does
            for (arm, task), cell in work.cells.items():
                if arm in asked:
                    reach[name][cell.id] = max(reach[name][cell.id], sizes[task][look - 1])
        run({name: work.reaching(dict(reach[name])) for name, work in works.items()})
        if look == spec.looks:
            return
        verdicts = _verdicts(folder, look)
        found = []
        for name, work in works.items():
            known = {i: verdicts.get(_named(work, i)) for i in sorted(open_arms[name])}
            found += [
                f"{_said(_named(work, i))} ({verdict})" for i, verdict in known.items() if verdict and verdict.final
            ]
            open_arms[name] = {i for i, verdict in known.items() if verdict and not verdict.final}
        left = sum(len({_named(works[name], i) for i in arms}) for name, arms in open_arms.items())
        news = f"final: {', '.join(dict.fromkeys(found))}" if found else "no new verdict is final"
        say(f"look {look} of {spec.looks}: {news}; {left} still running")
        if not left:
            return


def _reached(work: Work, store: Store) -> dict[str, int]:
    """How many of the first samples of each cell are there: a run that goes on asks no cell for less than it has."""
    found, left_out = {}, store.left_out.questions()
    for cell in work.cells.values():
        there = store.published(cell.id) | left_out.get((work.model.name, cell.task), set())
        lacking = (i for i, sample in enumerate(work.samples[cell.task]) if (sample.key, sample.digest) not in there)
        found[cell.id] = next(lacking, len(work.samples[cell.task]))
    return found


def _verdicts(folder: Path, look: int) -> dict[Cell, Verdict]:
    """Those against vanilla at a look; what failed has none."""
    try:
        pairs = Run.open(folder).compare(look=look).pairs
    except (SamplesError, UsageError):  # everything failed
        return {}
    rows = pairs[pairs["family"] == "F1"].to_dict("records")
    return {(row["model"], row["a"], row["budget"]): row["verdict"] for row in rows}


def _named(work: Work, arm: int) -> Cell:
    one = work.arms[arm]
    return work.model.name, one.named.name, str(one.budget)


def _said(cell: Cell) -> str:
    _, strategy, budget = cell
    return f"{strategy} at {budget}"

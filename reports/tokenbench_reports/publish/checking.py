"""Recompute the numbers of a run directory, as far as they can be. A submission may come from anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tokenbench.contract.cells import plain_name
from tokenbench.contract.suite import Sample, Task
from tokenbench.errors import MachineError, TokenBenchError, brief
from tokenbench.registry.plugins import registry
from tokenbench.runner.identity import Cell, read_parts
from tokenbench.store.asked import tasks_of
from tokenbench.store.directory import Store
from tokenbench.store.run import Run
from tokenbench_reports.publish.costs import COSTS, Costs, find_disagreement, recall_of
from tokenbench_reports.publish.tables import check_tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "check_run"]

CLOSE = 1e-9
"""Numbers that differ by no more are the same: sums depend on the order of additions."""
NAMED = {"strategy": "name", "budget": "asked", "seed": "number", "task": "name", "model": "name"}
"""The parts of a cell's identity that say what it is called, and under which key."""


@dataclass
class Check:
    """What was recomputed of a run."""

    numbers: int = 0
    """How many numbers."""
    answers: int = 0
    """From how many answers."""
    wrong: list[str] = field(default_factory=list)
    """A sentence for each number that is another one: its file, its cell, its sample."""
    unknown: list[str] = field(default_factory=list)
    """What could not be recomputed, and why."""

    def compare(self, stored: Any, found: Any, what: str) -> None:
        """Count a number, and note it if the stored one is not what was found."""
        self.numbers += 1
        if not _same(stored, found):
            self.wrong.append(f"{what} is {_shown(stored)}, and the answers give {_shown(found)}")


class _Unseen(Run):
    """A run whose verdicts are computed and not shown, so that this is no look at it."""

    def _record_look(self, samples: pd.DataFrame) -> None:
        pass


def check_run(run: Run) -> Check:
    """Recompute a run's scores, counts, means, official metrics and comparisons.

    Scores are recomputed by the task's scorer where its suite is known. Stored comparisons are those of `report/summary.csv`,
    `pairs.csv` and `report.json`, where these files exist.

    Args:
        run: The run, opened with the folders that may be read.

    Raises:
        UsageError: The run holds nothing to compare.
    """
    check, store = Check(), Store.open(run.folder)
    tasks, questions = _questions(run, check)
    finished, parts = store.finished_cells(), read_parts(run.manifest)
    unfit, taken = store.left_out.questions(), dict[str, set[str]]()
    for cell in run.manifest["cells"]:
        if cell["id"] not in finished:
            continue
        _check_identity(cell, parts[cell["id"]], check)
        try:
            [records] = store.columns([cell["id"]], RECORDED)
            summary = store.summary(cell["id"])
        except MachineError as error:
            check.wrong.append(str(error))
            continue
        left_out = len(unfit.get((cell["model"], cell["task"]), ()))
        _check_counts(cell, summary, records, run.manifest, left_out, check)
        dtype = parts[cell["id"]].get("numerics", {}).get("dtype") or run.manifest["spec"]["dtype"]
        costs = Costs(cell, dtype, run._registry or registry())
        _check_records(cell, records, tasks.get(cell["task"]), questions, costs, check)
        taken.setdefault(f"{plain_name(cell['strategy'])} on {cell['model']}", set()).update(costs.taken)
        _check_official(cell, summary, records, tasks.get(cell["task"]), check)
    check.unknown += _describe_taken(taken)
    if not check.wrong:  # numbers that follow from wrong ones say nothing more
        again = _Unseen(run.folder, run._registry, run._definitions, run._data, run._tasks)
        check_tables(again, check.compare, check.wrong)
    return check


RECORDED = ("sample", "cluster", "answer", "target", "asked", "score", "tokens_per_layer", "realised_tokens", *COSTS)
"""The columns of records that are recomputed, and those they are recomputed from."""


def name_cell(cell: Mapping[str, Any]) -> str:
    """Return what a person calls a cell."""
    return f"{cell['strategy']} at {cell['budget']}, seed {cell['seed']}, task {cell['task']} on {cell['model']}"


def _describe_taken(taken: Mapping[str, set[str]]) -> list[str]:
    """Return a sentence for all strategies of which the same numbers cannot be recomputed."""
    whose: dict[str, list[str]] = {}
    for who, names in taken.items():
        if names:
            whose.setdefault(", ".join(sorted(names)), []).append(who)
    return [f"taken from the submission: {names} of {', '.join(who)}" for names, who in whose.items()]


def _questions(run: Run, check: Check) -> tuple[dict[str, Task], Mapping[tuple[str, str], Sample]]:
    """Return the tasks of the run and its questions; none, with a note, if its suite is not known here."""
    try:
        return {task.name: task for task in tasks_of(run)}, run.questions()
    except TokenBenchError as error:
        hint = f" ({error.hint})" if error.hint else ""
        check.unknown.append(f"scores are not recomputed, since the questions are not known here: {error}{hint}")
        return {}, {}


def _check_identity(cell: Mapping[str, Any], parts: Mapping[str, Any], check: Check) -> None:
    """Check that a cell is what its identity says. Cells that were imported have no such identity."""
    if "engine" not in parts:
        return
    if plain_name(cell["strategy"]) == cell["strategy"]:
        found = Cell(cell["model"], cell["strategy"], cell["budget"], cell["seed"], cell["task"], parts).id
        check.compare(cell["id"], found, f"run.json: the id of {name_cell(cell)}")
    for part, key in NAMED.items():
        if key in parts.get(part, {}):
            stored = plain_name(cell[part]) if part == "strategy" else cell[part]
            check.compare(stored, parts[part][key], f"run.json: the {part} of the cell {cell['id']}")


def _check_counts(
    cell: Mapping[str, Any],
    summary: Mapping[str, Any],
    records: pa.Table,
    manifest: Mapping[str, Any],
    left_out: int,
    check: Check,
) -> None:
    name, file, number = name_cell(cell), f"cells/{cell['id']}.json", len(records)
    check.answers += number
    check.compare(summary["samples"], number, f"{file}: the number of samples of {name}")
    asked = manifest["tasks"][cell["task"]]["samples"] if cell.get("samples") is None else cell["samples"]
    check.compare(asked, number + left_out, f"run.json: the number of samples of {name}")
    if "score" in summary and number:
        mean = sum(records["score"].to_pylist()) / number
        check.compare(summary["score"], mean, f"{file}: the mean score of {name}")


def _check_records(
    cell: Mapping[str, Any],
    records: pa.Table,
    task: Task | None,
    questions: Mapping[tuple[str, str], Sample],
    costs: Costs,
    check: Check,
) -> None:
    """Check every record: its score by its answer and target, its target by the suite, its tokens and costs by those of the layers."""
    missing = 0
    if task is None and any(
        recall == recall for recall in records["evidence_recall"].to_pylist() if recall is not None
    ):
        costs.taken.add("evidence")
    for record in records.to_pylist():
        what = f"of sample {record['sample']} of {name_cell(cell)}"
        if (layers := record.get("tokens_per_layer")) and record.get("realised_tokens") is not None:
            check.compare(record["realised_tokens"], sum(layers) / len(layers), f"the number of realised tokens {what}")
        _check_costs(record, costs, what, check)
        question = questions.get((cell["task"], record["sample"]))
        if task is None or question is None:
            missing += task is not None
            continue
        if record["target"] != question.target or record.get("asked", "") not in ("", None, question.digest):
            check.wrong.append(f"the question {what} is not that of the suite (target '{record['target']:.40}')")
            continue
        _check_evidence(record, question, costs, what, check)
        if record["answer"] is None:
            check.unknown.append(f"the score {what} is not recomputed: its answer is unknown")
            continue
        check.numbers += 1
        try:
            score = float(task.score(record["answer"], question))
        except Exception as error:  # a task is a third party's code
            check.unknown.append(f"the score {what} is not recomputed: {brief(error)}")
            continue
        if not _same(record["score"], score):
            check.wrong.append(
                f"the score {what} is {record['score']:g}, and the answer '{record['answer']:.40}' scores {score:g} against '{question.target:.40}'"
            )
    if missing:
        check.wrong.append(f"{missing} samples of {name_cell(cell)} are not in the suite")


def _check_costs(record: Mapping[str, Any], costs: Costs, what: str, check: Check) -> None:
    """Check a record's tokens against each other, and its costs by the cost model."""
    if contradiction := find_disagreement(record):
        check.wrong.append(f"the record {what} {contradiction}")
        return
    for name, stored, found in costs.check(record):
        check.compare(stored, found, f"{name} {what}")


def _check_evidence(record: Mapping[str, Any], question: Sample, costs: Costs, what: str, check: Check) -> None:
    """Check which share of the evidence is kept, by the boxes of the suite."""
    stored, found = record.get("evidence_recall"), recall_of(record, question)
    if stored is None or stored != stored:
        return
    if found is None:
        costs.taken.add("evidence")
    else:
        check.compare(stored, found, f"the share of the evidence that is kept {what}")


def _check_official(
    cell: Mapping[str, Any], summary: Mapping[str, Any], records: pa.Table, task: Task | None, check: Check
) -> None:
    """Check the metrics that the benchmark itself reports."""
    if task is None or not (stored := summary.get("official")):
        return
    answers = dict(zip(records["sample"].to_pylist(), records["answer"].to_pylist(), strict=True))
    try:
        found = dict(task.official(answers))
    except Exception as error:  # a task is a third party's code
        check.unknown.append(f"the official metrics of {name_cell(cell)} are not recomputed: {brief(error)}")
        return
    for metric, value in stored.items():
        check.compare(value, found.get(metric), f"cells/{cell['id']}.json: {metric} of {name_cell(cell)}")


def _same(stored: Any, found: Any) -> bool:
    if isinstance(stored, float | int) and isinstance(found, float | int):
        return bool(
            stored == found
            or (stored != stored and found != found)
            or abs(stored - found) <= CLOSE * max(1.0, abs(found))
        )
    return bool(stored == found)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""The run directory of an import. What a log does not hold stays unknown."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenbench
from tokenbench.contract.cells import IDENTITY, VANILLA
from tokenbench.errors import UsageError
from tokenbench.store.directory import Store
from tokenbench.store.imported import write_questions
from tokenbench.store.run_json import SCHEMA_VERSION, read_manifest
from tokenbench.store.spec import Spec
from tokenbench.store.trust import IMPORTED
from tokenbench_tools.importing.checks import Imported, Key
from tokenbench_tools.importing.logged import Log, Row
from tokenbench_tools.importing.pairing import key_of

if TYPE_CHECKING:
    from tokenbench.contract.suite import Sample
    from tokenbench_tools.importing.known import Known

__all__ = ["Question", "question_of", "write_run"]

UNKNOWN = "unknown"
NOT_COUNTED: Mapping[str, Any] = {
    **dict.fromkeys(("kept", "visual_tokens", "lattice", "tokens_per_layer", "text_tokens")),
    **dict.fromkeys(
        ("realised_tokens", "flops", "cache_bytes", "evidence_recall", "evidence_height", "seconds"), math.nan
    ),
}
"""What the records of an import do not know."""


@dataclass(frozen=True)
class Question:
    """One question as the records of all cells name it."""

    key: str
    """The name of the sample."""
    cluster: str
    """The name of its image."""
    unit: str
    """What the metric counts."""
    stratum: str
    """The part of the task that the metric averages separately."""
    target: str
    """The right answer."""
    digest: str
    """The digest of the question; empty if the data is not known."""
    text: str = ""
    """The question as it was asked; empty if it is not known."""


def question_of(row: Row, image: str, grouped: bool, sample: Sample | None, named: bool = False) -> Question:
    """Return a question by the data, or else by the log alone.

    Args:
        row: The row of vanilla's log.
        image: Its image.
        grouped: Whether the units and strata of the log count.
        sample: The question in the data, if that is known.
        named: Whether the user named the row, as in a table. The name then stays as it is, and joins tell other content by the digest.
    """
    if sample is not None:
        unit, about = sample.unit or sample.key, (sample.target, sample.digest, sample.question)
        return Question(sample.key, sample.cluster, unit, sample.stratum, *about)
    key = row.id if named else key_of(row)
    unit, stratum = (row.unit, row.stratum) if grouped else ("", "")
    digest = _digest(row.question)[:16] if named and row.question else ""
    return Question(key, image, unit or key, stratum, row.target, digest, row.question)


def write_run(
    folder: Path,
    imported: Imported,
    questions: Mapping[tuple[str, str], Mapping[str, Question]],
    rules: Mapping[str, str],
    known: Mapping[str, Known],
    spec: Mapping[str, Any],
    command: str,
) -> None:
    """Write a run directory with the public functions of the store.

    Args:
        folder: A new folder.
        imported: What is imported.
        questions: By model and task, the question of each row that counts, in their order.
        rules: How the metric of each task counts (see `Task.unit_rule`).
        known: The tasks whose data is known.
        spec: Settings of the run beyond those that follow from the logs: `data` and `definitions`.
        command: The command, which reports show.
    """
    store = Store(folder)
    cells = [_cell(key, task, log, imported) for key, own in imported.logs.items() for task, log in own.items()]
    store.start(_manifest(imported, cells, questions, rules, known, spec, command))
    asked = {(task, one.key): one for (_, task), own in questions.items() for one in own.values()}
    about = [(*names, one.cluster, _clean(one.text), _clean(one.target)) for names, one in asked.items()]
    write_questions(folder, about)
    for cell in cells:
        (model, task), log = (cell["model"], cell["task"]), _find(imported, cell)
        rows = {row.id: row for row in log.rows}
        own = questions[model, task]
        records = {(one.key, one.digest): _record(rows[number], one) for number, one in own.items()}
        names = {name: cell[name] for name in IDENTITY}
        store.finish(cell["id"], {one.key: one.digest for one in own.values()}, names, records)
    read_manifest(folder)  # so that no run appears that cannot be read, such as one with strange names


def _record(row: Row, question: Question) -> dict[str, Any]:
    if row.score is None or not 0 <= row.score <= 1:
        raise UsageError(f"row {row.id} has no score from 0 to 1")
    return {
        **NOT_COUNTED,
        "sample": question.key,
        "cluster": question.cluster,
        "unit": question.unit,
        "stratum": question.stratum,
        "turn": 1,
        "answer": None if row.answer is None else _clean(row.answer),
        "target": _clean(question.target),
        "asked": question.digest,
        "score": row.score,
    }


def _clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cell(key: Key, task: str, log: Log, imported: Imported) -> dict[str, Any]:
    model, cell = key
    names = {"model": model, "strategy": cell.strategy, "budget": cell.budget, "seed": cell.seed, "task": task}
    source = imported.sources[key, task]
    part = {"tool": source.tool, "metric": log.metric}
    made = {**names, **part, "files": sorted(source.files.values())}
    return {**names, "id": _digest(made)[:20], "parts": {"imported": _digest(part)[:16]}, "part": part}


def _find(imported: Imported, names: Mapping[str, Any]) -> Log:
    return next(
        own[names["task"]]
        for (model, cell), own in imported.logs.items()
        if (model, cell.strategy, cell.budget, cell.seed)
        == (names["model"], names["strategy"], names["budget"], names["seed"])
    )


def _manifest(
    imported: Imported,
    cells: Sequence[dict[str, Any]],
    questions: Mapping[tuple[str, str], Mapping[str, Question]],
    rules: Mapping[str, str],
    known: Mapping[str, Known],
    given: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    tasks, models = imported.tasks, list(dict.fromkeys(model for model, _ in imported.logs))
    all_cells = [cell for _, cell in imported.logs]
    suites = [f"lmms:{task}" for task in tasks if task in known]
    sizes = {task: max(len(questions[model, task]) for model in models if (model, task) in questions) for task in tasks}
    spec = Spec(
        suite=",".join(suites) if len(suites) == len(tasks) else IMPORTED,
        tasks=tuple(tasks),
        models=tuple(models),
        strategies=tuple(dict.fromkeys(cell.strategy for cell in all_cells if cell.strategy != VANILLA)),
        floors=(),
        budgets=tuple(dict.fromkeys(cell.budget for cell in all_cells if cell.strategy != VANILLA)),
        seeds=tuple(sorted({cell.seed for cell in all_cells})),
        limit=None,
        batch_size=1,
        device=UNKNOWN,
        dtype=UNKNOWN,
        attention=UNKNOWN,
        **given,
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        "cells": [
            {name: value for name, value in cell.items() if name != "part"}
            | {"samples": len(questions[cell["model"], cell["task"]])}
            for cell in cells
        ],
        "parts": {cell["parts"]["imported"]: cell["part"] for cell in cells},
        "tasks": {
            task: {"unit_rule": rules.get(task, "mean"), "identity": UNKNOWN, "samples": sizes[task]} for task in tasks
        },
        "models": {
            name: dict.fromkeys(("identity", "prompt", "attention", "device", "decoding"), UNKNOWN) for name in models
        },
        "versions": {},
        "hardware": {},
        "plugins": [],
        "plugin_files": [],
        "notes": imported.notes,
        "imported": {"tokenbench": tokenbench.__version__, "command": command, "sources": _sources(imported)},
    }


def _sources(imported: Imported) -> list[dict[str, Any]]:
    """Return where the answers are from, without paths."""
    found = {id(source): (key, source) for (key, _), source in imported.sources.items()}
    return [
        {
            "name": source.name, "tool": source.tool, "model": model, "strategy": cell.strategy, "budget": cell.budget, "seed": cell.seed,
            "arguments": source.arguments, "files": dict(source.files),
        }
        for (model, cell), source in found.values()
    ]  # fmt: skip


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

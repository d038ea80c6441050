"""An import from its logs to its run directory, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.errors import UsageError
from tokenbench.store.new_folder import check_new, new_folder
from tokenbench_tools.importing.cells import find_sources, name_models
from tokenbench_tools.importing.checks import Imported, Key, check_settings, collect, settle_failed
from tokenbench_tools.importing.images import describe_unknown, images_of, read_images
from tokenbench_tools.importing.known import Known, check_known, find_known, unit_rules
from tokenbench_tools.importing.logged import Log, Wanted
from tokenbench_tools.importing.pairing import pair_rows
from tokenbench_tools.importing.scores import EXACT, mean_score
from tokenbench_tools.importing.writing import Question, question_of, write_run

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry

__all__ = ["Choices", "describe_means", "import_logs"]


@dataclass(frozen=True)
class Choices:
    """What the user chooses beyond the logs."""

    model: str = ""
    """The name of the model; empty for that of the logs."""
    data: tuple[str, ...] = ()
    """`TASK=FOLDER` or `TASK` texts."""
    definitions: tuple[str, ...] = ()
    """Folders of task definitions."""
    images: Path | None = None
    """A table that names the images."""
    names: Mapping[str, str] | None = None
    """Other names for tasks."""
    wanted: Wanted = field(default_factory=Wanted)
    """What to take of the logs."""
    failed: str = ""
    """What becomes of rows without an answer: `wrong`, `drop`, or empty to refuse them."""
    other_prompts: bool = False
    """Whether cells may have been asked with other prompts."""
    common: bool = False
    """Whether the rows that all cells have are compared."""
    each_its_own: bool = False
    """Whether questions of tasks that share pictures may count as pictures of their own."""
    latest: bool = False
    """Whether the last of several logs of one cell counts."""


def import_logs(what: Sequence[str], folder: Path, chosen: Choices, registry: Registry, command: str) -> Imported:
    """Read logs and write them as a run directory, which appears whole or not at all.

    Args:
        what: Texts such as `logs/fastv` or `fastv@1/3=logs/fastv`.
        folder: The new folder.
        chosen: What the user chooses.
        registry: The plug-ins that know tasks.
        command: The command, which reports show.

    Returns:
        What was read, with its notes.

    Raises:
        UsageError: The logs do not fit together, or something is not known.
        MachineError: A file cannot be read or written.
    """
    check_new(folder, "-o")
    sources = name_models(find_sources(what, chosen.wanted), chosen.model)
    if not any(source.logs for source in sources):
        lacking = f"none of the tasks {', '.join(chosen.wanted.tasks)}" if chosen.wanted.tasks else "no answers"
        raise UsageError(f"the logs hold {lacking}", "a log of lmms-eval is read if its results are beside it")
    imported = collect(sources, chosen.names or {}, chosen.latest)
    check_settings(imported)
    known = find_known(imported.tasks, chosen.data, chosen.definitions, registry)
    imported.notes.extend(_differing_means(imported))
    imported = settle_failed(_score(imported, known), chosen.failed)
    numbers = pair_rows(imported, chosen.other_prompts, chosen.common)
    rules = unit_rules(imported.tasks, registry) | {name: one.task.unit_rule for name, one in known.items()}
    given = read_images(chosen.images) if chosen.images else {}
    questions: dict[tuple[str, str], Mapping[str, Question]] = {}
    unknown: list[str] = []
    for (model, task), own in numbers.items():
        vanilla = next(iter(imported.of_task(model, task).values()))
        rows = {row.id: row for row in vanilla.rows}
        if task in known:
            check_known(task, [rows[number] for number in own], known[task], chosen.other_prompts)
        grouped = _is_grouped(imported, model, task, rules, own)
        named = imported.sources[(model, next(iter(imported.of_task(model, task)))), task].tool == "table"
        images = {} if task in known else images_of(imported, task, own, given, chosen.each_its_own)
        unknown += [task] if not images and task not in known else []
        samples = known[task].samples if task in known else {}
        questions[model, task] = {
            number: question_of(
                rows[number], images.get(number, f"{task}-row-{number}"), grouped, samples.get(number), named
            )
            for number in own
        }
        if not grouped and task not in known:
            rules.pop(task, None)
    once = list(dict.fromkeys([*describe_unknown(list(dict.fromkeys(unknown))), *imported.notes]))
    imported = replace(imported, notes=once)
    spec = {"data": tuple(text for text in chosen.data if "=" in text), "definitions": chosen.definitions}
    with new_folder(folder, "-o") as made:
        write_run(made, imported, questions, rules, known, spec, command)
    return imported


def describe_means(imported: Imported) -> Iterator[str]:
    """Yield, for each cell and task, the mean of its rows beside what its tool reports, which shows that both are of the same answers."""
    for (_, cell), own in imported.logs.items():
        for task, log in own.items():
            reported = "not reported" if log.reported is None else f"reported {log.reported:.4g}"
            yield f"{cell.label} on {task}: {len(log.rows)} rows, {reported}, mean of the rows {mean_score(log):.4g}"


def _differing_means(imported: Imported) -> Iterator[str]:
    for (model, cell), own in imported.logs.items():
        for task, log in own.items():
            mean = mean_score(log)
            if log.reported is not None and not math.isclose(log.reported, mean, abs_tol=EXACT):
                tool = imported.sources[(model, cell), task].tool
                yield f"Scores of {task} are those of its single answers: {tool} reports {log.metric} as another number than their mean ({cell.label}: {log.reported:.4g} and {mean:.4g})."
                return  # one example says it


def _score(imported: Imported, known: Mapping[str, Known]) -> Imported:
    """Score the answers whose log has no scores, where the data is known; leave the other tasks without scores out."""
    without = {log.task for own in imported.logs.values() for log in own.values() if not log.metric}
    lost = sorted(without - known.keys())
    if lost and len(lost) == len(imported.tasks):
        raise UsageError(
            f"the logs hold no score for single answers of {', '.join(lost)}",
            f"--data {lost[0]}=FOLDER has them scored by TokenBench",
        )
    for task in sorted(without):
        imported.notes.append(
            f"{task} is left out: its log has no score for single answers (--data {task}=FOLDER has them scored by TokenBench)."
            if task in lost
            else f"The log of {task} has no score for single answers; they were scored by TokenBench."
        )

    def rescore(key: Key, log: Log) -> Log:
        if log.task not in without:
            return log
        about = known[log.task]
        rows = [
            replace(row, score=float(about.task.score(row.answer or "", about.samples[row.id])))
            for row in log.rows
            if row.id in about.samples
        ]
        return replace(log, rows=tuple(rows), metric="scored by TokenBench")

    logs = {key: {task: log for task, log in own.items() if task not in lost} for key, own in imported.logs.items()}
    return replace(imported, logs=logs).changed(rescore)


def _is_grouped(imported: Imported, model: str, task: str, rules: Mapping[str, str], numbers: Sequence[str]) -> bool:
    """Whether the units of a log count: those of a table do, and those of a task whose metric counts several answers.

    Raises:
        UsageError: The metric combines several answers, and the log does not say which ones.
    """
    cell, log = next(iter(imported.of_task(model, task).items()))
    tool = imported.sources[(model, cell), task].tool
    rows = [row for row in log.rows if row.id in set(numbers)]
    if tool == "table":
        return True
    if rules.get(task, "mean") == "mean":
        return False
    if tool == "VLMEvalKit" and log.metric == "hit":
        return False  # a row stands for all rotations already
    if not all(row.unit for row in rows):
        raise UsageError(
            f"the metric of {task} combines several answers, and the log does not say which ones",
            f"--data {task}=FOLDER tells them",
        )
    return True

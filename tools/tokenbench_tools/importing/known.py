"""The tasks of TokenBench behind the rows of a log, so that imported and native runs share their questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenbench.errors import MachineError, UsageError
from tokenbench_tools.importing.logged import Row

if TYPE_CHECKING:
    from tokenbench.contract.suite import Sample, Task
    from tokenbench.registry.plugins import Registry

__all__ = ["Known", "check_known", "find_known", "unit_rules"]

SUITES = ("image-public", "document", "grounding", "video-public", "video-long")


@dataclass(frozen=True)
class Known:
    """A task with its data."""

    task: Task
    """The task, which scores answers."""
    samples: Mapping[str, Sample]
    """Its samples by the number of the row, as lmms-eval counts rows."""


def find_known(
    names: Sequence[str], data: Sequence[str], definitions: Sequence[str], registry: Registry
) -> dict[str, Known]:
    """Return the tasks whose data the user names.

    Args:
        names: The tasks of the logs.
        data: Texts such as `pope=FOLDER`, or `pope` for lmms-eval's own source of the data.
        definitions: Folders of task definitions.
        registry: The plug-ins that register suites.

    Raises:
        UsageError: A task is not in the logs, or unknown.
        MachineError: The data is not here.
    """
    from tokenbench.registry.suites import resolve_suite

    found = {}
    for text in data:
        name = text.partition("=")[0]
        if name not in names:
            raise UsageError(
                f"--data names {name}, of which there is no log",
                f"the logs are of {', '.join(names)}; --as gives a task another name",
            )
        folders = (text,) if "=" in text else ()
        _, (task, *more) = resolve_suite(f"lmms:{name}", (), registry, folders, definitions)
        if more:
            raise UsageError(f"{name} is a group of tasks", "name each of its tasks")
        found[name] = Known(task, {str(sample.place): sample for sample in task.samples()})
    return found


def check_known(name: str, rows: Sequence[Row], known: Known, other_prompts: bool) -> None:
    """Check that the rows of a log are those of the data.

    Raises:
        UsageError: They are not.
    """
    samples = known.samples
    if beyond := [row.id for row in rows if row.id not in samples]:
        raise UsageError(
            f"the data of {name} has {len(samples)} rows, and no row {beyond[0]}, which the log has",
            "name the data that was asked",
        )
    several = (
        len({row.target for row in rows}) > 1
    )  # else it may be the name of a column, which lmms-eval logs for some tasks
    for what, differ in (
        (
            "asks",
            lambda row: (
                bool(row.question) and not other_prompts and row.question.strip() != samples[row.id].question.strip()
            ),
        ),
        ("has the target", lambda row: several and not _is_target(row.target, samples[row.id].target)),
    ):
        if wrong := [row for row in rows if differ(row)]:
            row, sample = wrong[0], samples[wrong[0].id]
            logged, here = (row.question, sample.question) if what == "asks" else (row.target, sample.target)
            hint = "if the prompts were others, --other-prompts; " if what == "asks" else ""
            raise UsageError(
                f"{len(wrong)} of {len(rows)} rows of {name} are not those of the data: row {row.id} of the log {what} '{logged[:60]}', and of the data '{here[:60]}'",
                f"{hint}name the version of the data that was asked, in its order",
            )


def _is_target(logged: str, here: str) -> bool:
    """Whether a target of a log, which may be a list as text, is that of the data, which may be several between bars."""
    return logged == here or (logged.startswith("[") and all(part in logged for part in here.split(" | ")))


def unit_rules(names: Sequence[str], registry: Registry) -> dict[str, str]:
    """Return how the metric of each known task counts: `mean` of single answers, or units of several. Unknown tasks are missing."""
    from tokenbench.registry.suites import suite_alone

    found: dict[str, str] = {}
    for suite in SUITES:
        if suite in registry.names("suites"):
            try:
                found |= {
                    task.name: task.unit_rule for task in suite_alone(suite, registry).tasks if task.name in names
                }
            except MachineError:  # what it needs is not installed
                continue
    return found

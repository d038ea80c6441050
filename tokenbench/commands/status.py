"""The command that shows how much of a run is done, cell by cell, and which cells a change has made stale."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.opening import open_run
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    examples,
    flat,
    models_of_run_option,
    offline_command,
    peek_option,
    plugin_option,
    show_scores,
    tasks_dir_option,
)
from tokenbench.commands.output import say, say_json
from tokenbench.contract.cells import IDENTITY
from tokenbench.errors import TokenBenchError

if TYPE_CHECKING:
    from tokenbench.store.run import Run
    from tokenbench.store.workers import WorkerState

__all__ = ["CellState", "Status", "status", "status_of"]


SHOWN = 8
"""The number of workers that are named for each state."""


@dataclass(frozen=True)
class CellState:
    """The state of one cell."""

    id: str
    """The id of the cell."""
    model: str
    """The name of the model."""
    strategy: str
    """The canonical name of the strategy."""
    budget: str
    """The budget, as the user wrote it."""
    seed: int
    """The seed of the strategy."""
    task: str
    """The name of the task."""
    state: str
    """`done`, `running`, `waiting`, `failed` or `infeasible`."""
    answers: int
    """The number of samples that are answered."""
    samples: int
    """The number of samples that the cell is asked."""
    reason: str = ""
    """Why the cell failed or is infeasible."""
    stale: tuple[str, ...] = ()
    """Sentences on what has changed since the cell was run."""

    @property
    def name(self) -> str:
        """The cell's names in one line."""
        return f"{self.model}  {self.strategy}  {self.budget}  seed {self.seed}  {self.task}"


@dataclass(frozen=True)
class Status:
    """The state of a run."""

    run: str
    """The run directory."""
    cells: Sequence[CellState]
    """The state of every cell, in the order of run.json."""
    holder: Mapping[str, Any] | None
    """The process that runs it now, as `tokenbench.store.lock.holder` describes it; None if nobody does."""
    seconds_left: float | None
    """The time left at the speed so far; None if it is unknown."""
    unknown: str
    """Why it cannot be said whether cells are stale; empty if it can."""
    orphans: Sequence[str]
    """The ids of finished cells with other identities, which are kept but appear in no report."""
    workers: Sequence[WorkerState] = ()
    """The workers that the process has, or last had, on other machines."""
    heard: float = 0.0
    """When the workers were last heard of, in seconds since 1970; 0 if there are none."""

    @property
    def answers(self) -> int:
        """The number of answers in all cells."""
        return sum(cell.answers for cell in self.cells)

    @property
    def samples(self) -> int:
        """The number of samples that all cells are asked."""
        return sum(cell.samples for cell in self.cells)

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells by state. Stale cells are counted under their state and once more as `stale`."""
        counts = Counter(cell.state for cell in self.cells)
        counts["stale"] = sum(bool(cell.stale) for cell in self.cells)
        return {state: number for state, number in counts.items() if number}

    def to_json(self) -> dict[str, Any]:
        """Return the state for programs to read."""
        return {**asdict(self), "counts": self.counts, "answers": self.answers, "samples": self.samples}


def status_of(run: Run, plugin_files: Sequence[str] = (), models: Sequence[str] = (), thorough: bool = False) -> Status:
    """Find out how much of a run is done, and which of its cells are stale.

    Args:
        run: The run, opened with the folders that the user named.
        plugin_files: The single-file plug-ins that the user named.
        models: The models that the user named.
        thorough: Load the run's models, plug-ins and samples, as a resume would. Otherwise only code and libraries are compared,
            and nothing that the run names is loaded.
    """
    from tokenbench.runner.identity import describe_outdated
    from tokenbench.store.directory import Store
    from tokenbench.store.lock import holder
    from tokenbench.store.trust import check_plugins
    from tokenbench.store.workers import read_workers

    store, who = Store.open(run.folder), holder(run.folder)
    unfit = Counter((one.model, one.task) for one in store.left_out.all())
    with store.journals.list_once():
        cells = [_state(store, cell, run.manifest, who is not None, unfit) for cell in run.manifest["cells"]]
    try:
        files = check_plugins(run, plugin_files)
        stale = _find_stale(run, plugin_files, models) if thorough else describe_outdated(run.manifest, files)
        unknown = ""
    except TokenBenchError as error:
        stale, unknown = {}, f"{error} ({error.hint})" if error.hint else str(error)
    cells = [replace(cell, stale=tuple(stale.get(cell.id, ()))) for cell in cells]
    left = _seconds_left(who, sum(c.answers for c in cells), sum(c.samples for c in cells))
    heard, workers = read_workers(run.folder)
    orphans = store.orphans(cell.id for cell in cells)
    return Status(str(run.folder), cells, who, left, unknown, orphans, workers, heard)


def _state(
    store: Any, cell: Mapping[str, Any], manifest: Mapping[str, Any], running: bool, unfit: Counter[tuple[str, str]]
) -> CellState:
    """Return the state of a cell.

    Args:
        store: The run directory.
        cell: The cell, as run.json describes it.
        manifest: The content of run.json.
        running: Whether a process runs it now.
        unfit: The number of samples that a model cannot be asked, by (model, task).
    """
    names = {name: cell[name] for name in ("id", *IDENTITY)}
    planned = manifest["tasks"][cell["task"]]["samples"]
    samples = planned if cell.get("samples") is None else cell["samples"]
    samples = max(0, samples - unfit[cell["model"], cell["task"]])
    answers, failure = store.count_answers(cell["id"], samples), store.failure(cell["id"])
    if store.count(cell["id"]) >= max(1, samples):
        return CellState(**names, state="done", answers=answers, samples=samples)
    if failure:
        return CellState(**names, state=failure["kind"], answers=answers, samples=samples, reason=failure["reason"])
    return CellState(**names, state="running" if running else "waiting", answers=answers, samples=samples)


def _find_stale(run: Run, plugin_files: Sequence[str], models: Sequence[str]) -> dict[str, list[str]]:
    """Return, by the id of a cell, sentences on what in its identity would differ if it were run now."""
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.identity import differences, read_parts
    from tokenbench.runner.resolve import resolve_spec
    from tokenbench.runner.work import fingerprints, works_of
    from tokenbench.store.calibrated import read_calibrations
    from tokenbench.store.trust import check_models

    devices = {about["device"] for about in run.manifest["models"].values()}
    registry = Registry(plugin_files)
    check_models(run, models, registry)
    resolved = resolve_spec(run.seen_spec(), registry, unregistered=run.manifest.get("unregistered"))
    device = devices.pop() if len(devices) == 1 else ""
    works = works_of(resolved, registry, device, read_calibrations(run.manifest))
    now = {_key(cell.names): cell.parts for work in works.values() for cell in work.cells.values()}
    then = read_parts(run.manifest)
    asked = {name: text for work in works.values() for name, text in fingerprints(work).items()}
    changed = {name for name, about in run.manifest["tasks"].items() if about.get("asked") != asked.get(name)}
    return {
        cell["id"]: [
            *differences(then[cell["id"]], now.get(_key(cell), {})),
            *(["task: samples changed"] if cell["task"] in changed else []),
        ]
        for cell in run.manifest["cells"]
    }


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in IDENTITY)


def _seconds_left(who: Mapping[str, Any] | None, answers: int, samples: int) -> float | None:
    if not who:
        return None
    new, seconds = answers - who["done"], time.time() - who["started"]
    return seconds / new * (samples - answers) if new > 0 and seconds > 0 else None


@click.command(epilog=examples("tokenbench status my-run", "tokenbench status my-run --thorough -v --format json"))
@click.argument("folder", metavar="RUN", type=Place())
@click.option("-v", "--verbose", is_flag=True, help="List every cell with its identity.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Output format."
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Also load the suite and the models' processors, as resume would, to detect changes of data, prompts or weights.",
)
@peek_option
@tasks_dir_option
@data_of_run_option
@models_of_run_option
@plugin_option
@offline_command
def status(
    folder: Path,
    verbose: bool,
    form: str,
    peek: bool,
    thorough: bool,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Show the progress of a run: done, failed and stale cells.

    A cell is stale if code or libraries have changed in a way that can change its answers. It would run again.
    """
    from tokenbench.store.describe import describe_frames

    run = open_run(folder, named)
    state = status_of(run, plugin_files, flat(named["models"]), thorough)
    if form == "json":
        say_json(state.to_json())
        return
    say(f"{folder}: {', '.join(f'{number} {name}' for name, number in state.counts.items())}")
    say(f"{state.answers} of {state.samples} answers")
    if frames := describe_frames(run.manifest):
        say(f"models see {frames} of each clip")
    if state.holder is not None:
        by = f"process {state.holder.get('pid', '?')} on {state.holder.get('host', '?')}"
        left = f", about {_duration(state.seconds_left)} left" if state.seconds_left is not None else ""
        say(f"run by {by}{left}")
    for line in _describe_workers(state):
        say(line)
    for cell in state.cells:
        if verbose or cell.reason or cell.stale:
            why = cell.reason or ("stale: " + "; ".join(cell.stale) if cell.stale else "")
            say(f"{cell.id}  {cell.name}  {cell.state} {cell.answers}/{cell.samples}  {why}".rstrip())
    if peek:
        show_scores(run)
    if state.unknown:
        say(f"cannot tell whether cells are stale: {state.unknown}")
    if state.orphans:
        say(f"{len(state.orphans)} finished cells with other identities are kept but appear in no report")


def _describe_workers(state: Status) -> list[str]:
    """Return a line for each state that workers are in, with their names and the reason why they wait."""
    alike: dict[str, list[str]] = {}
    for one in state.workers:
        why = f" ({one.reason})" if one.reason else ""
        alike.setdefault(f"{one.state}{why}", []).append(f"{one.name} on {one.place}" if one.place else one.name)
    lines = [f"workers {what}: {', '.join(names[:SHOWN])}{_more(names)}" for what, names in alike.items()]
    if lines and state.holder is None:
        ago = _duration(max(0.0, time.time() - state.heard))
        lines.insert(
            0,
            f"the process that ran it is gone; its workers, which may still be running, were last recorded {ago} ago:",
        )
    return lines


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min"

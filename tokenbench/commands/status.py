"""How far a run is, cell by cell, and which cells a change has made stale."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.opening import opened
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    examples,
    flat,
    looking,
    models_of_run_option,
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

__all__ = ["CellState", "Status", "status", "status_of"]


@dataclass(frozen=True)
class CellState:
    """One cell. state: done, running, waiting, failed or infeasible. samples: what it is asked so far. reason: of a failure. stale: what has changed since."""

    id: str
    model: str
    strategy: str
    budget: str
    seed: int
    task: str
    state: str
    answers: int
    samples: int
    reason: str = ""
    stale: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model}  {self.strategy}  {self.budget}  seed {self.seed}  {self.task}"


@dataclass(frozen=True)
class Status:
    """A run. holder: host and pid of who runs it now. seconds_left: at the speed so far; None if that is not known.

    unknown: why it cannot be told whether cells are stale. orphans: finished cells of other identities, kept, in no report.
    """

    run: str
    cells: Sequence[CellState]
    holder: Mapping[str, Any] | None
    seconds_left: float | None
    unknown: str
    orphans: Sequence[str]

    @property
    def answers(self) -> int:
        return sum(cell.answers for cell in self.cells)

    @property
    def samples(self) -> int:
        return sum(cell.samples for cell in self.cells)

    @property
    def counts(self) -> dict[str, int]:
        """Cells by state; stale ones once more as such."""
        found = Counter(cell.state for cell in self.cells)
        found["stale"] = sum(bool(cell.stale) for cell in self.cells)
        return {state: number for state, number in found.items() if number}

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "counts": self.counts, "answers": self.answers, "samples": self.samples}


def status_of(run: Run, plugin_files: Sequence[str] = (), models: Sequence[str] = (), thorough: bool = False) -> Status:
    """Say how far a run is.

    Args:
        run: The run, opened with the folders that the user names again.
        plugin_files: Single-file plug-ins that the user names again, so that they may be loaded.
        models: Models that the user names again, so that they may be read.
        thorough: Ask as a resume would, with models, plug-ins and samples at hand; else code and libraries alone are compared, and
            nothing of the run's is loaded.
    """
    from tokenbench.runner.identity import outdated
    from tokenbench.store.directory import Store
    from tokenbench.store.lock import holder

    store, who = Store.open(run.folder), holder(run.folder)
    unfit = Counter((one.model, one.task) for one in store.left_out.all())
    with store.journals.fixed():
        cells = [_state(store, cell, run.manifest, who is not None, unfit) for cell in run.manifest["cells"]]
    try:
        files = run.check_plugins(plugin_files)
        changed = _changed(run, plugin_files, models) if thorough else outdated(run.manifest, files)
        unknown = ""
    except TokenBenchError as error:
        changed, unknown = {}, f"{error} ({error.hint})" if error.hint else str(error)
    cells = [replace(cell, stale=tuple(changed.get(cell.id, ()))) for cell in cells]
    left = _seconds_left(who, sum(c.answers for c in cells), sum(c.samples for c in cells))
    return Status(str(run.folder), cells, who, left, unknown, store.orphans(cell.id for cell in cells))


def _state(
    store: Any, cell: Mapping[str, Any], manifest: Mapping[str, Any], running: bool, unfit: Counter[tuple[str, str]]
) -> CellState:
    """unfit: how many samples a model cannot be asked, by (model, task)."""
    named = {name: cell[name] for name in ("id", *IDENTITY)}
    planned = manifest["tasks"][cell["task"]]["samples"]
    samples = planned if cell.get("samples") is None else cell["samples"]
    samples = max(0, samples - unfit[cell["model"], cell["task"]])
    answers, failure = store.answers(cell["id"], samples), store.failure(cell["id"])
    if store.count(cell["id"]) >= max(1, samples):
        return CellState(**named, state="done", answers=answers, samples=samples)
    if failure:
        return CellState(**named, state=failure["kind"], answers=answers, samples=samples, reason=failure["reason"])
    return CellState(**named, state="running" if running else "waiting", answers=answers, samples=samples)


def _changed(run: Any, plugin_files: Sequence[str], models: Sequence[str]) -> dict[str, list[str]]:
    """By the id of a cell: what in its identity would be another if it were run now."""
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.identity import differences, unpacked
    from tokenbench.runner.resolve import resolve_written
    from tokenbench.runner.work import fingerprints, works_of

    devices = {about["device"] for about in run.manifest["models"].values()}
    known = Registry(plugin_files)
    run.check_models(models, known)
    resolved = resolve_written(run.seen_spec(), known, unregistered=run.manifest.get("unregistered"))
    works = works_of(resolved, known, devices.pop() if len(devices) == 1 else "")
    now = {_key(cell.names): cell.parts for work in works.values() for cell in work.cells.values()}
    then = unpacked(run.manifest)
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
@looking
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
    there = opened(folder, named)
    found = status_of(there, plugin_files, flat(named["models"]), thorough)
    if form == "json":
        say_json(found.to_json())
        return
    say(f"{folder}: {', '.join(f'{number} {state}' for state, number in found.counts.items())}")
    say(f"{found.answers} of {found.samples} answers")
    if found.holder is not None:
        by = f"process {found.holder.get('pid', '?')} on {found.holder.get('host', '?')}"
        left = f", about {_duration(found.seconds_left)} left" if found.seconds_left is not None else ""
        say(f"run by {by}{left}")
    for cell in found.cells:
        if verbose or cell.reason or cell.stale:
            why = cell.reason or ("stale: " + "; ".join(cell.stale) if cell.stale else "")
            say(f"{cell.id}  {cell.name}  {cell.state} {cell.answers}/{cell.samples}  {why}".rstrip())
    if peek:
        show_scores(there)
    if found.unknown:
        say(f"cannot tell whether cells are stale: {found.unknown}")
    if found.orphans:
        say(f"{len(found.orphans)} finished cells with other identities are kept but appear in no report")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min"

"""How `run` and `resume` carry out a run: run its cells, write its reports, and say what failed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.commands.opening import with_details
from tokenbench.commands.output import say
from tokenbench.commands.reporting import write_reports
from tokenbench.errors import AGAIN, MachineError, StrategyError, TokenBenchError, UsageError, of_machine

if TYPE_CHECKING:
    from tokenbench.contract.executor import Executor
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import Resolved
    from tokenbench.store.run import Run

__all__ = ["carry_out"]


def carry_out(
    request: Resolved,
    folder: Path,
    registry: Registry,
    quiet: bool,
    executor: Executor,
    retry_failed: bool = False,
    details: bool = False,
) -> None:
    """Run the cells of a run, write its reports, and say what failed.

    Args:
        request: What to run.
        folder: The run directory.
        registry: The plug-ins.
        quiet: Show no progress.
        executor: Where to run.
        retry_failed: Run failed cells again.
        details: Print the whole text report.

    Raises:
        StrategyError: Some cells failed.
        TokenBenchError: The run cannot be carried out.
    """
    from tokenbench.runner.execute import execute
    from tokenbench.runner.progress import progress
    from tokenbench.store.directory import Store
    from tokenbench.store.resuming import naming_options
    from tokenbench.store.run import Run

    try:
        tell = partial(say, err=True)
        bar = partial(progress, out=sys.stderr, quiet=quiet)
        resolved = execute(request, folder, registry, bar, executor, retry_failed, tell)
    except TokenBenchError:
        raise
    except Exception as error:
        if trouble := of_machine(error):
            where = "" if str(folder) in str(trouble) else f"{folder}: "
            raise MachineError(f"{where}{trouble}", f"fix this, and {AGAIN} to resume") from error
        raise TokenBenchError(
            f"internal error: {type(error).__name__}: {error}", _keep_traceback(folder, error)
        ) from error
    say(f"run: {folder}", err=True)
    if broken := Store(folder).broken_files():
        say(
            f"warning: damaged cell files were set aside, and their cells are run again: {folder / 'cells' / broken[0]}"
            + (f" and {len(broken) - 1} more" if broken[1:] else ""),
            err=True,
        )
    run = Run.open(folder, registry, request.spec.definitions, request.spec.data, resolved.tasks)
    for sentence in run.left_out():
        say(sentence, err=True)
    failures = _describe_failures(run)
    try:
        write_reports(run, with_details(("markdown", "csv", "html", "terminal"), details), registry)
    except UsageError:  # nothing is left to compare
        if not failures:
            raise
    if failures:
        raise StrategyError(
            f"some cells failed: {'; '.join(failures)}",
            _mend(failures, folder, naming_options(resolved.spec, registry.files, registry)),
        )


def _mend(failures: Sequence[str], folder: Path, options: str) -> str:
    """Say what helps after failures. Prompts stay too long however often they are tried."""
    from tokenbench.runner.showing import CONTEXT

    if all(CONTEXT in failure for failure in failures):
        return "start another run, with shorter prompts or a model with a longer context"
    return f"tracebacks are in {folder / 'logs'}; when the cause is fixed: tokenbench resume {folder} --retry-failed{options}"


def _keep_traceback(folder: Path, error: Exception) -> str:
    """Write the traceback of an error to the run directory, and say where; raise the error itself if that fails."""
    from tokenbench.store.files import write_atomically

    log = folder / "logs" / "traceback.txt"
    try:
        write_atomically(log, "".join(traceback.format_exception(error)).encode(errors="backslashreplace"), folder)
    except (OSError, MachineError):
        raise error from None
    return f"traceback in {log}"


def _describe_failures(run: Run) -> list[str]:
    """Return a phrase per reason why cells failed. An infeasible cell is not a failure."""
    failures = [failure for failure in run.failures() if failure["kind"] == "failed"]
    strategies: dict[str, list[str]] = {}
    for failure in failures:
        strategies.setdefault(failure["reason"], []).append(failure["strategy"])
    return [f"{_join_names(names)}: {reason}" for reason, names in strategies.items()]


def _join_names(names: Sequence[str]) -> str:
    once = list(dict.fromkeys(names))
    return ", ".join(once) if len(once) <= 3 else f"{len(once)} strategies"

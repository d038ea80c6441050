"""The tasks of a run, built again from its suite, which may have changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenbench.contract.suite import Task
    from tokenbench.store.run import Run

__all__ = ["tasks_of"]


def tasks_of(run: Run) -> Sequence[Task]:
    """Build the tasks of a run again.

    Raises:
        UsageError: The suite is not installed, or reads definitions or data that `Run.open` was not given.
    """
    from tokenbench.registry.plugins import registry
    from tokenbench.registry.suites import resolve_suite

    if run._tasks is not None:
        return run._tasks
    spec, known = run.seen_spec(), run._registry or registry()
    return resolve_suite(spec.suite, spec.tasks, known, spec.data, spec.definitions, spec.sampling)[1]

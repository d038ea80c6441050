"""How a run grows: the same folder takes more samples, strategies, budgets, seeds, tasks and models, and keeps what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from tokenbench.errors import UsageError
from tokenbench.store.spec import Spec

__all__ = ["describe_growth", "grow", "with_seeds"]

LISTS = ("tasks", "models", "strategies", "floors", "budgets", "seeds", "data", "definitions")
PLANNED = ("until", "looks", "spending")
T = TypeVar("T")


def grow(there: Spec, asked: Spec, folder: Path) -> Spec:
    """Return what a run becomes when another request is run in its folder: everything of both.

    Args:
        there: The spec of the run, with the seeds that it used if the request names seeds (see `with_seeds`).
        asked: The spec of the request.
        folder: The run directory, for errors.

    Raises:
        UsageError: A setting that cannot grow has changed, or the limit is smaller, since a run does not shrink.
    """
    if not asked.held_out:  # what is held out for other strategies stays held out for all
        asked = replace(asked, held_out=there.held_out)
    lists: dict[str, Any] = {name: _merge(getattr(there, name), getattr(asked, name)) for name in LISTS}
    lists["floors"] = tuple(name for name in lists["floors"] if name not in lists["strategies"])
    suite = ",".join(_merge(tuple(there.suite.split(",")), tuple(asked.suite.split(","))))
    whole = replace(asked, suite=suite, **lists)
    refused = [name for name in asdict(whole) if name not in (*LISTS, "suite", "limit")]
    refused = [name for name in refused if getattr(there, name) != getattr(asked, name)]
    folders = [text.partition("=")[0] for text in whole.data]
    if len(set(folders)) < len(folders):
        refused.append("data")
    if asked.limit is not None and (there.limit is None or asked.limit < there.limit):
        refused.append("limit")
    if there.until:  # the looks, and what each of them sees, follow from these
        refused += [name for name in ("tasks", "limit") if getattr(there, name) != getattr(whole, name)]
    if refused:
        names = sorted(set(refused))
        changes = "; ".join(
            f"{name}: {_format(getattr(there, name))} -> {_format(getattr(asked, name))}" for name in names
        )
        planned = there.until or set(names) & set(PLANNED)
        why = (
            "the looks of a run are planned before it starts, so these settings cannot change"
            if planned
            else "a run can be extended, but these settings cannot change, and nothing can be removed"
        )
        raise UsageError(
            f"{folder} holds a run with other settings ({changes})",
            f"{why}; choose another folder with -o, or repeat that run's settings",
        )
    return whole


def with_seeds(there: Spec, manifest: Mapping[str, Any]) -> Spec:
    """Return a spec that leaves the seeds to its strategies with the seeds that they used, which run.json holds."""
    drawing = manifest.get("seed_scopes", {})
    used = sorted({cell["seed"] for cell in manifest["cells"] if cell["strategy"] in drawing})
    return there if there.seeds else replace(there, seeds=tuple(used))


def describe_growth(there: Spec, now: Spec) -> str:
    """Describe what a run has more than before; an empty text if there is nothing."""
    additions = []
    for name in ("models", "tasks", "strategies", "budgets", "seeds"):
        if more := [str(value) for value in getattr(now, name) if value not in getattr(there, name)]:
            additions.append(f"{name}: + {', '.join(more)}")
    if more := [name for name in now.floors if name not in (*there.floors, *there.strategies)]:
        additions.append(f"floors: + {', '.join(more)}")
    if there.limit != now.limit:
        additions.append(f"limit: {_format(there.limit)} -> {_format(now.limit)}")
    return "; ".join(additions)


def _merge(old: tuple[T, ...], new: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values of both: in the new order if it has all old values, else with the new values last."""
    return new if set(old) <= set(new) else tuple(dict.fromkeys((*old, *new)))


def _format(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)

"""A run grows: the same folder takes more samples, strategies, budgets, seeds, tasks and models, and keeps what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from tokenbench.errors import UsageError
from tokenbench.store.spec import Spec

__all__ = ["grown", "growth", "with_seeds"]

LISTS = ("tasks", "models", "strategies", "floors", "budgets", "seeds", "data", "definitions")
PLANNED = ("until", "looks", "spending")
T = TypeVar("T")


def grown(there: Spec, asked: Spec, folder: Path) -> Spec:
    """What a folder's run becomes when `asked` is run there: everything of both. Seeds that nobody asked for stay as they are.

    there: with the seeds that it used, whoever chose them, if others are asked for now (see `with_seeds`). Raises UsageError for settings that cannot grow, and for a smaller limit: a run does not shrink.
    """
    lists: dict[str, Any] = {name: _both(getattr(there, name), getattr(asked, name)) for name in LISTS}
    lists["floors"] = tuple(name for name in lists["floors"] if name not in lists["strategies"])
    suite = ",".join(_both(tuple(there.suite.split(",")), tuple(asked.suite.split(","))))
    whole = replace(asked, suite=suite, **lists)
    refused = [name for name in asdict(whole) if name not in (*LISTS, "suite", "limit")]
    refused = [name for name in refused if getattr(there, name) != getattr(asked, name)]
    folders = [text.partition("=")[0] for text in whole.data]
    if len(set(folders)) < len(folders):
        refused.append("data")
    if asked.limit is not None and (there.limit is None or asked.limit < there.limit):
        refused.append("limit")
    if there.until:  # their looks, and what each of them sees, follow from these
        refused += [name for name in ("tasks", "limit") if getattr(there, name) != getattr(whole, name)]
    if refused:
        names = sorted(set(refused))
        changes = "; ".join(f"{name}: {_said(getattr(there, name))} -> {_said(getattr(asked, name))}" for name in names)
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
    """A spec that leaves the seeds to its strategies, with those that run.json says they used."""
    drawing = manifest.get("seed_scopes", {})
    used = sorted({cell["seed"] for cell in manifest["cells"] if cell["strategy"] in drawing})
    return there if there.seeds else replace(there, seeds=tuple(used))


def growth(there: Spec, now: Spec) -> str:
    """What a run has more than before, in words; empty if nothing."""
    found = []
    for name in ("models", "tasks", "strategies", "budgets", "seeds"):
        if more := [str(value) for value in getattr(now, name) if value not in getattr(there, name)]:
            found.append(f"{name}: + {', '.join(more)}")
    if more := [name for name in now.floors if name not in (*there.floors, *there.strategies)]:
        found.append(f"floors: + {', '.join(more)}")
    if there.limit != now.limit:
        found.append(f"limit: {_said(there.limit)} -> {_said(now.limit)}")
    return "; ".join(found)


def _both(old: tuple[T, ...], new: tuple[T, ...]) -> tuple[T, ...]:
    """All of both: in the new order if that has all the old ones, else the new ones last."""
    return new if set(old) <= set(new) else tuple(dict.fromkeys((*old, *new)))


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)

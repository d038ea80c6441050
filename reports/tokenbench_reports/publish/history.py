"""How the same strategies did in several runs, from the oldest version to the newest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from tokenbench.comparison import MEAN
from tokenbench.comparison.wording import NOTHING, interval
from tokenbench.contract.cells import VANILLA
from tokenbench_reports.publish.boards import Entrant

__all__ = ["History", "make_histories"]


@dataclass(frozen=True)
class Seen:
    """A strategy at a budget in one run."""

    text: str
    """What it kept, with its interval; a dash if the run does not hold it."""
    change: str
    """How much more or less this is than in the run before, in points; empty if it is the first."""


@dataclass(frozen=True)
class History:
    """The runs of a model on the same tasks."""

    model: str
    """The model."""
    tasks: str
    """The tasks, in words."""
    entrants: list[Entrant]
    """The runs, by the version of TokenBench, then by day."""
    rows: list[tuple[str, str, list[Seen]]]
    """(strategy, budget, what each run found), for everything that several runs hold."""


def make_histories(entrants: Sequence[Entrant]) -> list[History]:
    """Arrange what several runs of the same model and tasks hold. The numbers are those of the runs' own reports."""
    groups: dict[tuple[str, tuple[str, ...]], list[Entrant]] = {}
    for one in entrants:
        for model in one.comparison.models:
            groups.setdefault((model, one.comparison.tasks), []).append(one)
    histories = []
    for (model, tasks), own in groups.items():
        ordered = sorted(own, key=lambda one: (_order(one.version), one.date, one.slug))
        kept_by = [_kept(one, model) for one in ordered]
        counts = Counter(name for kept in kept_by for name in kept)
        sharing = [any(counts[name] > 1 for name in kept) for kept in kept_by]
        ordered, found = list(compress(ordered, sharing)), list(compress(kept_by, sharing))
        names = [name for name in dict.fromkeys(name for kept in found for name in kept) if counts[name] > 1]
        rows = [(*name, _line([kept.get(name) for kept in found])) for name in names]
        if rows:
            histories.append(History(model, ", ".join(tasks), ordered, rows))
    return histories


def _order(version: str) -> list[tuple[int, str]]:
    """Return what versions are sorted by: 0.10 comes after 0.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in version.split(".")]


def _kept(one: Entrant, model: str) -> dict[tuple[str, str], dict[Any, Any]]:
    summary = one.comparison.summary
    rows = summary[(summary["model"] == model) & (summary["task"] == MEAN) & (summary["strategy"] != VANILLA)]
    return {(str(row["strategy"]), str(row["budget"])): row for row in rows.to_dict("records")}


def _line(rows: Sequence[dict[Any, Any] | None]) -> list[Seen]:
    line, before = [], None
    for row in rows:
        if row is None:
            line.append(Seen(NOTHING, ""))
            continue
        value = float(row["retention"])
        text = interval(value, row["retention_low"], row["retention_high"])
        line.append(Seen(text, "" if before is None else _change(100 * (value - before))))
        before = value
    return line


def _change(points: float) -> str:
    return "same" if abs(points) < 0.05 else f"{points:+.1f}".replace("-", "−")

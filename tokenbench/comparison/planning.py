"""Planning before GPU time is spent: the samples that a verdict takes, the width of its intervals, and the hours.

All differences and margins are points of accuracy kept, as in reports and in ``run --margin``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isinf
from typing import TYPE_CHECKING

import numpy as np

from tokenbench.comparison.wording import percent
from tokenbench.statistics.clusters import Floats, cluster_sums
from tokenbench.statistics.planning import (
    TaskDesign,
    detectable_difference,
    family_critical,
    half_width,
    measure_design,
    provable_margin,
    round_up,
    samples_for,
)

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison.panel import Panel

__all__ = ["Assumptions", "Plan", "designs", "measure_assumptions", "plan", "samples_needed"]

Tasks = Mapping[str, TaskDesign]


@dataclass(frozen=True)
class Assumptions:
    """What a plan rests on."""

    against_vanilla: Tasks
    """How a strategy differs from vanilla on each task."""
    between: Tasks
    """How two strategies at one budget differ on each task."""
    seconds: float | None = None
    """Seconds that one answer takes on one device; None if unknown."""
    origin: str = "Assumed, not measured (--pilot RUN measures it on your model and data):"
    """Where the assumptions come from, as the head of their list."""
    sized: bool = False
    """Whether the shares of the tasks are the numbers of their samples."""

    @property
    def size(self) -> int | None:
        """How many samples all tasks have; None if unknown."""
        return round(sum(task.share for task in self.against_vanilla.values())) if self.sized else None

    @classmethod
    def default(cls, names: Sequence[str] = ("one task",)) -> Assumptions:
        """Tasks of equal size, none of them measured."""
        tasks = {name: TaskDesign() for name in names}
        return cls(tasks, tasks)

    def changed(self, sizes: Mapping[str, int], seconds: float | None = None, **facts: float | None) -> Assumptions:
        """Return a copy with these sizes of tasks, and with what is not None of ``TaskDesign``'s other attributes for all tasks."""
        known = {name: value for name, value in facts.items() if value is not None}

        def change(tasks: Tasks) -> Tasks:
            return {name: replace(task, share=sizes.get(name, task.share), **known) for name, task in tasks.items()}

        return replace(
            self,
            against_vanilla=change(self.against_vanilla),
            between=change(self.between),
            seconds=self.seconds if seconds is None else seconds,
            sized=self.sized or bool(sizes),
        )

    def lines(self) -> Iterator[str]:
        """Describe the assumptions for a person; tasks of which the same is known share a line."""
        yield self.origin
        groups: dict[tuple[TaskDesign, TaskDesign], list[str]] = {}
        for name, task in self.against_vanilla.items():
            groups.setdefault((replace(task, share=1), replace(self.between[name], share=1)), []).append(name)
        for (task, pair), names in groups.items():
            yield (
                f"  {', '.join(names)}: vanilla's score {percent(task.score)} %; a strategy differs from vanilla on "
                f"{percent(task.discordance)} % of the samples (design effect {task.deff:.2f}), two strategies at one budget differ "
                f"on {percent(pair.discordance)} % ({pair.deff:.2f}); {max(task.questions, task.deff):.1f} questions an image"
            )


@dataclass(frozen=True)
class Plan:
    """What to expect. Numbers of samples are over all tasks, for a power of 80 %, rounded up to two digits."""

    difference: float
    """The asked-for difference between two strategies, in points of accuracy kept."""
    margin: float
    """The asked-for margin, in points of accuracy kept."""
    samples: int
    """The asked-for number of samples over all tasks."""
    about: Assumptions
    """What the plan assumes."""
    pairs: int
    """How many pairs of strategies at equal budget are compared."""
    cells: int
    """How many strategies and budgets are compared with vanilla."""
    find: int
    """Samples to find the difference between two strategies in the table; without pairs, between a strategy and vanilla."""
    find_alone: int
    """The same for a single comparison outside any table."""
    show: int
    """Samples to show, in the table, that a strategy without any loss is non-inferior within the margin."""
    show_alone: int
    """The same for a single comparison outside any table."""
    width: float
    """Half the expected simultaneous 95 % interval of such a difference with ``samples``."""
    detectable: float
    """The smallest such difference found with ``samples``; infinite if none is."""
    provable: float
    """The smallest margin shown for a strategy without any loss with ``samples``; infinite if none is."""
    answers: int
    """How many answers have to be generated in all."""
    hours: float | None
    """How many hours of one device they take; None if unknown."""

    def lines(self, estimated: bool = False) -> Iterator[str]:
        """Describe the plan for a person. `estimated` says that an estimate of its hours follows."""
        two = "between two strategies" if self.pairs else "between a strategy and vanilla"
        yield from self.about.lines()
        yield "Samples, over all tasks, for a power of 80 % (differences and margins are points of accuracy kept):"
        yield f"{self.find:>12,}  to find a difference of {_points(self.difference)} {two}{self._table}"
        if (self.pairs or self.cells) > 1:
            yield f"{self.find_alone:>12,}  the same in a run of these two alone, at one budget"
        yield (
            f"{self.show:>12,}  to show that a strategy without any loss is non-inferior within {_points(self.margin)} "
            f"(run --margin {self.margin:g}){_table(self.cells, 'comparison')}"
        )
        if self.cells > 1:
            yield f"{self.show_alone:>12,}  the same in a run of this strategy alone, at one budget"
        yield f"With {self.samples:,} sample{'' if self.samples == 1 else 's'}{self._by_task()}:"
        yield f"{'± ' + format(self.width, ',.2f'):>12}  95 % interval of a difference {two}{self._table}"
        yield f"{_show_points(self.detectable):>12}  smallest difference {two} that is found with a power of 80 %{self._table}"
        yield f"{_show_points(self.provable):>12}  smallest margin that is shown for a strategy without any loss with a power of 80 %"
        unknown = "" if estimated else "; the hours are unknown: give --seconds or --card"
        hours = f"; about {self.hours:,.1f} device hours" if self.hours is not None else unknown
        yield f"{self.answers:>12,}  answers{hours}"

    @property
    def _table(self) -> str:
        return _table(self.pairs, "pair") if self.pairs else _table(self.cells, "comparison")

    @property
    def images(self) -> float:
        """About how many images the samples are about, at least 1."""
        tasks = self.about.against_vanilla.values()
        whole = sum(task.share for task in tasks)
        return max(1.0, sum(self.samples * one.share / whole / max(one.questions, one.deff) for one in tasks))

    def _by_task(self) -> str:
        tasks = self.about.against_vanilla
        whole = sum(task.share for task in tasks.values())
        numbers = {name: self.samples * task.share / whole for name, task in tasks.items()}
        listed = ", ".join(f"{name} {number:,.0f}" for name, number in numbers.items())
        return f" on about {self.images:,.0f} images" + (f" ({listed})" if len(tasks) > 1 else "")


def plan(difference: float, margin: float, samples: int, strategies: int, budgets: int, about: Assumptions) -> Plan:
    """Plan a run.

    Args:
        difference: The difference between two strategies to find, in points of accuracy kept.
        margin: The margin of non-inferiority, in points of accuracy kept.
        samples: The number of samples over all tasks.
        strategies: How many strategies run, without vanilla.
        budgets: At how many budgets each of them runs.
        about: What is assumed.
    """
    control, peers = list(about.against_vanilla.values()), list(about.between.values())
    cells, pairs = strategies * budgets, budgets * strategies * (strategies - 1) // 2
    against = family_critical(cells)
    peers, between = (peers, family_critical(pairs)) if pairs else (control, against)
    answers = samples * (1 + cells)
    return Plan(
        difference=difference,
        margin=margin,
        samples=samples,
        about=about,
        pairs=pairs,
        cells=cells,
        find=round_up(samples_for(peers, difference=-difference, critical=between)),
        find_alone=round_up(samples_for(peers, difference=-difference)),
        show=round_up(samples_for(control, margin=margin, critical=against)),
        show_alone=round_up(samples_for(control, margin=margin)),
        width=half_width(samples, peers, between),
        detectable=detectable_difference(samples, peers, between),
        provable=provable_margin(samples, control, against),
        answers=answers,
        hours=answers * about.seconds / 3600 if about.seconds is not None else None,
    )


def measure_assumptions(samples: pd.DataFrame, floors: Sequence[str] = ()) -> dict[str, Assumptions]:
    """Measure assumptions on a pilot run: on each task the medians over its pairs.

    Args:
        samples: The samples of the pilot, as ``compare`` takes them.
        floors: Strategies that say nothing about those to be planned for; they are left out if there are others.

    Returns:
        The assumptions by model.
    """
    from tokenbench.comparison.panel import panels

    found = {}
    for panel in panels(samples):
        cells = panel.cells
        chosen = [at for at in range(1, len(cells)) if cells[at].strategy not in floors] or list(range(1, len(cells)))
        control = _median([designs(panel, at, 0) for at in chosen])
        peers = _median(
            [designs(panel, a, b) for a in chosen for b in chosen if a < b and cells[a].budget == cells[b].budget]
        )
        names = [task.name for task in panel.tasks]
        if not control:  # the pilot ran vanilla alone
            continue
        own = samples[samples["model"].astype(str) == panel.model]
        found[panel.model] = Assumptions(
            dict(zip(names, control, strict=True)),
            dict(zip(names, peers or control, strict=True)),
            float(own["seconds"].mean()) if "seconds" in own and own["seconds"].notna().any() else None,
            f"Measured on the pilot, {panel.model}, {len(chosen)} strategies and budgets"
            + (
                ""
                if peers
                else "; for want of a second strategy two strategies are taken to differ as one does from vanilla"
            )
            + ":",
        )
    return found


def designs(panel: Panel, a: int, b: int) -> list[TaskDesign]:
    """How two cells of a panel differ on each of its tasks, to plan by (see ``measure_design``)."""
    found, moves, holds = [], [], []
    for task, scores in zip(panel.tasks, panel.averages, strict=True):
        difference = task.weights * (scores[:, a] - scores[:, b])
        design = measure_design(difference, task.codes, float((task.weights * scores[:, 0]).mean()))
        unit = design.share * design.score
        moves.append(cluster_sums(difference - difference.mean(), task.codes, len(panel.clusters)) / unit)
        holds.append(np.bincount(task.codes, minlength=len(panel.clusters)) / unit)
        found.append(design)
    together, overlap = _overlap(moves), _overlap(holds)
    return [replace(one, deff=max(1.0, one.deff * together), overlap=overlap) for one in found]


def _overlap(parts: Sequence[Floats]) -> float:
    """How many times the squares of the images' sums over the tasks are those of their parts: 1 if no two tasks share images."""
    alone = sum(float((part**2).sum()) for part in parts)
    return float((np.sum(parts, axis=0) ** 2).sum()) / alone if alone > 0 else 1.0


def samples_needed(panel: Panel, a: int, b: int, margin: float, critical: float) -> int:
    """Estimate how many samples show that a strategy without any loss keeps a margin, with a power of 80 %.

    The number is over all tasks, planned from how two cells of a panel differ; it keeps the proportions of the tasks,
    and is rounded up to two digits.

    Args:
        panel: The samples at hand.
        a: Position of the strategy among the cells.
        b: Position of vanilla among the cells.
        margin: The margin in points of accuracy kept, above 0.
        critical: Critical value of the simultaneous interval.
    """
    return round_up(samples_for(designs(panel, a, b), margin=margin, critical=critical))


def _median(pairs: Sequence[Sequence[TaskDesign]]) -> list[TaskDesign]:
    """Task by task: pairs differ in what they need, tasks too, and only the former may be averaged out."""
    return [
        replace(
            own[0],
            discordance=float(np.median([task.discordance for task in own])),
            deff=float(np.median([task.deff for task in own])),
        )
        for own in zip(*pairs, strict=True)
    ]


def _points(number: float) -> str:
    return f"{number:g} point{'' if number == 1 else 's'}"


def _table(count: int, what: str) -> str:
    return f", in a table of {count:,} {what}s" if count > 1 else ""


def _show_points(points: float) -> str:
    return "none" if isinf(points) else f"{points:,.2f}"

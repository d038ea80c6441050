"""Leaderboards: the runs that asked the same questions of the same model, compared together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.comparison.wording import range_of
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench.store.joined import JoinedRuns
from tokenbench.store.run import Run
from tokenbench_reports.document import Frame, make_frame
from tokenbench_reports.findings import vanilla_of
from tokenbench_reports.headline import Headline, make_headline
from tokenbench_reports.html.cells import AXES, Cell, cells_of_model, keep_highest
from tokenbench_reports.html.marks import Mark, assign_marks
from tokenbench_reports.html.plot import CostView, cost_view
from tokenbench_reports.html.results import Results, results
from tokenbench_reports.publish.equal_cost import EqualCost, equal_cost

__all__ = ["Board", "Entrant", "make_boards"]

SETTINGS = ("match", "held_out", "turns", "until", "dtype")
"""Settings with which runs are on one board only if they share them."""


@dataclass(frozen=True)
class Entrant:
    """A run that is published."""

    slug: str
    """The name of its folder on the site."""
    run: Run
    """The run."""
    comparison: Comparison
    """Its own comparison."""
    numbers: int
    """How many of its numbers were recomputed."""
    answers: int
    """From how many answers."""
    unknown: Sequence[str] = ()
    """What could not be recomputed."""

    @property
    def version(self) -> str:
        """The version of TokenBench that made it."""
        return str(self.run.manifest.get("versions", {}).get("tokenbench", "unknown"))

    @property
    def dtype(self) -> str:
        """The data type of its weights."""
        return str(self.run.manifest["spec"]["dtype"])

    @property
    def date(self) -> str:
        """The day on which its verdicts were first seen; empty if they never were."""
        return min((look["time"][:10] for look in self.run.manifest.get("looks", [])), default="")


@dataclass(frozen=True)
class Board:
    """One leaderboard: a model on the questions that all of its runs asked."""

    name: str
    """The end of its names in the page, and the name of its folder on the site."""
    model: str
    """The model."""
    entrants: Sequence[Entrant]
    """Its runs."""
    run: Run
    """Its runs as one."""
    comparison: Comparison
    """What the runs give together."""

    @property
    def report(self) -> str:
        """The page that holds the board's numbers with their samples, relative to the site."""
        return (
            f"runs/{self.entrants[0].slug}/report.html"
            if len(self.entrants) == 1
            else f"boards/{self.name}/report.html"
        )

    def samples(self, strategy: str, budget: str) -> str:
        """Return the address of the samples behind a cell's number: those that it was right or wrong on, beside the unpruned model's."""
        wish = {"model": self.model} if len(self.comparison.models) > 1 else {}
        wish |= {"a": strategy, "b": VANILLA, **({"budget": budget} if budget in self.rankings else {})}
        return f"{self.report}#samples?{urlencode(wish, quote_via=quote)}"

    @property
    def dtype(self) -> str:
        """The data type of the weights, the same in all runs."""
        return self.entrants[0].dtype

    @cached_property
    def about(self) -> dict[str, Any]:
        """What is known of its runs."""
        return self.run.about()

    @property
    def tasks(self) -> list[tuple[str, int]]:
        """The tasks, each with its number of samples."""
        summary = self.comparison.summary
        own = summary[(summary["model"] == self.model) & (summary["strategy"] == VANILLA)]
        return [
            (str(task), int(n)) for task, n in zip(own["task"], own["n"], strict=True) if task in self.comparison.tasks
        ]

    @cached_property
    def frame(self) -> Frame:
        """What stands around its numbers: a label and warnings."""
        return make_frame(self.comparison, self.about)

    @cached_property
    def every(self) -> list[Cell]:
        """All cells."""
        return cells_of_model(self.comparison, self.model, self.about.get("bench", []))

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells that are shown."""
        return keep_highest(self.every)

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """How strategies are drawn."""
        return assign_marks(self.every)

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """The ranking of every budget."""
        return {ranking.budget: ranking for ranking in rank_strategies(self.comparison, self.model)}

    @cached_property
    def vanilla(self) -> Mapping[Any, Any]:
        """The unpruned model's row."""
        return vanilla_of(self.comparison, self.model)

    @cached_property
    def headline(self) -> Headline:
        """What was found."""
        return make_headline(self.comparison, self.model)

    @cached_property
    def costs(self) -> list[CostView]:
        """Accuracy against every cost."""
        return [cost_view(self.cells, axis, self.marks, list(self.rankings)) for axis in AXES]

    @cached_property
    def results(self) -> Results:
        """The table of results."""
        return results(self.cells, self.rankings, self.marks, self.vanilla, self.comparison.margin)

    @cached_property
    def equal(self) -> list[EqualCost]:
        """The methods at equal cost."""
        return equal_cost(self.cells, float(self.vanilla["realised_tokens"]))

    @property
    def readouts(self) -> list[dict[str, str]]:
        """What the plot says about every mark."""
        return [{"method": cell.strategy, "text": cell.text} for cell in self.cells]

    def rank(self, strategy: str, budget: str) -> str:
        """Return the ranks that the verdicts leave open, such as `1` or `2–4`; empty if not all pairs were compared."""
        ranking = self.rankings.get(budget)
        if ranking is None or not ranking.compared or strategy not in ranking.strategies:
            return ""
        low, high = ranking.ranks(strategy)
        return range_of(low, high)

    def source(self, strategy: str, budget: str) -> Entrant:
        """Return the run that a cell is taken from."""
        if not isinstance(self.run, JoinedRuns):
            return self.entrants[0]
        return self.entrants[self._origins[self.model, strategy, budget]]

    @cached_property
    def _origins(self) -> dict[tuple[str, str, str], int]:
        return self.run.origins() if isinstance(self.run, JoinedRuns) else {}


def make_boards(entrants: Sequence[Entrant]) -> list[Board]:
    """Put the runs that asked the same questions of the same model onto one board, and compare them together.

    Runs with other weights, prompts, numbers of samples, dtypes or settings have boards of their own, since their numbers are not
    comparable. So have runs that cannot be joined.
    """
    groups: dict[tuple[str, str], list[Entrant]] = {}
    for one in entrants:
        for model in one.comparison.models:
            groups.setdefault((model, _questions(one, model)), []).append(one)
    boards: list[Board] = []
    for (model, _), own in groups.items():
        for together in _joinable(own):
            name, runs = f"board-{len(boards) + 1}", [one.run for one in together]
            run = runs[0] if len(runs) == 1 else JoinedRuns(*runs, labels=[one.slug for one in together])
            comparison = together[0].comparison if len(runs) == 1 else run.compare()
            boards.append(Board(name, model, together, run, comparison))
    return sorted(boards, key=lambda board: (board.model, -len(board.entrants)))


def _questions(one: Entrant, model: str) -> str:
    """Return all that two runs have to share to be on one board, as text."""
    manifest = one.run.manifest
    tasks = {name: (about["samples"], about.get("asked", "")) for name, about in manifest["tasks"].items()}
    about = manifest["models"].get(model, {})
    settings = {name: manifest["spec"].get(name) or None for name in SETTINGS}
    if settings["turns"] == 1:
        settings["turns"] = None
    return json.dumps([tasks, about.get("identity"), about.get("prompt"), settings], sort_keys=True)


def _joinable(entrants: list[Entrant]) -> list[list[Entrant]]:
    if len(entrants) == 1:
        return [entrants]
    try:
        JoinedRuns(*(one.run for one in entrants)).samples(["score"])
    except UsageError:
        return [[one] for one in entrants]
    return [entrants]

"""Which strategies and budgets are compared with which, before any score is looked at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from tokenbench.comparison.panel import Treatment
from tokenbench.comparison.wording import join_names
from tokenbench.contract.cells import VANILLA, is_trivial, plain_name
from tokenbench.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_PAIRS", "Families", "Pair", "describe_families", "make_families", "select_strategies"]

MOST_PAIRS = 3000
"""The most pairs of strategies at equal budget that are all compared. All built-in strategies at three budgets make fewer. Nobody
reads a longer table, and the time for a family increases with the third power of its size."""


class Pair(NamedTuple):
    """Two cells, named so that they can be found at every look."""

    a: Treatment
    """The first cell."""
    b: Treatment
    """The second cell, which is subtracted."""


class Families(NamedTuple):
    """The comparisons of one model."""

    control: list[Pair]
    """Every strategy and budget with vanilla: family F1."""
    peers: list[Pair]
    """Strategies at equal budget: family F2."""
    left_out: int
    """How many pairs of strategies at equal budget are not compared."""


def make_families(vanilla: Treatment, others: Sequence[Treatment]) -> Families:
    """Pair the strategies of a model.

    Of too many pairs, those with a trivial baseline are compared. They do not depend on any score (those with the best strategy would),
    so that the error of the family is what it says.
    """
    peers = [Pair(a, b) for a, b in combinations(others, 2) if a.budget == b.budget]
    chosen = peers if len(peers) <= MOST_PAIRS else [pair for pair in peers if _with_floor(pair)]
    return Families([Pair(cell, vanilla) for cell in others], chosen, len(peers) - len(chosen))


def _with_floor(pair: Pair) -> bool:
    return any(is_trivial(cell.strategy) for cell in pair)


def select_strategies(samples: pd.DataFrame, strategies: Collection[str]) -> pd.DataFrame:
    """Return the samples of vanilla and of these strategies; all samples if there are none.

    A name without a mark also stands for the cells of several runs that are held apart: `clse` for `clse#A` and `clse#B`.

    Raises:
        UsageError: A strategy is not among the samples.
    """
    if not strategies:
        return samples
    there = set(map(str, samples["strategy"].unique()))
    wanted = {VANILLA}
    for name in strategies:
        found = {one for one in there if one == name or (plain_name(one) == name and name != VANILLA)}
        if not found:
            raise unknown("strategy", name, there)
        wanted |= found
    return samples[samples["strategy"].isin(wanted)]


def describe_families(left_out: int, strategies: Collection[str]) -> list[str]:
    """Return sentences on comparisons that a reader might expect but does not find.

    Args:
        left_out: The number of pairs of strategies at equal budget that are not compared, on the model with the most.
        strategies: The only strategies that are compared; empty if all are.
    """
    sentences = []
    if strategies:
        sentences.append(
            f"Only {join_names(strategies)} {'is' if len(strategies) == 1 else 'are'} compared (--strategies): p values and intervals are adjusted for the comparisons "
            "of these alone. They hold if the choice does not depend on any results of this run."
        )
    if left_out:
        sentences.append(
            f"{left_out:,} pairs of strategies at equal budget are not compared, since more than {MOST_PAIRS:,} pairs are too many to read: "
            "strategies are compared with vanilla and with the trivial baselines that ran, and have no ranks. To compare all pairs of a few strategies, name them: tokenbench compare RUN --strategies A,B."
        )
    return sentences

"""On which rows of a task it is tried how its answers are scored, and with which sets of answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

__all__ = ["choose_units", "draw_sets"]

ROWS = 24
"""How many rows are examined; the last unit is completed."""
SURE = 2
"""How many units of every known stratum are examined at least."""
DRAWS = 20
"""For how many sets of answers the official number is computed."""


def choose_units(units: Sequence[Sequence[int]], stratum_of: Callable[[int], str]) -> list[Sequence[int]]:
    """Return the first units, and some of every stratum.

    Args:
        units: The rows of each unit, in the order in which they are asked.
        stratum_of: The stratum of a row, as far as it is known.
    """
    rows = sum(map(len, units))
    count = max(1, -(-ROWS * len(units) // max(1, rows)))
    seen: Counter[str] = Counter()
    chosen = []
    for place, unit in enumerate(units):
        stratum = stratum_of(unit[0])
        if place < count or (stratum and seen[stratum] < SURE):
            chosen.append(unit)
        seen[stratum] += 1
    return chosen


def draw_sets(units: Sequence[Sequence[int]], answers: Mapping[int, Sequence[str]]) -> list[dict[int, str]]:
    """Return sets of answers by row, to all units or some of them: right ones alone, any at all, and mixtures.

    Args:
        units: The rows of each unit.
        answers: The answers that are tried on every row, a right one first.
    """
    rng = random.Random(0)
    sets = []
    for number in range(DRAWS):
        chosen = units if number < 2 else rng.sample(units, rng.randint((len(units) + 1) // 2, len(units)))
        share = (1.0, 0.0)[number] if number < 2 else 0.5
        sets.append(
            {i: answers[i][0] if rng.random() < share else rng.choice(answers[i]) for unit in chosen for i in unit}
        )
    return sets

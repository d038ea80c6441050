"""On which rows of a task it is tried how its answers are scored, and with which sets of answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

__all__ = ["choose_units", "draw_sets", "find_companions"]

ROWS = 24
"""How many rows are examined; the last unit is completed."""
SURE = 2
"""How many units of every known stratum are examined at least."""
LOOKED_AT = 5000
"""Among how many units companions are looked for."""
LARGEST = 50
"""How many units at most have the same value in a column that names groups."""
GROUPS, COMPANIONS, MOST = 2, 3, 16
"""For how many units, how many companions are added, in every column; and in all."""
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


def find_companions(
    units: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[int]],
    column: Callable[[str, Sequence[int]], Sequence[object]],
    names: Sequence[str],
) -> list[Sequence[int]]:
    """Return further units that share a value with chosen ones, as the questions of a pair or the segments of a video do.

    Units are asked in a mixed order. Among the first ones, hardly any belong together, and a number of whole pairs would look like a mean.

    Args:
        units: The rows of each unit, in the order in which they are asked.
        chosen: Those that are examined anyway.
        column: The values of a column in some rows.
        names: The columns that may name groups.
    """
    looked = units[:LOOKED_AT]
    rows = [unit[0] for unit in looked]
    found: dict[int, Sequence[int]] = {}
    for name in names:
        groups: dict[object, list[Sequence[int]]] = {}
        for unit, value in zip(looked, column(name, rows), strict=True):
            groups.setdefault(value, []).append(unit)
        small = [group for group in groups.values() if 1 < len(group) <= LARGEST and group[0] in chosen]
        for group in small[:GROUPS]:
            found |= {unit[0]: unit for unit in group[1 : 1 + COMPANIONS] if unit not in chosen}
    return list(found.values())[:MOST]


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

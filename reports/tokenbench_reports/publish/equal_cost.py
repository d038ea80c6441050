"""Methods at equal cost: the most accuracy that each keeps for no more than a given cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenbench.comparison.wording import NOTHING, interval, percent
from tokenbench_reports.html.cells import AXES, Axis, Cell
from tokenbench_reports.html.front import TOLERANCE

CEILINGS = (2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
"""Costs to choose among, in per cent of the unpruned model's."""
MOST = 4
"""The most columns."""


@dataclass(frozen=True)
class Entry:
    """What a method keeps for no more than a cost."""

    text: str
    """The accuracy kept; a dash if the method has no cell that is cheap enough."""
    limits: str
    """Its interval."""
    budget: str
    """The budget at which it does."""
    best: bool
    """Whether it is the highest estimate of its column."""


@dataclass(frozen=True)
class EqualCost:
    """The table of one cost."""

    axis: Axis
    """The cost."""
    ceilings: list[int]
    """The highest costs of the columns, in per cent of the unpruned model's."""
    rows: list[tuple[str, bool, list[Entry]]]
    """(strategy, whether it is a floor, its entries): methods, then floors, the best at the highest cost first."""


def equal_cost(cells: Sequence[Cell], vanilla_tokens: float) -> list[EqualCost]:
    """Arrange the cells by every cost that is known.

    Args:
        cells: The cells of a model.
        vanilla_tokens: The visual tokens of the unpruned model, as the mean over the decoder's layers.
    """
    found = []
    for axis in AXES:
        shares = {
            (cell.strategy, cell.budget): (
                100 * cell.costs["tokens"][0] / vanilla_tokens if axis.key == "tokens" else cell.costs[axis.key][0]
            )
            for cell in cells
            if axis.key in cell.costs and cell.kept[0] == cell.kept[0]
        }
        known = [cell for cell in cells if (cell.strategy, cell.budget) in shares]
        if known:
            found.append(_arrange(axis, known, shares))
    return found


def _arrange(axis: Axis, cells: Sequence[Cell], shares: dict[tuple[str, str], float]) -> EqualCost:
    ceilings = sorted({next((c for c in CEILINGS if share <= c * (1 + TOLERANCE)), 100) for share in shares.values()})
    if len(ceilings) > MOST:  # the lowest and the highest, and some between them
        ceilings = [ceilings[round(at * (len(ceilings) - 1) / (MOST - 1))] for at in range(MOST)]
    columns = []
    for ceiling in ceilings:
        best: dict[str, Cell] = {}
        for cell in cells:
            cheap = shares[cell.strategy, cell.budget] <= ceiling * (1 + TOLERANCE)
            if cheap and (cell.strategy not in best or cell.kept[0] > best[cell.strategy].kept[0]):
                best[cell.strategy] = cell
        columns.append(best)
    tops = [max((cell.kept[0] for cell in best.values() if not cell.floor), default=float("inf")) for best in columns]
    floors = {cell.strategy: cell.floor for cell in cells}
    rows = [
        (name, floor, [_entry(best.get(name), top) for best, top in zip(columns, tops, strict=True)])
        for name, floor in floors.items()
    ]
    values = {name: [best[name].kept[0] if name in best else -1.0 for best in columns[::-1]] for name in floors}
    rows.sort(key=lambda row: (row[1], [-value for value in values[row[0]]]))
    return EqualCost(axis, ceilings, rows)


def _entry(cell: Cell | None, top: float) -> Entry:
    if cell is None:
        return Entry(NOTHING, "", "", False)
    value, low, high = (part / 100 for part in cell.kept)
    return Entry(percent(value), interval(value, low, high).partition(" ")[2], cell.budget, cell.kept[0] >= top)

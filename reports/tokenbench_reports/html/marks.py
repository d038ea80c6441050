"""Colours and shapes: five of them, each with its own shape, and grey for everybody else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench_reports.html.cells import AXES, Cell, at_budget, budgets_of
from tokenbench_reports.html.front import front

COLOURS = 5
GREY, FLOOR = "g", "f"


@dataclass(frozen=True)
class Mark:
    """How a strategy is drawn."""

    look: str
    """The end of its classes: the number of a colour, ``g`` for grey or ``f`` for a floor."""

    @property
    def coloured(self) -> bool:
        """Whether it has a colour of its own."""
        return self.look not in (GREY, FLOOR)


def assign_marks(cells: Sequence[Cell]) -> dict[str, Mark]:
    """Give a colour to the best two at the first budget, then to whoever is on a front, then to the next best."""
    known = [cell for cell in cells if cell.kept[0] == cell.kept[0]]
    first = at_budget(known, budgets_of(known)[0]) if known else []
    best = [cell.strategy for cell in first if not cell.floor]
    fronts = [cell.strategy for axis in AXES for cell in front(known, axis.key) if not cell.floor]
    rest = [cell.strategy for cell in cells if not cell.floor]
    chosen = list(dict.fromkeys([*best[:2], *fronts, *best, *rest]))
    few = len(set(rest)) <= COLOURS
    wanted = chosen if few else list(dict.fromkeys([*best[:2], *fronts]))
    marks = {name: Mark(str(at)) for at, name in enumerate(wanted[:COLOURS])}
    for cell in cells:
        marks.setdefault(cell.strategy, Mark(FLOOR if cell.floor else GREY))
    return marks


def look_of(marks: Mapping[str, Mark], strategy: str) -> str:
    """The end of the classes of a strategy's mark; the unpruned model has a floor's."""
    return marks[strategy].look if strategy in marks else FLOOR

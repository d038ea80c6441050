"""Accuracy against cost: where every mark, label and line of the picture lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.wording import join_names, number
from tokenbench_reports.html.cells import Axis, Cell, Limits
from tokenbench_reports.html.front import front, stairs
from tokenbench_reports.html.marks import FLOOR, GREY, Mark
from tokenbench_reports.html.scale import Scale, kept_range, spread
from tokenbench_reports.sentences import LONGEST, tell_apart

Place = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The sizes of a picture."""

    name: str
    """For which screens it is."""
    width: float
    """Its width."""
    height: float
    """Its height."""
    left: float
    """Where the plot begins."""
    right: float
    """Where the plot ends, and labels begin."""
    top: float
    """Where the plot begins."""
    bottom: float
    """Where the plot ends."""
    gap: float
    """The height of a label."""
    longest: int
    """The most signs of a label."""
    lead: float
    """The space between the plot and the labels."""
    valued: bool
    """Whether labels have the accuracy kept behind the name."""


WIDE = Frame("wide", 780, 306, 44, 628, 8, 270, 14, 17, 20, valued=True)
NARROW = Frame("narrow", 358, 222, 30, 258, 8, 188, 12.5, 15, 26, valued=False)
SIGN = 8.2
"""The width of a bold sign of a label, at most on average."""


@dataclass(frozen=True)
class Point:
    """A cell's mark."""

    x: float
    """Its place across."""
    y: float
    """Its height."""
    low: float
    """The place of its lower limit."""
    high: float
    """The place of its upper limit."""
    below: bool
    """Whether its lower limit lies below the plot."""
    above: bool
    """Whether its upper limit lies above the plot."""
    near: float
    """The place of its cost's lower limit."""
    far: float
    """The place of its cost's upper limit."""
    look: str
    """The end of its classes."""
    cell: int
    """Its number among the model's cells."""
    budget: int
    """The number of its budget."""


@dataclass(frozen=True)
class Label:
    """A name beside the plot, and the line that leads to it."""

    text: str
    """The name, cut if it is long."""
    value: str
    """The accuracy kept; empty where there is no room."""
    y: float
    """Its height."""
    start: Place
    """Where its line begins."""
    look: str
    """The end of its classes."""


@dataclass(frozen=True)
class Plot:
    """The picture of one cost, at one size."""

    frame: Frame
    """Its sizes."""
    points: list[Point]
    """The marks: grey ones first, so that coloured ones lie on top."""
    lines: list[tuple[str, str]]
    """(points, look) of the line through the budgets of each strategy."""
    labels: list[Label]
    """The names."""
    floor: str
    """The area that floors reach, as a path; empty if none ran."""
    front: str
    """The front, as a path; empty if it is a single point or none."""
    budgets: list[tuple[float, float, str]]
    """(x, y, text) beside the marks of the best strategy."""
    xticks: list[tuple[float, str]]
    """(x, text) below the plot."""
    yticks: list[tuple[float, str]]
    """(y, text) at its left; 100 % is apart."""
    hundred: float
    """The height of 100 %."""


@dataclass(frozen=True)
class CostView:
    """One choice of the cost control."""

    axis: Axis
    """The cost."""
    plots: list[Plot]
    """The picture at every size; none where the cost is not known."""
    text: str
    """What the picture says, in a sentence."""


def cost_view(cells: Sequence[Cell], axis: Axis, marks: Mapping[str, Mark], budgets: Sequence[str]) -> CostView:
    """Draw the cells against one cost."""
    known = [cell for cell in cells if cell.kept[0] == cell.kept[0] and axis.key in cell.costs]
    if not known:
        costly = any(axis.key in cell.costs for cell in cells)
        text = "No accuracy kept is defined here, so that there is nothing to draw." if costly else axis.hint
        return CostView(axis, [], text)
    plots = [_plot(cells, known, axis, marks, budgets, _fit(frame, known)) for frame in (WIDE, NARROW)]
    return CostView(axis, plots, _sentence(known, axis))


def _fit(frame: Frame, cells: Sequence[Cell]) -> Frame:
    """The frame, with a plot that leaves enough room for the longest label."""
    values = max(len(number(cell.kept[0])) for cell in cells) + 1 if frame.valued else 0
    signs = max(map(len, tell_apart((cell.strategy for cell in cells), frame.longest).values())) + values
    return replace(frame, right=min(frame.right, frame.width - frame.lead - SIGN * signs))


def _sentence(cells: Sequence[Cell], axis: Axis) -> str:
    best = [cell for cell in front(cells, axis.key) if not cell.floor]
    if not best:
        return f"By {_noun(axis)}, no method keeps more than a floor of the same cost."
    short = tell_apart((cell.strategy for cell in cells), LONGEST)
    by_name: dict[str, list[str]] = {}
    for cell in reversed(best):
        by_name.setdefault(short[cell.strategy], []).append(cell.budget)
    names = [f"{name} ({', '.join(budgets)})" for name, budgets in by_name.items()]
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return f"Nothing keeps more for the same {_noun(axis)} than {join_names(shown)}."


def _noun(axis: Axis) -> str:
    return {"tokens": "visual tokens", "cache": "KV cache", "time": "time"}.get(axis.key, axis.label)


def _plot(
    every: Sequence[Cell],
    cells: Sequence[Cell],
    axis: Axis,
    marks: Mapping[str, Mark],
    budgets: Sequence[str],
    frame: Frame,
) -> Plot:
    low, high = kept_range(cells)
    y = Scale(low, high, frame.bottom, frame.top)
    x = Scale(0.0, 1.04 * max(cell.costs[axis.key][2] for cell in cells), frame.left, frame.right)
    order = sorted(cells, key=lambda cell: {FLOOR: 0, GREY: 1}.get(marks[cell.strategy].look, 2))
    places = {id(cell): at for at, cell in enumerate(every)}
    points = [_point(cell, places[id(cell)], axis, x, y, marks, budgets) for cell in order]
    steps = stairs([cell for cell in cells if cell.floor], axis.key)
    best = stairs([cell for cell in front(cells, axis.key) if not cell.floor], axis.key)
    return Plot(
        frame,
        points,
        [
            (_polyline(own, axis, x, y), marks[own[0].strategy].look)
            for own in _by_strategy(cells)
            if len(own) > 1 and not own[0].floor
        ],
        _labels(cells, axis, x, y, marks, frame),
        _staircase(steps, x, y, x.high, low) if steps else "",
        _staircase(best, x, y, x.high, None) if best else "",
        _budget_names(cells, axis, x, y, budgets),
        [(x(tick), number(tick, 0) + axis.unit) for tick in x.ticks(7 if frame.valued else 5)],
        [(y(tick), number(tick, 0)) for tick in (20.0 * at for at in range(int(low // 20), 5))],
        y(100.0),
    )


def _point(
    cell: Cell, at: int, axis: Axis, x: Scale, y: Scale, marks: Mapping[str, Mark], budgets: Sequence[str]
) -> Point:
    value, lower, upper = _known(cell.kept)
    cost, near, far = cell.costs[axis.key]
    budget = budgets.index(cell.budget) if cell.budget in budgets else -1
    low, place, high, below, above = y.bar(value, lower, upper)
    return Point(x(cost), place, low, high, below, above, x(near), x(far), marks[cell.strategy].look, at, budget)


def _known(limits: Limits) -> Limits:
    value, low, _ = limits
    return (value, value, value) if low != low else limits


def _by_strategy(cells: Sequence[Cell]) -> list[list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.strategy, []).append(cell)
    return list(groups.values())


def _polyline(cells: Sequence[Cell], axis: Axis, x: Scale, y: Scale) -> str:
    ordered = sorted(cells, key=lambda cell: budget_size(cell.budget))
    return " ".join(f"{x(cell.costs[axis.key][0])},{y(cell.kept[0])}" for cell in ordered)


def _staircase(steps: Sequence[Place], x: Scale, y: Scale, end: float, ground: float | None) -> str:
    """A step line to ``end``; down to ``ground`` and closed if there is one."""
    first, *rest = steps
    path = f"M{x(first[0])} {y(ground if ground is not None else first[1])}V{y(first[1])}"
    path += "".join(f"H{x(cost)}V{y(kept)}" for cost, kept in rest) + f"H{x(end)}"
    return path if ground is None else f"{path}V{y(ground)}Z"


def _labels(
    cells: Sequence[Cell], axis: Axis, x: Scale, y: Scale, marks: Mapping[str, Mark], frame: Frame
) -> list[Label]:
    """Names at the height of each strategy's dearest mark; as many as there is room for, coloured ones first."""
    ends = [max(own, key=lambda cell: cell.costs[axis.key][0]) for own in _by_strategy(cells)]
    room = int((frame.bottom - frame.top) / frame.gap) + 1
    ends.sort(key=lambda cell: (not marks[cell.strategy].coloured, cell.floor, -cell.kept[0]))
    shown, hidden = (ends, []) if len(ends) <= room else (ends[: room - 1], ends[room - 1 :])
    shown = sorted(shown, key=lambda cell: -cell.kept[0])
    wanted = [y(cell.kept[0]) for cell in shown] + ([frame.bottom] if hidden else [])
    places = spread(wanted, frame.gap, frame.top, frame.bottom)
    short = tell_apart((cell.strategy for cell in cells), frame.longest)
    labels = [
        Label(
            short[cell.strategy],
            number(cell.kept[0]) if frame.valued else "",
            place,
            (x(cell.costs[axis.key][0]), y(cell.kept[0])),
            marks[cell.strategy].look,
        )
        for cell, place in zip(shown, places, strict=False)
    ]
    if hidden:
        labels.append(Label(f"and {len(hidden)} more", "", places[-1], (x.end, places[-1]), GREY))
    return labels


def _budget_names(
    cells: Sequence[Cell], axis: Axis, x: Scale, y: Scale, budgets: Sequence[str]
) -> list[tuple[float, float, str]]:
    """The budgets beside the marks of the highest strategy; the cheapest says what these texts are."""
    own = max(_by_strategy([c for c in cells if not c.floor] or cells), key=lambda cells: max(c.kept[0] for c in cells))
    own = sorted((cell for cell in own if cell.budget in budgets), key=lambda cell: cell.costs[axis.key][0])
    return [
        (
            x(cell.costs[axis.key][0]),
            y(cell.kept[2]) if cell.kept[2] == cell.kept[2] else y(cell.kept[0]) - 11,
            cell.budget if at else f"budget {cell.budget}",
        )
        for at, cell in enumerate(own)
    ]

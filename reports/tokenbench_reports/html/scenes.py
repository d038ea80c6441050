"""A sample's picture with what a cell kept of it, for readers without script; the script draws the others the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenbench_reports.html.masks import unpack


@dataclass(frozen=True)
class SceneFrame:
    """One picture."""

    picture: str
    """Its name in the page."""
    width: int
    """Its width."""
    height: int
    """Its height."""
    columns: int
    """Columns of the lattice; 0 if it is not known."""
    rows: int
    """Rows of the lattice."""
    dropped: str
    """The places that were dropped, as a path in lattice units."""
    evidence: list[tuple[float, float, float, float]]
    """(x, y, width, height) of what the answer depends on, in lattice units."""


@dataclass(frozen=True)
class Scene:
    """What one cell kept of a sample, and what it answered."""

    strategy: str
    """The strategy."""
    frames: list[SceneFrame]
    """The pictures."""
    answer: str | None
    """The answer; None if it is unknown."""
    right: bool
    """Whether it is right."""
    count: int | None
    """How many visual tokens are left after the last layer; None if it is not known."""
    layers: list[tuple[float, float, float]]
    """(x, width, height) of the bar of visual tokens of every layer, in per cent."""


def scene(sample: Mapping[str, Any], strategy: str, budget: str) -> Scene | None:
    """Draw one cell's part of a sample of the gallery; None if the cell is not there."""
    cell = find_cell(sample, strategy, budget)
    if cell is None:
        return None
    frames = [_frame(sample, cell, at) for at in range(len(sample["frames"]))]
    return Scene(strategy, frames, cell["answer"], cell["right"], cell["count"], bars(cell["layers"]))


def find_cell(sample: Mapping[str, Any], strategy: str, budget: str) -> Mapping[str, Any] | None:
    """A strategy's cell at a budget, or its only one if it takes no budget."""
    own = [cell for cell in sample["cells"] if cell["strategy"] == strategy]
    at = [cell for cell in own if cell["budget"] == budget]
    return at[0] if at else own[0] if len(own) == 1 else None


def bars(layers: Sequence[Sequence[int]]) -> list[tuple[float, float, float]]:
    """(x, width, height) of a bar for every layer, in per cent; the highest is 100 % high."""
    counts = [count for count, length in layers for _ in range(length)]
    most, slot = max([1, *counts]), 100 / max(1, len(counts))
    return [
        (round(slot * (at + 0.06), 2), round(slot * 0.88, 2), round(100 * n / most, 2)) for at, n in enumerate(counts)
    ]


def _frame(sample: Mapping[str, Any], cell: Mapping[str, Any], at: int) -> SceneFrame:
    name, width, height = sample["frames"][at]
    if not sample["lattice"]:
        return SceneFrame(name, width, height, 0, 0, "", [])
    times, rows, columns, lead = sample["lattice"]
    t = sample["shown"][at]
    first = t * (lead + rows * columns) + lead
    kept = unpack(cell["kept"]) if cell["kept"] else None
    dropped = "".join(
        f"M{place % columns},{place // columns}h1v1h-1z"
        for place in range(rows * columns)
        if kept is not None and first + place not in kept
    )
    evidence = [
        (x0 * columns, y0 * rows, (x1 - x0) * columns, (y1 - y0) * rows)
        for x0, y0, x1, y1, t0, t1 in sample["evidence"]
        if t0 * times < t + 1 and t1 * times > t
    ]
    return SceneFrame(name, width, height, columns, rows, dropped, evidence)

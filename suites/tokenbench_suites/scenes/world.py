"""What is in a scene: things (a shape in a color) and a number, with their places in pixels.

Knows nothing of pixels' values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CELL", "COLORS", "SHAPES", "SIZE", "Number", "Rect", "Scene", "Style", "Thing", "make_scene"]

SIZE = 144
CELL = 12  # a digit fits one cell of this grid; the toy model's patches have the same size
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
COLORS = {
    "red": (214, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (240, 225, 50),
    "green": (50, 160, 60),
    "cyan": (70, 215, 225),
    "blue": (45, 75, 210),
    "purple": (125, 50, 160),
    "pink": (250, 130, 190),
}
Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thing:
    """A shape in a color around pixel (x, y)."""

    shape: str
    """One of `SHAPES`."""
    color: str
    """One of `COLORS`."""
    x: int
    """Column of its centre, in pixels."""
    y: int
    """Row of its centre, in pixels."""
    radius: int
    """Half its size, in pixels."""

    @property
    def name(self) -> str:
        """What questions call it, such as "red circle"."""
        return f"{self.color} {self.shape}"

    @property
    def rect(self) -> Rect:
        """Left, top, right, bottom in pixels, the last two exclusive."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius + 1, self.y + self.radius + 1


@dataclass(frozen=True)
class Number:
    """A row of digits, one in each cell of the grid, whose upper left corner is at pixel (x, y)."""

    text: str
    """The digits."""
    x: int
    """Left edge, in pixels."""
    y: int
    """Upper edge, in pixels."""
    light: bool
    """Whether the digits are lighter than the ground."""

    @property
    def rect(self) -> Rect:
        """Left, top, right, bottom in pixels, the last two exclusive."""
        return self.x, self.y, self.x + CELL * (len(self.text) - 1) + 8, self.y + 11


@dataclass(frozen=True)
class Scene:
    """Things and a number on a textured ground."""

    things: tuple[Thing, ...]
    """The things, no two of them alike."""
    number: Number | None
    """The number; None if the scene has none."""
    ground: int
    """Seed of the ground's texture."""


@dataclass(frozen=True)
class Style:
    """Ranges that scenes are drawn from, both ends included."""

    things: tuple[int, int] = (3, 8)
    """How many things a scene has."""
    radius: tuple[int, int] = (5, 8)
    """Radius of a thing, in pixels."""
    digits: tuple[int, int] = (2, 3)
    """How many digits the number has."""
    number_share: float = 0.75
    """The share of scenes that have a number."""


def make_scene(rng: np.random.Generator, style: Style) -> Scene:
    """Make a scene of things of which no two are alike, placed uniformly without overlap."""
    number = _number(rng, style) if rng.random() < style.number_share else None
    things: list[Thing] = []
    count = int(rng.integers(style.things[0], style.things[1] + 1))
    for color, shape in _kinds(rng, count):
        radius = int(rng.integers(style.radius[0], style.radius[1] + 1))
        place = _free_place(rng, radius, things, number)
        if place is not None:
            things.append(Thing(shape, color, *place, radius))
    return Scene(tuple(things), number, int(rng.integers(2**31)))


def _kinds(rng: np.random.Generator, count: int) -> Iterator[tuple[str, str]]:
    """`count` different (color, shape) pairs.

    Usually one color or shape is repeated, so that counting is not trivial.
    """
    pairs = [(color, shape) for color in COLORS for shape in SHAPES]
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    repeats = int(rng.integers(1, 5))
    axis = int(rng.integers(2))
    theme = order[0][axis]
    same = [pair for pair in order if pair[axis] == theme][: min(repeats, count)]
    other = [pair for pair in order if pair[axis] != theme][: count - len(same)]
    yield from same + other


def _number(rng: np.random.Generator, style: Style) -> Number:
    """A number whose digits each lie within one cell of the grid; the first digit is not 0."""
    length = int(rng.integers(style.digits[0], style.digits[1] + 1))
    digits = [int(rng.integers(1, 10)), *(int(d) for d in rng.integers(0, 10, length - 1))]
    cells = SIZE // CELL
    x = int(rng.integers(cells - length + 1)) * CELL + int(rng.integers(1, 4))
    y = int(rng.integers(cells)) * CELL + int(rng.integers(2))
    return Number("".join(map(str, digits)), x, y, bool(rng.integers(2)))


def _free_place(
    rng: np.random.Generator, radius: int, things: list[Thing], number: Number | None
) -> tuple[int, int] | None:
    """A uniform centre that keeps clear of all there is, or None after 100 tries."""
    for x, y in rng.integers(radius + 1, SIZE - radius - 1, (100, 2)).tolist():
        apart = all((x - t.x) ** 2 + (y - t.y) ** 2 > (radius + t.radius + 3) ** 2 for t in things)
        if apart and (number is None or _clear(x, y, radius, number.rect)):
            return x, y
    return None


def _clear(x: int, y: int, radius: int, rect: Rect) -> bool:
    left, top, right, bottom = rect
    return x + radius + 2 < left or x - radius - 2 > right or y + radius + 2 < top or y - radius - 2 > bottom

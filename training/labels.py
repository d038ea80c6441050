"""What each patch of a scene shows, and the code vectors that stand for it. Knows nothing of models."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenbench_suites.scenes import COLORS, SHAPES, Scene
from tokenbench_suites.scenes.render import digit_cells, stamp
from tokenbench_suites.scenes.world import CELL, SIZE, Rect, Thing

SIDE = SIZE // CELL
PATCHES = SIDE * SIDE
WIDTH = 128
SCALE = 8.0  # of embeddings against unit codes: what a layer adds must not drown what came in, as in real models
KINDS = ("nothing", *SHAPES, *"0123456789")
INKS = ("nothing", *COLORS)
MARKS = ("nothing", "centre", "first digit", "second digit", "third digit")
MIN_COVER = 12.0  # pixels of a thing that make a patch show it
AXIS_WORDS = (("left", "right"), ("top", "bottom"))
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Dense:
    """Per patch [n]: index into KINDS, INKS, MARKS, and the owner (index of the thing, len(things) = number, -1)."""

    kind: Ints
    ink: Ints
    mark: Ints
    owner: Ints


def dense_labels(scene: Scene, side: int = SIDE) -> Dense:
    """Labels of all side x side patches of a scene, row by row."""
    grid = np.zeros((3, side, side), np.int64)
    owner = np.full((side, side), -1, np.int64)
    most = np.full((side, side), MIN_COVER, np.float32)
    for index, thing in enumerate(scene.things):
        cover, row, column = _cover(thing)
        window = np.s_[row : row + cover.shape[0], column : column + cover.shape[1]]
        wins = cover >= most[window]
        wins[thing.y // CELL - row, thing.x // CELL - column] = True
        most[window] = np.where(wins, cover, most[window])
        owner[window] = np.where(wins, index, owner[window])
    for index, thing in enumerate(scene.things):
        grid[0][owner == index] = 1 + SHAPES.index(thing.shape)
        grid[1][owner == index] = INKS.index(thing.color)
        grid[2][thing.y // CELL, thing.x // CELL] = 1
    if scene.number:
        for place, (row, column) in enumerate(digit_cells(scene.number)):
            grid[:, row, column] = 1 + len(SHAPES) + int(scene.number.text[place]), 0, min(2 + place, 4)
            owner[row, column] = len(scene.things)
    flat = grid.reshape(3, side * side)
    return Dense(flat[0], flat[1], flat[2], owner.reshape(side * side))


def owners_of(scene: Scene, evidence: tuple[Rect, ...]) -> list[int]:
    """Owner indices of the things (or the number) with these rectangles."""
    rects = [thing.rect for thing in scene.things] + ([scene.number.rect] if scene.number else [])
    return [rects.index(rect) for rect in evidence]


def _cover(thing: Thing) -> tuple[Floats, int, int]:
    """Covered pixels per patch [rows, columns] of the window of patches that a thing touches, and the window's place."""
    left, top, right, bottom = thing.rect
    row, column = top // CELL, left // CELL
    window = np.zeros(((bottom - 1) // CELL - row + 1, CELL, (right - 1) // CELL - column + 1, CELL), np.float32)
    pixels = window.reshape(window.shape[0] * CELL, -1)
    y, x = top - row * CELL, left - column * CELL
    pixels[y : y + bottom - top, x : x + right - left] = stamp(thing.shape, thing.radius)
    return pixels.reshape(window.shape).sum((1, 3)), row, column


class Codes:
    """Fixed orthonormal code vectors: rows of one random rotation, shared by visual symbols and word embeddings."""

    def __init__(self, seed: int = 0, side: int = SIDE) -> None:
        rng = np.random.default_rng(seed)
        rotation = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
        names = [*KINDS, *INKS[1:], *MARKS[1:], "x", "y"]
        self.vectors: dict[str, Floats] = {name: rotation[i] for i, name in enumerate(names)}
        self.positions = self._positions(rotation[len(names) :], side)
        self.spare: Floats = rotation[len(names) + 16 :]  # directions that no symbol uses

    def _positions(self, rest: Floats, side: int) -> Floats:
        """[side * side, WIDTH]: a linear part, which says left, right, top and bottom, and sines of four periods."""
        at = (np.arange(side) + 0.5) / side * 2 - 1
        angles = np.pi * at[:, None] * np.array([0.5, 1, 2, 4])
        waves = 0.25 * np.concatenate([np.sin(angles), np.cos(angles)], 1)
        column = at[:, None] * self.vectors["x"] + waves @ rest[:8]
        row = at[:, None] * self.vectors["y"] + waves @ rest[8:16]
        return (row[:, None] + column[None]).reshape(side * side, WIDTH).astype(np.float32)

    def tables(self) -> tuple[Floats, Floats, Floats]:
        """Code tables of kinds, inks and marks, [n, WIDTH] each; "nothing" has a code among the kinds only."""
        zero = np.zeros(WIDTH, np.float32)
        kinds = np.stack([self.vectors[name] for name in KINDS])
        inks = np.stack([zero, *(self.vectors[name] for name in INKS[1:])])
        marks = np.stack([zero, *(self.vectors[name] for name in MARKS[1:])])
        return kinds, inks, marks

    def word(self, word: str, rng: np.random.Generator) -> Floats:
        """Embedding to begin with: what a word names has its code, other words a random vector of the same length."""
        noise = rng.normal(size=WIDTH).astype(np.float32) / WIDTH**0.5
        for axis, (low, high) in zip("xy", AXIS_WORDS, strict=True):
            if word in (low, high):
                return self.vectors[axis] * (1 if word == high else -1)
        near = {"above": -self.vectors["y"], "below": self.vectors["y"]}
        near |= {plural: self.vectors[shape] for shape in SHAPES for plural in (f"{shape}s", f"{shape}es")}
        if word in near:
            return 0.8 * near[word] + 0.6 * noise
        return self.vectors.get(word, noise) if word != "nothing" else noise

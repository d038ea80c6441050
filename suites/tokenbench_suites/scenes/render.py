"""Pixels of a scene, and which pixels each thing covers. Knows nothing of questions."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenbench_suites.scenes.world import CELL, COLORS, SIZE, Number, Rect, Scene, Thing

__all__ = ["SIZE", "digit_cells", "render", "stamp"]

Floats = npt.NDArray[np.float32]
SUPERSAMPLE = 4
# Which of the seven strokes (top, upper left, upper right, middle, lower left, lower right, bottom) each digit has.
STROKES = ("1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011")
STROKE_RECTS: tuple[Rect, ...] = (
    (0, 0, 8, 2), (0, 0, 2, 6), (6, 0, 8, 6), (0, 5, 8, 6), (0, 5, 2, 11), (6, 5, 8, 11), (0, 9, 8, 11),
)  # fmt: skip


def render(scene: Scene, size: int = SIZE, grain: int = 0) -> npt.NDArray[np.uint8]:
    """Image [size, size, 3]; with another `grain` the same but for the noise of single pixels."""
    rng = np.random.default_rng(scene.ground)
    image = _ground(rng, size)
    for thing in scene.things:
        left, top, right, bottom = thing.rect
        alpha = stamp(thing.shape, thing.radius)[..., None]
        image[top:bottom, left:right] += alpha * (_ink(thing) - image[top:bottom, left:right])
    if scene.number:
        _draw_number(image, scene.number)
    bank = _noise_bank()
    image += bank[(int(rng.integers(len(bank))) + grain) % len(bank)][:size, :size]
    return np.clip(image, 0, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def stamp(shape: str, radius: int) -> Floats:
    """Coverage [2r + 1, 2r + 1] of a shape, 0 to 1, antialiased."""
    fine = (2 * radius + 1) * SUPERSAMPLE
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    inside = _inside(shape, axis[None, :], axis[:, None])
    side = 2 * radius + 1
    coverage: Floats = inside.reshape(side, SUPERSAMPLE, side, SUPERSAMPLE).mean((1, 3), dtype=np.float32)
    return coverage


def digit_cells(number: Number) -> list[tuple[int, int]]:
    """Row and column of the grid cell that holds each digit."""
    return [(number.y // CELL, number.x // CELL + i) for i in range(len(number.text))]


def _inside(shape: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether points of the square [-1, 1]^2 belong to the shape; y points down."""
    far = x**2 + y**2
    match shape:
        case "circle":
            return far <= 1
        case "ring":
            return (far <= 1) & (far >= 0.3)
        case "square":
            return np.maximum(abs(x), abs(y)) <= 0.86
        case "diamond":
            return abs(x) + abs(y) <= 1
        case "triangle":
            return (y <= 0.85) & (2 * abs(x) <= y + 1)
        case "cross":
            return (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1)
    raise ValueError(f"unknown shape {shape!r}")


def _ink(thing: Thing) -> Floats:
    """The color of a thing, a little off in a way that depends on its place only."""
    shade = ((thing.x * 7 + thing.y * 13) % 31 - 15) * 0.8
    return np.asarray(COLORS[thing.color], np.float32) + np.float32(shade)


def _draw_number(image: Floats, number: Number) -> None:
    ink = 245.0 if number.light else 10.0
    for i, digit in enumerate(number.text):
        for (left, top, right, bottom), drawn in zip(STROKE_RECTS, STROKES[int(digit)], strict=True):
            if drawn == "1":
                x = number.x + CELL * i
                image[number.y + top : number.y + bottom, x + left : x + right] = ink


def _ground(rng: np.random.Generator, size: int) -> Floats:
    """A random crop, flip and tint of a random texture [size, size, 3]."""
    bank = _texture_bank()
    texture = bank[int(rng.integers(len(bank)))]
    x, y = (int(v) for v in rng.integers(texture.shape[0] - size, size=2))
    crop = texture[y : y + size, x : x + size]
    flipped = crop[:: 1 if rng.random() < 0.5 else -1, :: 1 if rng.random() < 0.5 else -1]
    return flipped + rng.uniform(-25, 25, 3).astype(np.float32)


@lru_cache(maxsize=1)
def _texture_bank() -> list[Floats]:
    """Sixteen greyish textures of low and mid frequency noise."""
    rng = np.random.default_rng(1)
    return [125 + 22 * _smooth(rng, 240, 40) + 12 * _smooth(rng, 240, 8) for _ in range(16)]


@lru_cache(maxsize=1)
def _noise_bank() -> list[Floats]:
    """Noise of single pixels, laid over everything."""
    rng = np.random.default_rng(2)
    return [rng.normal(0, 7, (SIZE, SIZE, 3)).astype(np.float32) for _ in range(16)]


def _smooth(rng: np.random.Generator, size: int, period: int) -> Floats:
    """Noise [size, size, 3] that varies over about `period` pixels, interpolated between random values on a lattice."""
    knots = rng.normal(0, 1, (size // period + 2, size // period + 2, 3))
    at = np.arange(size) / period
    low = at.astype(int)
    part = (at - low)[:, None, None]
    rows = knots[low] * (1 - part) + knots[low + 1] * part
    part = part.reshape(1, size, 1)
    smooth: Floats = (rows[:, low] * (1 - part) + rows[:, low + 1] * part).astype(np.float32)
    return smooth

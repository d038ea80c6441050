"""What happens in a clip: things that stand, move along a line, or come and go. Knows nothing of pixels' values.

A clip's random stream is a scene's with an index no scene has, so training and evaluation see different clips.
"""

from dataclasses import dataclass

import numpy as np

from tokenbench_suites.scenes import COLORS, SHAPES, Scene, Thing, scene_rng
from tokenbench_suites.scenes.seeds import Split

__all__ = ["FRAMES", "SIDE", "Actor", "Clip", "ClipStyle", "clip_rng", "frame_scene", "make_clip"]

FRAMES = 8
SIDE = 72  # pixels: 6 x 6 cells
FIRST_CLIP = 1_000_000_000  # index of the first clip in the streams of scenes
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
APART = 2  # pixels between two things
ATTEMPTS = 60


@dataclass(frozen=True)
class Actor:
    """A thing that is seen in some frames of a clip, where it stands or moves along a line."""

    shape: str
    """One of the shapes of scenes."""
    color: str
    """One of the colors of scenes."""
    radius: int
    """Half its size, in pixels."""
    x: int
    """Column of its centre in frame 0, in pixels."""
    y: int
    """Row of its centre in frame 0, in pixels."""
    step: tuple[int, int] = (0, 0)
    """How far it moves per frame, as columns and rows in pixels."""
    first: int = 0
    """The first frame in which it is seen."""
    last: int = FRAMES - 1
    """The last frame in which it is seen."""

    @property
    def name(self) -> str:
        """What questions call it, such as "red circle"."""
        return f"{self.color} {self.shape}"

    @property
    def moves(self) -> bool:
        """Whether it moves."""
        return self.step != (0, 0)

    @property
    def way(self) -> str | None:
        """The direction in which it moves, `left`, `right`, `up` or `down`; None if it stands."""
        sign = (int(np.sign(self.step[0])), int(np.sign(self.step[1])))
        return next((name for name, way in WAYS.items() if way == sign), None)

    @property
    def seen(self) -> range:
        """The frames in which it is seen."""
        return range(self.first, self.last + 1)

    def at(self, frame: int) -> Thing:
        """Return the thing that it is in a frame, whether or not it is seen there."""
        return Thing(self.shape, self.color, self.x + frame * self.step[0], self.y + frame * self.step[1], self.radius)


@dataclass(frozen=True)
class Clip:
    """Actors on a textured ground."""

    actors: tuple[Actor, ...]
    """The actors, no two of them alike."""
    ground: int
    """Seed of the ground's texture."""


@dataclass(frozen=True)
class ClipStyle:
    """Ranges that clips are drawn from, both ends included."""

    moving: tuple[int, int] = (0, 3)
    """How many actors move."""
    passing: tuple[int, int] = (2, 3)
    """How many actors are seen for a moment only."""
    standing: tuple[int, int] = (0, 1)
    """How many actors stand still all the time."""
    radius: tuple[int, int] = (4, 6)
    """Radius of an actor, in pixels."""
    step: tuple[int, int] = (4, 6)
    """How far a moving actor moves, in pixels per frame."""
    stay: tuple[int, int] = (2, 3)
    """The number of frames in which a passing actor is seen."""


def clip_rng(split: Split, index: int) -> np.random.Generator:
    """The stream that clip `index` of a split is made from."""
    return scene_rng(split, FIRST_CLIP + index)


def frame_scene(clip: Clip, frame: int) -> Scene:
    """What is seen in one frame; its things are in the order of the actors."""
    return Scene(tuple(actor.at(frame) for actor in clip.actors if frame in actor.seen), None, clip.ground)


def make_clip(rng: np.random.Generator, style: ClipStyle) -> Clip:
    """Make a clip of actors of which no two are alike or touch.

    Passing actors appear one after the other, none of them in frame 0.
    """
    moving, passing, standing = (_draw(rng, r) for r in (style.moving, style.passing, style.standing))
    starts = [int(frame) for frame in rng.permutation(np.arange(1, FRAMES - 1))[:passing]]
    parts = ["moving"] * moving + ["standing"] * standing + ["passing"] * passing
    pairs = [(color, shape) for color in COLORS for shape in SHAPES]
    kinds = [pairs[i] for i in rng.permutation(len(pairs))[: len(parts)]]
    actors: list[Actor] = []
    for part, (color, shape) in zip(parts, kinds, strict=True):
        first = starts.pop() if part == "passing" else 0
        last = min(first + _draw(rng, style.stay), FRAMES) - 1 if part == "passing" else FRAMES - 1
        for _ in range(ATTEMPTS):
            radius = _draw(rng, style.radius)
            place = _path(rng, radius, _draw(rng, style.step) if part == "moving" else 0)
            actor = Actor(shape, color, radius, *place, first, last)
            if all(_apart(actor, other) for other in actors):
                actors.append(actor)
                break
    order = rng.permutation(len(actors))
    return Clip(tuple(actors[i] for i in order), int(rng.integers(2**31)))


def _path(rng: np.random.Generator, radius: int, speed: int) -> tuple[int, int, tuple[int, int]]:
    """Place in frame 0 and step: uniform among those that stay in the picture."""
    dx, dy = (speed * sign for sign in list(WAYS.values())[int(rng.integers(len(WAYS)))])
    low, high = radius + 1, SIDE - radius - 2
    start = []
    for step in (dx, dy):
        way = step * (FRAMES - 1)
        start.append(int(rng.integers(low - min(way, 0), high - max(way, 0) + 1)))
    return start[0], start[1], (dx, dy)


def _apart(one: Actor, other: Actor) -> bool:
    """Whether two actors never touch in a frame in which both are seen."""
    reach = (one.radius + other.radius + APART) ** 2
    both = set(one.seen) & set(other.seen)
    places = [(one.at(frame), other.at(frame)) for frame in both]
    return all((a.x - b.x) ** 2 + (a.y - b.y) ** 2 > reach for a, b in places)


def _draw(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    return int(rng.integers(ends[0], ends[1] + 1))

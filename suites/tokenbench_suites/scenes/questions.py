"""Questions about a scene, with their answers and the things the answers depend on.

An asker takes a scene, a random stream and a `turn`, and returns a question or None if the scene allows none.
The turn rotates through the answers, so that a caller who counts turns gets balanced answers by construction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tokenbench_suites.scenes.world import COLORS, SHAPES, SIZE, Rect, Scene, Thing

__all__ = ["ASKERS", "LETTERS", "Asker", "Question", "words"]

T = TypeVar("T")
LETTERS = "ABCD"
MAX_COUNT = 4
CLEAR_SIDE = 10  # pixels by which a thing must be off the middle line to be called left, right, top or bottom
CLEAR_APART = 14  # pixels by which two things must differ along an axis to be compared
PLURALS = {"cross": "crosses"} | {shape: f"{shape}s" for shape in SHAPES if shape != "cross"}
# Horizontal, then vertical: answers and wording for one thing, answers and wording for two things.
HALVES = ((("left", "right"), "on the left or right"), (("top", "bottom"), "at the top or bottom"))
SIDES = ((("left", "right"), "left or right of"), (("above", "below"), "above or below"))


@dataclass(frozen=True)
class Question:
    """A question about a scene."""

    text: str
    """The question."""
    answer: str
    """Its right answer."""
    evidence: tuple[Rect, ...]
    """The pixel rectangles that the answer depends on."""


Asker = Callable[[Scene, np.random.Generator, int], Question | None]


def existence(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """Yes and no in turn. What is asked for in vain shares its color or shape with something, most often both."""
    if turn % 2 == 0:
        thing = _pick(scene.things, rng)
        return Question(f"Is there a {thing.name}?", "yes", (thing.rect,)) if thing else None
    name = _pick(_near_misses(scene, both=rng.random() < 0.75), rng)
    if name is None:
        return None
    color, shape = name
    near = [thing for thing in scene.things if thing.color == color or thing.shape == shape]
    return Question(f"Is there a {color} {shape}?", "no", _rects(near))


def attribute(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """The color of the only thing of a shape, and the shape of the only thing in a color, in turn."""
    asked, given = ("color", "shape") if turn % 2 == 0 else ("shape", "color")
    thing = _pick(_singles(scene, given), rng)
    if thing is None:
        return None
    value: str = getattr(thing, given)
    text = f"What color is the {value}?" if asked == "color" else f"What shape is the {value} thing?"
    return Question(text, getattr(thing, asked), (thing.rect,))


def position(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """The half of the image that a thing is in; every third turn, where it is relative to another."""
    axis = turn // 2 % 2
    if turn // 4 % 3 == 2:
        return _relation(scene, rng, axis, *SIDES[axis], turn % 2)
    halves, wording = HALVES[axis]
    sides = [[t for t in scene.things if _at(t, axis) < SIZE / 2 - CLEAR_SIDE]]
    sides.append([t for t in scene.things if _at(t, axis) > SIZE / 2 + CLEAR_SIDE])
    thing = _pick(sides[turn % 2], rng)
    return Question(f"Is the {thing.name} {wording}?", halves[turn % 2], (thing.rect,)) if thing else None


def counting(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """How many things have a shape or color: 1 to 4 in turn."""
    wanted = turn % MAX_COUNT + 1
    groups = [(f"{color} things", [t for t in scene.things if t.color == color]) for color in COLORS]
    groups += [(PLURALS[shape], [t for t in scene.things if t.shape == shape]) for shape in SHAPES]
    group = _pick([(name, things) for name, things in groups if len(things) == wanted], rng)
    return Question(f"How many {group[0]} are there?", str(wanted), _rects(group[1])) if group else None


def reading(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """The number in the scene."""
    return Question("What number is shown?", scene.number.text, (scene.number.rect,)) if scene.number else None


def choice(scene: Scene, rng: np.random.Generator, turn: int) -> Question | None:
    """An attribute question with four options, A to D right in turn.

    Wrong ones come from the same scene if they can.
    """
    base = attribute(scene, rng, turn // len(LETTERS))
    if base is None:
        return None
    values = COLORS if base.answer in COLORS else SHAPES
    seen = {thing.color for thing in scene.things} | {thing.shape for thing in scene.things}
    wrong = [value for value in values if value != base.answer]
    order = [wrong[i] for i in rng.permutation(len(wrong))]
    options = sorted(order, key=lambda value: value not in seen)[: len(LETTERS) - 1]
    options = [options[i] for i in rng.permutation(len(options))]
    right = turn % len(LETTERS)
    options.insert(right, base.answer)
    listed = " ".join(f"{letter} {value}" for letter, value in zip(LETTERS, options, strict=True))
    return Question(f"{base.text} {listed}", LETTERS[right], base.evidence)


ASKERS: dict[str, Asker] = {
    "existence": existence,
    "attribute": attribute,
    "position": position,
    "counting": counting,
    "reading": reading,
    "choice": choice,
}


def words() -> list[str]:
    """Every word and sign of all questions and answers; digits are words of their own."""
    asked = "Is there a ? What color is the shape thing on left or right at top bottom of above below"
    counted = "How many things are there number shown yes no"
    return list(
        dict.fromkeys([*asked.split(), *counted.split(), *COLORS, *SHAPES, *PLURALS.values(), *LETTERS, *"0123456789"])
    )


def _relation(
    scene: Scene, rng: np.random.Generator, axis: int, answers: tuple[str, str], wording: str, which: int
) -> Question | None:
    """Two things clearly apart along an axis; `which` 0 asks from the smaller side, 1 from the larger."""
    sign = 1 if which == 0 else -1
    pairs = [(a, b) for a in scene.things for b in scene.things if sign * (_at(b, axis) - _at(a, axis)) >= CLEAR_APART]
    pair = _pick(pairs, rng)
    if pair is None:
        return None
    return Question(f"Is the {pair[0].name} {wording} the {pair[1].name}?", answers[which], _rects(pair))


def _near_misses(scene: Scene, both: bool) -> list[tuple[str, str]]:
    """(color, shape) pairs that are not there, though the color and (both) or (else) the shape are."""
    there = {(t.color, t.shape) for t in scene.things}
    colors, shapes = {c for c, _ in there}, {s for _, s in there}
    absent = [(c, s) for c in COLORS for s in SHAPES if (c, s) not in there]
    needed = 2 if both else 1
    return [(c, s) for c, s in absent if (c in colors) + (s in shapes) == needed]


def _singles(scene: Scene, attribute: str) -> list[Thing]:
    """Things that share the attribute with no other."""
    values = [getattr(thing, attribute) for thing in scene.things]
    return [thing for thing, value in zip(scene.things, values, strict=True) if values.count(value) == 1]


def _at(thing: Thing, axis: int) -> int:
    return (thing.x, thing.y)[axis]


def _rects(things: Sequence[Thing]) -> tuple[Rect, ...]:
    return tuple(thing.rect for thing in things)


def _pick(items: Sequence[T], rng: np.random.Generator) -> T | None:
    return items[int(rng.integers(len(items)))] if items else None

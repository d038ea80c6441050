"""Questions about a clip, with their answers and the actors the answers depend on. Built as those about scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tokenbench_suites.clips.world import WAYS, Actor, Clip

__all__ = ["ASKERS", "Asker", "Question", "words"]

T = TypeVar("T")
MOST_MOVING = 3
GAP = 2  # frames between two appearances that are compared


@dataclass(frozen=True)
class Question:
    """A question about a clip."""

    text: str
    """The question."""
    answer: str
    """Its right answer."""
    evidence: tuple[Actor, ...]
    """The actors that the answer depends on."""


Asker = Callable[[Clip, np.random.Generator, int], Question | None]


def motion(clip: Clip, rng: np.random.Generator, turn: int) -> Question | None:
    """The way in which a moving thing moves: left, right, up and down in turn."""
    wanted = list(WAYS)[turn % len(WAYS)]
    actor = _pick([actor for actor in clip.actors if actor.way == wanted], rng)
    return Question(f"Which way does the {actor.name} move?", wanted, (actor,)) if actor else None


def order(clip: Clip, rng: np.random.Generator, turn: int) -> Question | None:
    """The color of that one of two things which appears first; it is named first and second in turn."""
    late = [actor for actor in clip.actors if actor.first > 0]
    pairs = [(a, b) for a in late for b in late if b.first - a.first >= GAP and a.color != b.color]
    pair = _pick([(a, b) for a, b in pairs if not _crossed(clip, a, b)], rng)
    if pair is None:
        return None
    named = pair if turn % 2 == 0 else pair[::-1]
    text = f"Does the {named[0].name} or the {named[1].name} appear first?"
    return Question(text, pair[0].color, pair)


def moving(clip: Clip, rng: np.random.Generator, turn: int) -> Question | None:
    """How many things move: 0 to 3 in turn. All of them are evidence, and where none moves, all that stands."""
    wanted = turn % (MOST_MOVING + 1)
    there = tuple(actor for actor in clip.actors if actor.moves)
    return Question("How many things move?", str(wanted), there or clip.actors) if len(there) == wanted else None


def appearance(clip: Clip, rng: np.random.Generator, turn: int) -> Question | None:
    """The color of the only thing of a shape, and the shape of the only thing in a color, in turn.

    Only passing things are asked about.
    """
    asked, given = ("color", "shape") if turn % 2 == 0 else ("shape", "color")
    values = [getattr(actor, given) for actor in clip.actors]
    actor = _pick([a for a, v in zip(clip.actors, values, strict=True) if a.first > 0 and values.count(v) == 1], rng)
    if actor is None:
        return None
    value: str = getattr(actor, given)
    text = f"What color is the {value}?" if asked == "color" else f"What shape is the {value} thing?"
    return Question(text, getattr(actor, asked), (actor,))


ASKERS: dict[str, Asker] = {"motion": motion, "order": order, "moving": moving, "appearance": appearance}


def words() -> list[str]:
    """Words and signs of these questions and answers that the questions about scenes may lack."""
    asked = "Which way does the move ? Does or appear first How many things"
    return list(dict.fromkeys([*asked.split(), *WAYS]))


def _crossed(clip: Clip, one: Actor, other: Actor) -> bool:
    """Whether something has the color of one and the shape of the other."""
    return any(
        (actor.color, actor.shape) in ((one.color, other.shape), (other.color, one.shape)) for actor in clip.actors
    )


def _pick(items: Sequence[T], rng: np.random.Generator) -> T | None:
    return items[int(rng.integers(len(items)))] if items else None

"""What the rendered suites share: tasks whose samples are made from indices, with answers in rotation."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tokenbench.contract.suite import Sample, Task

__all__ = ["RenderedTask", "normalise"]

QUESTIONS = 160  # a task
ATTEMPTS = 4


class RenderedTask(Task):
    """One kind of question about rendered worlds, which are scenes or clips.

    It has `count` questions: at most one about each world of even index and at most two about each of odd index. A
    subclass knows its worlds: it sets `askers` and writes `world` and `sample`.
    """

    max_new_tokens = 4
    descriptions: dict[str, str]
    """What each kind of question asks, by the task's name."""
    askers: dict[str, Callable[..., Any]]
    """The function that asks each kind of question, by the task's name."""

    def __init__(self, name: str, count: int = QUESTIONS) -> None:
        self.name = name
        self.description = self.descriptions[name]
        self.count = count

    def world(self, index: int) -> Any:
        """Return the scene or clip number `index`."""
        raise NotImplementedError

    def sample(self, index: int, place: int, question: Any) -> Sample:
        """Return a question as a sample.

        Args:
            index: The number of the world that it is about.
            place: Its number among the questions about that world.
            question: The question.
        """
        raise NotImplementedError

    def samples(self) -> Sequence[Sample]:
        """Return the questions, whose right answers rotate."""
        return _samples(type(self), self.name, self.count)

    def score(self, answer: str, sample: Sample) -> float:
        """Return 1 if the answer is the target except for case, punctuation and blanks between digits, else 0."""
        return float(normalise(answer) == normalise(sample.target))


def normalise(answer: str) -> str:
    """Return the text in lower case, without punctuation, with single blanks, and without blanks between digits."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return re.sub(r"(?<=\d) (?=\d)", "", " ".join(words))


@lru_cache
def _samples(kind: type[RenderedTask], name: str, count: int) -> tuple[Sample, ...]:
    """Make the samples. The right answers rotate: a question's turn is the number of questions before it."""
    task, samples = kind(name, count), list[Sample]()
    index = 0
    while len(samples) < count:
        asked: dict[str, Any] = {}
        rng = np.random.default_rng((list(kind.askers).index(name), index))
        world = task.world(index)
        for _ in range(ATTEMPTS):
            question = kind.askers[name](world, rng, len(samples) + len(asked))
            if question is not None and len(asked) <= index % 2:
                asked.setdefault(question.text, question)
        samples += [task.sample(index, place, question) for place, question in enumerate(asked.values())]
        index += 1
    return tuple(samples[:count])

"""What the rendered suites share: tasks whose samples are made from indices, with answers in rotation."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tokenbench.contract.suite import Sample, Task

__all__ = ["RenderedTask", "normalise"]

QUESTIONS = 300  # a task
ATTEMPTS = 4


class RenderedTask(Task):
    """One kind of question, `count` of them: no more than one about each even world and two about each odd one.

    A subclass knows its worlds, scenes or clips: `askers` by task, `world` and `sample`.
    """

    max_new_tokens = 4
    descriptions: dict[str, str]
    askers: dict[str, Callable[..., Any]]

    def __init__(self, name: str, count: int = QUESTIONS) -> None:
        self.name = name
        self.description = self.descriptions[name]
        self.count = count

    def world(self, index: int) -> Any:
        """The scene or clip number `index`."""
        raise NotImplementedError

    def sample(self, index: int, place: int, question: Any) -> Sample:
        """Question number `place` about world number `index`."""
        raise NotImplementedError

    def samples(self) -> Sequence[Sample]:
        return _samples(type(self), self.name, self.count)

    def score(self, answer: str, sample: Sample) -> float:
        """1 if the answer is the target but for case, punctuation and blanks between digits."""
        return float(normalise(answer) == normalise(sample.target))


def normalise(answer: str) -> str:
    """Lower case, without punctuation, single blanks, none between digits."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return re.sub(r"(?<=\d) (?=\d)", "", " ".join(words))


@lru_cache
def _samples(kind: type[RenderedTask], name: str, count: int) -> tuple[Sample, ...]:
    """Answers rotate: an asker's turn is the number of questions there are."""
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

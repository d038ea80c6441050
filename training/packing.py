"""Many questions behind one image or clip: rows of text that each see the picture and their own question only."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

PREFIX = "USER:"
NO_LABEL = -100
WORD = re.compile(r"\d|[^\W\d]+|[^\w\s]|\n")


@dataclass(frozen=True)
class Asking:
    """How questions are drawn and tokenised.

    askers: by task. shares: how often each task is drawn. draws: of a question about one picture, some of which fail.
    distinct: whether a question is asked once only. rows: of text for each picture. vocabulary: the number of each token.
    """

    askers: Mapping[str, Callable[..., Any]]
    shares: Mapping[str, float]
    draws: int
    distinct: bool
    rows: int
    vocabulary: Mapping[str, int]

    @property
    def end(self) -> int:
        return self.vocabulary["</s>"]

    def draw(self, world: Any, rng: np.random.Generator) -> list["Asked"]:
        """Questions about a scene or clip in random order, more than fit."""
        names, shares = list(self.shares), np.array(list(self.shares.values()))
        drawn: list[Asked] = []
        for kind in rng.choice(len(names), self.draws, p=shares / shares.sum()).tolist():
            question = self.askers[names[kind]](world, rng, int(rng.integers(1200)))
            if question is not None:
                drawn.append(Asked(kind, question.text, question.answer))
        return list({asked.text: asked for asked in reversed(drawn)}.values())[::-1] if self.distinct else drawn


@dataclass(frozen=True)
class Asked:
    """A question; kind: its task's number."""

    kind: int
    text: str
    answer: str


class Rows(NamedTuple):
    """Text rows of b pictures, all [b, L].

    ids: tokens. labels: what follows a row that an answer follows, else NO_LABEL. kind: number of the task, -1 in padding.
    question: number of the question, -1 in padding. place: of the row in its question. complete: holds the only token of an
    answer, so that nothing is left to read off the picture.
    """

    ids: Tensor
    labels: Tensor
    kind: Tensor
    question: Tensor
    place: Tensor
    complete: Tensor


def token_ids(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    return [vocabulary[word] for word in WORD.findall(text)]


def pack(asked: Sequence[Sequence[Asked]], asking: Asking) -> Rows:
    """Fill the text rows of each picture with the first of its questions that fit."""
    shape = (len(asked), asking.rows)
    rows = Rows(*(torch.full(shape, fill) for fill in (0, NO_LABEL, -1, -1, 0, False)))
    for b, questions in enumerate(asked):
        used = number = 0
        for question in questions:
            prompt = token_ids(f"\n{question.text} ASSISTANT:", asking.vocabulary)
            answer = token_ids(question.answer, asking.vocabulary)
            size = len(prompt) + len(answer)
            if used + size > asking.rows:
                continue
            at = slice(used, used + size)
            rows.ids[b, at] = torch.tensor(prompt + answer)
            rows.labels[b, used + len(prompt) - 1 : used + size] = torch.tensor([*answer, asking.end])
            rows.kind[b, at], rows.question[b, at] = question.kind, number
            rows.place[b, at] = torch.arange(size)
            rows.complete[b, used + size - 1] = len(answer) == 1
            used, number = used + size, number + 1
    return rows

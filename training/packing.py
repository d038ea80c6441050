"""Many questions behind one image: rows of text that each see the image and their own question only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenbench_suites.scenes import ASKERS, Question, Scene
from training.labels import Dense, owners_of
from training.vocabulary import build_tokenizer

PREFIX = "USER:"
ROWS = 120  # text rows a scene
WEIGHTS = {"existence": 1.0, "attribute": 2.0, "position": 2.0, "counting": 2.5, "reading": 1.2, "choice": 2.5}
VOCABULARY = build_tokenizer().get_vocab()
END = VOCABULARY["</s>"]
WORD = re.compile(r"\d|[^\W\d]+|[^\w\s]|\n")


@dataclass(frozen=True)
class Pack:
    """Text rows of b scenes, L each, and where their answers begin; q is the most questions a scene got.

    ids, labels (-100: none), kind (task index), question (-1: padding), place (in its question): [b, L]
    asks [b, q]: row of each question's last prompt token, 0 where there is no such question (`asked` [b, q] is False)
    evidence [b, q, n]: visual tokens that show what the answer depends on
    """

    ids: Tensor
    labels: Tensor
    kind: Tensor
    question: Tensor
    place: Tensor
    asks: Tensor
    asked: Tensor
    evidence: Tensor


@dataclass(frozen=True)
class Asked:
    """A question for a pack; kind: its task's index. evidence [n]: which visual tokens show what the answer depends on."""

    kind: int
    text: str
    answer: str
    evidence: np.ndarray


def token_ids(text: str, vocabulary: dict[str, int] = VOCABULARY) -> list[int]:
    return [vocabulary[word] for word in WORD.findall(text)]


def draw_questions(scene: Scene, rng: np.random.Generator) -> list[tuple[int, Question]]:
    """(task index, question) in random order, more than fit."""
    shares = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
    drawn = []
    for index in rng.choice(len(WEIGHTS), 16, p=shares).tolist():
        question = ASKERS[list(WEIGHTS)[index]](scene, rng, int(rng.integers(1200)))
        if question is not None:
            drawn.append((index, question))
    return drawn


def pack(scenes: list[Scene], dense: list[Dense], rng: np.random.Generator) -> Pack:
    """Fill ROWS text rows a scene with questions."""
    asked = []
    for scene, labels in zip(scenes, dense, strict=True):
        drawn = draw_questions(scene, rng)
        shown = [np.isin(labels.owner, owners_of(scene, question.evidence)) for _, question in drawn]
        asked.append([Asked(k, q.text, q.answer, where) for (k, q), where in zip(drawn, shown, strict=True)])
    return pack_rows(asked)


def pack_rows(asked: list[list[Asked]], vocabulary: dict[str, int] = VOCABULARY) -> Pack:
    """Fill ROWS text rows with the first questions of each scene that fit."""
    rows = {name: torch.full((len(asked), ROWS), fill) for name, fill in _FILLS.items()}
    asks: list[list[int]] = []
    evidence: list[list[np.ndarray]] = []
    for b, questions in enumerate(asked):
        asks.append([])
        evidence.append([])
        used = 0
        for question in questions:
            prompt = token_ids(f"\n{question.text} ASSISTANT:", vocabulary)
            answer = token_ids(question.answer, vocabulary)
            size = len(prompt) + len(answer)
            if used + size > ROWS:
                continue
            at = slice(used, used + size)
            rows["ids"][b, at] = torch.tensor(prompt + answer)
            rows["labels"][b, used + len(prompt) - 1 : used + size] = torch.tensor([*answer, END])
            rows["kind"][b, at] = question.kind
            rows["question"][b, at] = len(asks[b])
            rows["place"][b, at] = torch.arange(size)
            asks[b].append(used + len(prompt) - 1)
            evidence[b].append(question.evidence)
            used += size
    return Pack(**rows, **_asks(asks, evidence))


_FILLS = {"ids": 0, "labels": -100, "kind": -1, "question": -1, "place": 0}


def _asks(asks: list[list[int]], evidence: list[list[np.ndarray]]) -> dict[str, Tensor]:
    most = max(map(len, asks))
    at, asked = torch.zeros(len(asks), most, dtype=torch.long), torch.zeros(len(asks), most, dtype=torch.bool)
    where = torch.zeros(len(asks), most, evidence[0][0].size, dtype=torch.bool)
    for b, rows in enumerate(asks):
        at[b, : len(rows)] = torch.tensor(rows)
        asked[b, : len(rows)] = True
        where[b, : len(rows)] = torch.from_numpy(np.stack(evidence[b]))
    return {"asks": at, "asked": asked, "evidence": where}


def choose_patches(dense: Sequence[Dense], keep: int, rng: np.random.Generator) -> Tensor:
    """Patches that a step keeps [b, keep], ascending: centres and digits first, then half of the rest that show something."""
    chosen = []
    for labels in dense:
        order = rng.random(len(labels.kind))
        order[labels.kind > 0] -= rng.integers(0, 2, int((labels.kind > 0).sum()))
        order[labels.mark > 0] -= 2
        chosen.append(np.sort(np.argsort(order)[:keep]))
    return torch.from_numpy(np.stack(chosen))

"""The user's own words, as the decoder's input embeddings of what a stage makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenbench.engine.plan import Question
from tokenbench.errors import StrategyError

__all__ = ["Phrases", "embed_phrases", "embed_texts"]


@dataclass(frozen=True)
class Phrases:
    """The phrases of some rows."""

    states: Tensor
    """[G, m, C] their embeddings, with zeros in front of the shorter ones."""
    words: Tensor | None
    """[G, m] False at this padding; None if there is none."""
    counts: Sequence[int]
    """[G] tokens of every row."""


def embed_texts(table: Tensor, asked: Question, texts: Sequence[str]) -> Tensor:
    """Input embeddings [m, C] of the tokens of texts, from a table [V, C]."""
    ids = _tokenize(asked, texts)
    return table[torch.tensor(ids, dtype=torch.long, device=table.device)]


def embed_phrases(table: Tensor, asked: Sequence[Question], split: Callable[[str], Sequence[str]]) -> Phrases:
    """Input embeddings of the phrases into which `split` splits every row's words, from a table [V, C].

    Raises:
        StrategyError: If `split`, which is the strategy's, raises something. `row` says in which of the rows.
    """
    ids = []
    for i, question in enumerate(asked):
        try:
            texts = split(question.text)
        except Exception as error:
            wrong = StrategyError(f"phrases cannot be made of '{question.text}': {type(error).__name__}: {error}")
            wrong.row = i
            raise wrong from error
        ids.append(_tokenize(question, texts))
    counts = [len(own) for own in ids]
    longest = max(counts)
    padded = [[-1] * (longest - len(own)) + own for own in ids]
    numbers = torch.tensor(padded, dtype=torch.long, device=table.device)
    if min(counts) == longest:
        return Phrases(table[numbers], None, counts)
    words = numbers >= 0
    return Phrases(table[numbers.clamp(min=0)].masked_fill(~words.unsqueeze(-1), 0), words, counts)


def _tokenize(asked: Question, texts: Sequence[str]) -> list[int]:
    return [token for text in texts for token in asked.tokenize(text)]

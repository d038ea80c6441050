"""Where tokens stand once rows are laid end to end."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenbench.engine.packing import Packing


@st.composite
def made_up_rows(draw: Any) -> tuple[list[int], list[int], list[int]]:
    """Rows that share prefixes: for each the first that is alike, its length and its question's."""
    count = draw(st.integers(1, 5))
    prefixes = [draw(st.integers(1, 6)) for _ in range(count)]
    alike = [draw(st.integers(0, b)) for b in range(count)]
    first_alike = [b if alike[a] != a else a for b, a in enumerate(alike)]
    questions = [draw(st.integers(1, 5)) for _ in range(count)]
    lengths = [prefixes[first] + questions[b] for b, first in enumerate(first_alike)]
    return first_alike, lengths, questions


@given(made_up_rows(), st.integers(0, 3))
def test_every_row_finds_its_own_tokens(rows: tuple[list[int], list[int], list[int]], padding: int) -> None:
    first_alike, lengths, questions = rows
    width = max(lengths) + padding
    packing = Packing.of(first_alike, lengths, questions, width)
    names = torch.full((len(lengths), width), -1)  # a number for every token; prefixes that are alike have the same
    for b, (first, length, question) in enumerate(zip(first_alike, lengths, questions, strict=True)):
        shown = length - question
        names[b, width - length : width - question] = 1000 * first + torch.arange(shown)
        names[b, width - question :] = 1000 * b + 500 + torch.arange(question)
    packed = names.flatten()[packing.packed]
    assert len(packed) == len(set(packed.tolist()))  # each once, and no padding
    assert set(packed.tolist()) == set(names[names >= 0].tolist())
    assert torch.equal(packing.valid, names >= 0)
    assert torch.equal(packed[packing.rows][packing.valid], names[packing.valid])
    assert torch.equal(packing.rows_with_room[:, :width], packing.rows)
    assert torch.equal(packed[packing.questions], packed[packing.rows[:, width - max(questions) :]])
    firsts = sorted(set(first_alike))
    for b, own, valid in zip(firsts, packing.prefixes, packing.prefix_valid, strict=True):
        shown = lengths[b] - questions[b]
        assert int(valid.sum()) == shown
        assert packed[own[-shown:]].tolist() == [1000 * b + at for at in range(shown)]
    padded = torch.cat([packed[packing.prefixes].flatten(), packed[packing.questions].flatten()])
    assert torch.equal(padded[packing.unpadded], packed)

"""A strategy that breaks the contract is named, with the stage and what is wrong; nothing wrong gets into the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import tiny
from tokenbench import Budget, Selection, Stage, Strategy, View
from tokenbench.errors import StrategyError
from tokenbench.testing import batched, generate

NAN = float("nan")


class Broken(Strategy):
    """Answers whatever it is told to."""

    scores: Any = None
    selects: Any = None

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(2, 4)]

    def score(self, view: View) -> Any:
        return self.scores(view)

    def select(self, view: View) -> Selection:
        return self.selects(view) if self.selects else super().select(view)


def keep(*indices: int, dtype: torch.dtype = torch.long) -> Callable[[View], Selection]:
    return lambda view: Selection(torch.tensor(indices, dtype=dtype))


@pytest.mark.parametrize(
    ("strategy", "problem"),
    [
        (Broken(scores=lambda view: torch.full((view.n,), NAN)), "16 of 16 scores are NaN"),
        (
            Broken(scores=lambda view: torch.rand(view.n, 1)),
            r"score\(\) must return a tensor of shape \[16\], not \[16, 1\]",
        ),
        (Broken(scores=lambda view: torch.rand(3)), r"score\(\) must return a tensor of shape \[16\], not \[3\]"),
        (Broken(selects=keep(0, 1, 2)), "3 tokens were kept instead of 4"),
        (Broken(selects=keep(1, 0, 2, 1)), "distinct indices below 16"),
        (Broken(selects=keep(0, 1, -1, 2)), "distinct indices below 16"),
        (Broken(selects=keep(0, 16, 1, 2)), "distinct indices below 16"),
        (Broken(selects=keep(0, 1, 2, 3, dtype=torch.float)), "1-d tensor of indices"),
        (Broken(selects=lambda view: Selection(torch.arange(4), torch.zeros(4, 7))), r"values must be \[4, 32\]"),
    ],
)
def test_a_broken_strategy_is_named(strategy: Strategy, problem: str) -> None:
    model, prompts = tiny("llava")
    with (
        tokenbench.pruned(model, strategy, "1/4"),
        pytest.raises(StrategyError, match=f"strategy Broken:.*, stage before layer 2: .*{problem}"),
    ):
        generate(model, batched(prompts[:1]), tokens=1)
    assert generate(model, batched(prompts[:1]), tokens=1) is not None

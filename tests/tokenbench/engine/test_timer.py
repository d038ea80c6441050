"""The pruner's timer runs around everything that is done for selection alone, and around nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

from tests.tiny import tiny
from tokenbench import Attn, Budget, NoQuestionAttn, OwnLayerAttn, Stage, Strategy, View, pruned
from tokenbench.engine import SelectionTimer
from tokenbench.engine.attention_tap import Attended
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import generate


class Flag:
    """A timer that says whether it runs."""

    def __init__(self) -> None:
        self.depth = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


class AskAll(Strategy):
    """Asks for attention in all three ways, in two stages, and says whether it was timed."""

    flag: Any
    scored: list[bool]

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        first = Stage(2, 0.5, attention=(Attn(1), OwnLayerAttn(2)))
        return [first, Stage(4, 0.25, attention=(Attn(3, "question"), OwnLayerAttn(4), NoQuestionAttn(2)))]

    def score(self, view: View) -> torch.Tensor:
        self.scored.append(self.flag.depth > 0)
        return view.alive.float()


def test_it_runs_around_all_that_selection_takes_and_around_no_layer_of_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, prompts = tiny("llava")
    flag, weighed, ran = Flag(), [], Counter[tuple[int, bool]]()
    strategy = AskAll(flag=flag, scored=[])
    stock = Attended.weights

    def weights(*args: Any) -> torch.Tensor:
        weighed.append(flag.depth > 0)
        return stock(*args)

    def count(i: int, module: Any, args: Any, kwargs: Any) -> None:
        ran[i, flag.depth > 0] += 1

    monkeypatch.setattr(Attended, "weights", weights)
    layers: Any = backbone_for(model, registry()).decoder(model).layers
    hooks = [
        layer.self_attn.register_forward_pre_hook(partial(count, i), with_kwargs=True) for i, layer in enumerate(layers)
    ]
    with pruned(model, strategy, 0.5) as pruning:
        pruning.timer = flag
        generate(model, prompts[0], tokens=1)
    for hook in hooks:
        hook.remove()
    assert strategy.scored == [True, True]
    assert weighed == [True] * 5
    assert flag.depth == 0
    # Layers 0 to 2 once more without the question, layers 2 and 4 once more for the stages before them.
    assert {i: n for (i, timed), n in ran.items() if timed} == {0: 1, 1: 1, 2: 2, 4: 1}
    assert {i: n for (i, timed), n in ran.items() if not timed} == dict.fromkeys(range(len(layers)), 1)


def test_only_the_outermost_of_nested_stretches_counts() -> None:
    times = iter([1.0, 4.0, 10.0, 12.0])
    timer = SelectionTimer(cuda=False, clock=lambda: next(times))
    with timer(), timer():
        pass
    with timer():
        pass
    assert timer.seconds == 5.0


def test_a_stretch_ends_where_an_error_leaves_it() -> None:
    times = iter([1.0, 2.0, 5.0, 7.0])
    timer = SelectionTimer(cuda=False, clock=lambda: next(times))
    with pytest.raises(RuntimeError), timer():
        raise RuntimeError
    with timer():
        pass
    assert timer.seconds == 3.0

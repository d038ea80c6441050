"""How often the engine looks at a number that the device computed: on a GPU it waits there for everything before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, partialmethod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import tokenbench
from tests.tiny import tiny
from tokenbench.contract.backbone import runs
from tokenbench.testing import batched

# Ways to look: what is asked of a tensor, and what operations ask within.
ASKED = ("tolist", "cpu", "item", "__bool__", "__int__", "__float__", "__index__")
WITHIN = ("nonzero", "masked_select", "equal", "_unique2", "unique_dim")
# Selection that sorts, compares and gathers, and never asks how a comparison came out.
BLINDFOLD = ["vanilla", "fastv", "clse", "pdrop", "priortr", "divprune", "random", "attention", "uniform"]


class Looks(TorchDispatchMode):
    """Counts those within operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = [one for one in args[1] if one is not None] if function.overloadpacket.__name__ == "index" else []
        self.count += function.overloadpacket.__name__ in WITHIN or any(mask.dtype == torch.bool for mask in masks)
        return function(*args, **(kwargs or {}))


def looks(work: Callable[[], Any]) -> int:
    asked = 0

    def counted(stock: Any, tensor: Tensor) -> Any:
        nonlocal asked
        asked += 1
        return stock(tensor)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode(), Looks() as within:
        for name in ASKED:
            patch.setattr(Tensor, name, partialmethod(partial(counted, getattr(Tensor, name))))
        work()
    return asked + within.count


def prefill(strategy: str | None, rows: int) -> int:
    """Looks of one prefill: of the stock model, or more than that."""
    model, prompts = tiny("llava")
    inputs = batched([prompts[0]] * rows)
    stock = looks(lambda: model(**inputs))
    if strategy is None:
        return stock
    with tokenbench.pruned(model, strategy, "1/2"):
        return looks(lambda: model(**inputs)) - stock


@pytest.mark.parametrize("strategy", BLINDFOLD)
def test_rows_cost_no_looks(strategy: str) -> None:
    assert prefill(strategy, 1) == prefill(strategy, 4)


def test_a_prefill_costs_one_look_however_many_stages_it_has() -> None:
    assert prefill("fastv", 2) - prefill("vanilla", 2) == 1
    assert prefill("clse", 2) == prefill("fastv", 2)


@pytest.mark.parametrize(("strategy", "more"), [("vscan", 0), ("pooling", -1), ("holov", 1)])
def test_the_places_of_windows_and_pieces_are_not_looked_for(strategy: str, more: int) -> None:
    prefill(strategy, 1)  # makes what follows from the lattice alone
    # HoloV asks whether a stretch would be overfilled.
    assert prefill(strategy, 1) == prefill("visionzip", 1) + more


def test_long_images_cost_no_more_looks() -> None:
    def found(tokens: int) -> int:
        visual = torch.arange(3 * tokens) % (tokens + 5) >= 5
        return looks(lambda: runs(visual.long(), visual))

    assert found(4) == found(4000)


@pytest.mark.parametrize("strategy", ["vanilla", "fastv", "clse", "divprune"])
def test_a_decode_step_looks_at_nothing(strategy: str) -> None:
    model, prompts = tiny("llava")
    inputs, token = batched([prompts[0]] * 2), torch.tensor([[5], [6]])

    def step() -> int:
        cache = model(**inputs).past_key_values
        return looks(lambda: model(input_ids=token, past_key_values=cache))

    with torch.inference_mode():
        stock = step()
        with tokenbench.pruned(model, strategy, "1/2"):
            assert step() == stock

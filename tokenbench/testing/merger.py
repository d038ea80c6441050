"""The checks of mergers."""

from __future__ import annotations

import torch
from torch import Tensor

from tokenbench.contract.strategy import Merger
from tokenbench.testing.check import Check, checks

__all__ = ["check_merger", "merger_checks"]

_CHECKS: list[Check] = []
TOKENS, KEPT, WIDTH = 12, 5, 8


def check_merger(merger: Merger) -> None:
    """Run every check on a merger.

    Raises:
        AssertionError: A check fails. The message says what is wrong and how to fix it.
    """
    for check in merger_checks():
        check(merger)


def merger_checks() -> list[Check]:
    """Return the checks of a merger alone. Composed with a strategy, it must pass the checks of strategies as well."""
    return list(_CHECKS)


@checks(_CHECKS, "merge() returns the states [k, C] and the sizes [k] of the kept tokens, in the order of `keep`")
def returns_what_is_kept(merger: Merger) -> None:
    """It returns a finite state and a size for every kept token, and leaves what it was given as it was."""
    states, sizes, keep = _make_inputs()
    before = states.clone(), sizes.clone(), keep.clone()
    values, weights = merger.merge(states, sizes, keep)
    assert values.shape == (KEPT, WIDTH), f"states must be {[KEPT, WIDTH]}, not {list(values.shape)}"
    assert weights.shape == (KEPT,), f"sizes must be [{KEPT}], not {list(weights.shape)}"
    assert bool(values.isfinite().all()), "states are not finite"
    same = all(torch.equal(a, b) for a, b in zip(before, (states, sizes, keep), strict=True))
    assert same, "merge() changes the tensors it is given"


@checks(_CHECKS, "a kept token's new size is its own and those of all that joined it")
def sizes_add_up(merger: Merger) -> None:
    """What is dropped joins something: the sizes add up to what they were, in a second merge as well."""
    states, sizes, keep = _make_inputs()
    values, weights = merger.merge(states, sizes, keep)
    assert float(weights.sum()) == TOKENS, f"sizes add up to {float(weights.sum()):g} of {TOKENS} tokens"
    _, later = merger.merge(values, weights, torch.tensor([0, 3]))
    assert float(later.sum()) == TOKENS, f"after a second merge sizes add up to {float(later.sum()):g} of {TOKENS}"


@checks(_CHECKS, "with nothing to merge, return the states as they are")
def keeping_all_changes_nothing(merger: Merger) -> None:
    """Where nothing is dropped, states and sizes stay as they are."""
    states, sizes, _ = _make_inputs()
    values, weights = merger.merge(states, sizes, torch.arange(TOKENS))
    torch.testing.assert_close(values, states)
    torch.testing.assert_close(weights, sizes)


def _make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return states [n, C], sizes [n] and the indices of the kept tokens [k]."""
    states = torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    return states, torch.ones(TOKENS), torch.tensor([1, 3, 4, 8, 11])

"""Numbers that a strategy must not return: they are looked at once a prefill, since a GPU is waited for at every look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenbench.contract.strategy import Selection
from tokenbench.errors import StrategyError

__all__ = ["Doubts"]


@dataclass(frozen=True)
class _Doubt:
    """A problem that a selection may have."""

    where: str
    """Names the strategy and its stage."""
    problem: str
    """The problem in words, with a place for its count."""
    rows: Sequence[int]
    """The rows [G]."""
    count: Tensor
    """[G] how often each row has the problem."""
    expected: int = 0
    """What to add to the count in words, where it is a difference."""


class Doubts:
    """What may be wrong with the selections of a prefill."""

    def __init__(self) -> None:
        self._open: list[_Doubt] = []

    def add(self, where: str, rows: Sequence[int], n: int, selection: Selection, distinct: bool) -> Tensor:
        """Note what may be wrong with a selection.

        Args:
            where: Names the strategy and its stage.
            rows: The rows [G].
            n: How many candidates each has.
            selection: What was selected in them.
            distinct: Whether the engine made `keep`, which is therefore right, or it is a mask.

        Returns:
            Its `keep`, within bounds: a GPU that gathers out of bounds cannot be used any more.
        """
        keep = selection.keep
        if selection.score is not None:
            count = selection.score.isnan().sum(-1)
            self._open.append(_Doubt(where, f"{{count}} of {n} scores are NaN", rows, count))
        if not distinct and keep.shape[-1]:
            keep, raw = keep.clamp(0, n - 1), keep
            ordered = keep.sort(dim=-1).values
            count = (keep != raw).sum(-1) + (ordered[:, 1:] == ordered[:, :-1]).sum(-1)
            self._open.append(_Doubt(where, f"keep must hold distinct indices below {n}", rows, count))
        if selection.values is not None:
            wrong = selection.values.isnan().any(-1)
            wrong = wrong & keep.to(wrong.device) if selection.is_mask else wrong  # nobody reads those of dropped ones
            self._open.append(_Doubt(where, "values are NaN", rows, wrong.sum(-1)))
        return keep

    def add_counts(self, where: str, rows: Sequence[int], counts: Tensor, expected: int) -> None:
        """Note that the rows may not keep as many candidates [G] as expected."""
        problem = f"{{count}} tokens were kept instead of {expected}"
        self._open.append(_Doubt(where, problem, rows, counts - expected, expected))

    def settle(self) -> None:
        """Look.

        Raises:
            StrategyError: Something is wrong; the error holds the row.
        """
        doubts, self._open = self._open, []
        counts = [doubt.count for doubt in doubts]
        if not counts or not bool((torch.cat(counts) if len(counts) > 1 else counts[0]).any()):
            return
        for doubt in doubts:
            for b, count in zip(doubt.rows, doubt.count.tolist(), strict=True):
                if count:
                    error = StrategyError(f"{doubt.where}: {doubt.problem.format(count=count + doubt.expected)}")
                    error.row = b
                    raise error

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


class Doubts:
    """What may be wrong with the selections of a prefill."""

    def __init__(self) -> None:
        self._open: list[_Doubt] = []

    def add(self, where: str, rows: Sequence[int], n: int, selection: Selection, ranked: bool) -> Tensor:
        """Note what may be wrong with a selection.

        Args:
            where: Names the strategy and its stage.
            rows: The rows [G].
            n: How many candidates each has.
            selection: What was selected in them.
            ranked: Whether `keep` was made from scores by `top`, and is therefore right.

        Returns:
            Its `keep`, within bounds: a GPU that gathers out of bounds cannot be used any more.
        """
        keep = selection.keep
        if selection.score is not None:
            count = selection.score.isnan().sum(-1)
            self._open.append(_Doubt(where, f"{{count}} of {n} scores are NaN", rows, count))
        if not ranked and keep.shape[-1]:
            keep, raw = keep.clamp(0, n - 1), keep
            ordered = keep.sort(dim=-1).values
            count = (keep != raw).sum(-1) + (ordered[:, 1:] == ordered[:, :-1]).sum(-1)
            self._open.append(_Doubt(where, f"keep must hold distinct indices below {n}", rows, count))
        if selection.values is not None:
            count = selection.values.isnan().flatten(1).sum(-1)
            self._open.append(_Doubt(where, "values are NaN", rows, count))
        return keep

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
                    error = StrategyError(f"{doubt.where}: {doubt.problem.format(count=count)}")
                    error.row = b
                    raise error

"""Indices of tokens, computed without asking how many there are: on a GPU the answer would have to be waited for.

All of this works for one sample, under `torch.vmap`, and with more dimensions in front.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = [
    "average_by_home",
    "average_runs",
    "complement",
    "find_even",
    "find_marked",
    "sum_by_home",
    "take",
]


def complement(chosen: Tensor, n: int) -> Tensor:
    """Indices [..., n - k] below n that are not among the distinct ones chosen [..., k], ascending."""
    marks = chosen.new_zeros(*chosen.shape[:-1], n).scatter(-1, chosen, 1)
    return marks.argsort(dim=-1, stable=True)[..., : n - chosen.shape[-1]]


def find_marked(marks: Tensor, count: int) -> Tensor:
    """Indices [..., count] where marks [..., n] are True, ascending; so many of them are."""
    return marks.byte().argsort(dim=-1, descending=True, stable=True)[..., :count]


def find_even(marks: Tensor, count: int | Tensor) -> Tensor:
    """Which of the marks [..., n] lie at equal steps, as many as `count`, or all if they are fewer.

    Of m marks those with the numbers (2 i + 1) m / (2 count), rounded down, are taken, for i from 0.

    Args:
        marks: True at what may be taken.
        count: How many to take, or [..., 1] as many from each.
    """
    total, number = marks.sum(-1, keepdim=True), marks.cumsum(-1)  # from 1 on
    few = total.clamp(max=count)

    def below(number: Tensor) -> Tensor:
        """How many of those that are taken have a lower number, counted from 0."""
        return -((total - 2 * few * number) // (2 * total).clamp(min=1))

    return marks & (below(number) > below(number - 1))


def take(values: Tensor, index: Tensor) -> Tensor:
    """The entries at index [..., m] of values [..., n, C]."""
    if index.ndim == 1:
        return values.index_select(0, index)
    return values.gather(-2, index.unsqueeze(-1).expand(*index.shape, values.shape[-1]))


def sum_by_home(values: Tensor, home: Tensor, count: int) -> Tensor:
    """Sums [..., count, C] of those of values [..., m, C] that have each home; home is [..., m].

    Unlike `index_add` on a GPU, this adds in the same order every time.
    """
    return _joins(home, count).to(values.dtype) @ values


def average_by_home(values: Tensor, home: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Means [..., count, C] of the values with each home, 0 where there are none, and their numbers [..., count, 1]."""
    joins = _joins(home, count).to(values.dtype)
    numbers = joins.sum(-1, keepdim=True)
    return joins @ values / numbers.clamp(min=1), numbers


def average_runs(values: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Means [..., n, C] of runs of neighbouring values [..., n, C], each at the first value of the run.

    Like `sum_by_home`, this adds in the same order every time, but its work does not grow with the square of n.

    Args:
        values: The values.
        starts: [..., n] where a run starts; the first value of every sample does.
        longest: How many values the longest run has, at most.

    Returns:
        The means. What stands where no run starts means nothing.
    """
    flat, run = values.flatten(0, -2), starts.flatten().cumsum(0)
    width = max(longest, 32)  # a run ends in the block of values in which it starts, or in the next one
    blocks = -(-len(flat) // width)
    room = (blocks + 1) * width - len(flat)
    flat = pad(flat, (0, 0, 0, room)).view(blocks + 1, width, -1)
    run = pad(run, (0, room)).view(blocks + 1, width)
    own, after = (run[:-1].unsqueeze(2) == other.unsqueeze(1) for other in (run[:-1], run[1:]))
    sums = torch.baddbmm(own.to(flat.dtype) @ flat[:-1], after.to(flat.dtype), flat[1:])
    means = sums / (own.sum(2) + after.sum(2)).unsqueeze(2)
    return means.flatten(0, 1)[: starts.numel()].view_as(values)


def _joins(home: Tensor, count: int) -> Tensor:
    """[..., count, m] True where a value [m] has a home [count]."""
    return home.unsqueeze(-2) == torch.arange(count, device=home.device).unsqueeze(-1)

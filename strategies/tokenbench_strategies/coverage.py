"""Greedy covers: tokens that together are like all others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pick_cover"]


def pick_cover(values: Tensor, k: int, weight: Tensor | None = None) -> Tensor:
    """Indices [..., k], in order of choice, of columns each of which raises the rows' best values by most.

    Args:
        values: [..., m, n] how well column j covers row i.
        k: How many columns to choose.
        weight: [..., n] what the gain of a column is multiplied by; None for 1.
    """
    cover, chosen = torch.zeros_like(values[..., :1]), list[Tensor]()
    taken = torch.zeros_like(values[..., 0, :], dtype=torch.bool)
    for _ in range(k):
        gain = (values - cover).clamp(min=0).sum(-2)
        gain = gain if weight is None else weight * gain
        best = gain.masked_fill(taken, -torch.inf).argmax(-1, keepdim=True)
        taken = taken.scatter(-1, best, True)
        column = values.gather(-1, best.unsqueeze(-2).expand(*values.shape[:-1], 1))
        cover = torch.maximum(cover, column)
        chosen.append(best)
    return torch.cat(chosen, -1)

"""Greedy covers: tokens that together are like all others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pick_cover"]


def pick_cover(values: Tensor, k: int, weight: Tensor | None = None) -> Tensor:
    """Indices [k], in order of choice, of columns each of which raises the rows' best values by most.

    Args:
        values: [m, n] how well column j covers row i.
        k: How many columns to choose.
        weight: [n] what the gain of a column is multiplied by; None for 1.
    """
    cover, chosen = values.new_zeros(len(values), 1), torch.zeros(k, dtype=torch.long, device=values.device)
    for i in range(k):
        gain = (values - cover).clamp(min=0).sum(0)
        gain = gain if weight is None else weight * gain
        gain[chosen[:i]] = -torch.inf
        chosen[i] = gain.argmax()
        cover = torch.maximum(cover, values[:, chosen[i]].unsqueeze(1))
    return chosen

"""CLSE-M: CLSE whose dropped tokens live on inside the kept ones."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Keep, Selection, Stage, View
from tokenbench_strategies.clse import CLSE

__all__ = ["CLSEM", "merge"]


def merge(states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """ToMe's bipartite soft matching (Bolya et al., ICLR 2023) between what is dropped and what is kept.

    Every dropped token joins the kept token of highest cosine similarity, by a size-weighted mean.
    states [n, C], sizes [n] (how many tokens each stands for), keep [k] -> merged states [k, C] and sizes [k], float32.
    """
    states = states.float()
    dropped = torch.ones(len(states), dtype=torch.bool, device=states.device)
    dropped[keep] = False
    direction = normalize(states, dim=-1)
    home = (direction[dropped] @ direction[keep].T).argmax(1)
    weights = sizes[keep].index_add(0, home, sizes[dropped])
    totals = (states[keep] * sizes[keep, None]).index_add(0, home, states[dropped] * sizes[dropped, None])
    return totals / weights[:, None], weights


class CLSEM(CLSE):
    """CLSE, then the tokens it drops are merged into the kept ones by ToMe's bipartite soft matching.

    At every CLSE stage each dropped token joins its most similar kept token (cosine similarity of the states that enter
    the layer) in a size-weighted mean; sizes are carried to later stages. The KV cache is trimmed as CLSE's LLaVA code
    does. The paper's own CLSE-M, which recycles by density-peak clusters, is another method.
    """

    merges: ClassVar[bool] = True

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        own = super().stage(layer, keep, index)
        return replace(own, hidden=tuple(sorted({*own.hidden, layer})))

    def select(self, view: View) -> Selection:
        keep = super().select(view).keep
        states = view.hidden[view.stage.layer]
        sizes = view.memo.get("sizes", torch.ones(view.n, device=states.device))
        values, view.memo["sizes"] = merge(states, sizes, keep)
        return Selection(keep, values)

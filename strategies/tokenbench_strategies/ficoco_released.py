"""FiCoCo-V as its released code runs it, which is another method from the second merging layer on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from tokenbench.contract.view import EncoderRerun

__all__ = ["fresh_memory", "merge_as_released", "merge_misplaced", "score_released"]

_UNSET = 1e9


def fresh_memory(places: int) -> Tensor:
    """What the released code remembers of scores, by place in a square lattice, before the first image."""
    return torch.full((places,), _UNSET)


def merge_as_released(rerun: EncoderRerun, count: int, beta: float) -> tuple[Tensor, Tensor]:
    """Merge inside the encoder until count tokens are left, one of which is cut off.

    Args:
        rerun: The frame on its way through the later layers, with its [CLS] as the first token.
        count: How many tokens reach the projector.
        beta: The weight of the [CLS] term.

    Returns:
        Ordinals [count] of the tokens in the released order, 0 being the [CLS], and their features [count, C'].
    """
    total, layers = len(rerun.alive), rerun.remaining
    memory = fresh_memory(total - 1).to(rerun.states.device)
    for i in range(layers):
        gone = len(rerun.alive) - (total - (total - count - 1) * (i + 1) // layers)
        products = rerun.step()[1:]
        if gone:
            order = score_released(products, memory, beta).argsort(stable=True)
            rerun.keep(order[gone:], merge_misplaced(rerun.states, products, order, gone))
    return rerun.alive[1:], rerun.features()[1:]


def score_released(products: Tensor, memory: Tensor, beta: float) -> Tensor:
    """[m] scores of a sequence whose first token is taken for the [CLS], and scored infinite.

    Args:
        products: [m, m] products of queries and keys.
        memory: [places] scores by place, which is brought up to date. The scores go, in the order of the sequence, to
            the places that are not infinite. In every window of 2 x 2 places the first lowest is picked; picked places
            below m are penalised as if they were the places of the sequence, and infinite from then on.
        beta: The weight of the first token's products.
    """
    rows = products[1:, 1:].mean(1)
    score = beta * normalize(products[0, 1:], dim=0) - (1 - beta) * normalize(rows, dim=0)
    free = memory.isfinite().nonzero().flatten()[: len(score)]
    memory[free] = score[: len(free)]
    side = int(len(memory) ** 0.5) // 2 * 2
    places = torch.arange(len(memory), device=memory.device)[: side * side].view(side // 2, 2, side // 2, 2)
    windows = places.transpose(1, 2).flatten(2).flatten(0, 1)
    picked = windows.gather(1, memory[windows].argmin(1, keepdim=True)).flatten()
    picked = picked[picked < len(score)]
    score[picked] = torch.where(score[picked] > 0, score[picked] / 2, score[picked] * 2)
    memory[picked] = torch.inf
    return torch.cat([score.new_full((1,), torch.inf), score])


def merge_misplaced(states: Tensor, products: Tensor, order: Tensor, gone: int) -> Tensor:
    """States [m - gone, patches, C] after the first tokens of an order were merged into others.

    The targets of a token have its largest products with all tokens, as many for each as lie above the .998 quantile
    in the row where most do. Their places of before are taken for places among the tokens that stay, by score.

    Args:
        states: [m, patches, C] hidden states.
        products: [m, m] products of queries and keys.
        order: [m] tokens by score.
        gone: How many of them are merged.
    """
    rows = products[order[:gone]]
    parts = int((rows > rows.quantile(0.998, dim=1, keepdim=True)).sum(1).max())
    best = rows.topk(parts, dim=1)
    left = len(states) - gone
    # Where more than half go at once, the released code stops; the remainder keeps places within bounds.
    places = torch.where(best.indices >= left, (best.indices - gone) % left, best.indices).flatten()
    weights = best.values.softmax(1)
    flat = states.float().flatten(1)
    added = (weights.unsqueeze(2) * flat[order[:gone]].unsqueeze(1)).flatten(0, 1)
    totals = flat.new_ones(left).index_add(0, places, weights.flatten())
    merged = flat[order[gone:]].index_add(0, places, added) / totals.unsqueeze(1)
    return merged.view(left, *states.shape[1:])

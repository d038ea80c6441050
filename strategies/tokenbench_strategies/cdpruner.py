"""CDPruner: a subset of tokens that is diverse and, all the same, relevant to the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.indices import take
from tokenbench_strategies.shares import crops

__all__ = ["CDPruner", "pick_by_determinant", "scale_relevance"]

_SMALL = 1e-6


class CDPruner(Strategy):
    """CDPruner (Zhang et al., NeurIPS 2025), as OpenVINO GenAI runs it on Qwen-VL, before the decoder.

    Relevance: the mean cosine of a projected token with the embeddings of the tokens after the image, scaled to 0..1.
    The kernel is L = r_i cos(x_i, x_j) r_j; tokens are taken one by one so that the determinant of their kernel grows
    most. Tokens stay in the order of the prompt, and positions are renumbered.

    The authors' LLaVA code takes for relevance the negative cosine between the patch and the question in the joint
    space of CLIP's image and text encoders. The text encoder is not part of the model, so that this is not offered;
    given such a relevance, the choice is the released one. OpenVINO's default also splits the tokens in two halves that
    each keep half, which is left out; the tokens of the chat template after the question count as its own here. Where
    the budget exceeds the rank of the tokens, the released code picks some twice; here the rest goes by position.
    Every image, tile or frame is pruned by itself; they share the budget in proportion to their tokens.
    Precision: a model in float16 or bfloat16 keeps 99 % of the same tokens.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens and for the embeddings of the question."""
        return Stage(layer, keep, hidden=(0,), text=(0,))

    def select(self, view: View) -> Selection:
        """Keep the subset of the largest determinant, image by image."""
        states = view.hidden[0].float()
        words = normalize(view.text[0].float(), dim=-1)
        relevance = scale_relevance((normalize(states, dim=-1) @ words.transpose(-1, -2)).mean(-1))
        kept = [
            crop[pick_by_determinant(states[..., crop, :], relevance[..., crop], k)] for crop, k in crops(view) if k
        ]
        return Selection(torch.cat(kept, -1).sort(dim=-1).values)


def scale_relevance(relevance: Tensor) -> Tensor:
    """[..., n] the relevance of all tokens, from just above 0 to just above 1."""
    low, high = relevance.amin(-1, keepdim=True), relevance.amax(-1, keepdim=True)
    return (relevance - low + _SMALL) / (high - low).clamp(min=_SMALL)


def pick_by_determinant(states: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Indices [..., k] of a greedy subset of states [..., n, C] whose kernel has the largest determinant, as chosen."""
    unit = normalize(states, dim=-1)
    kernel = relevance.unsqueeze(-1) * (unit @ unit.transpose(-1, -2)) * relevance.unsqueeze(-2)
    left, chosen = kernel.diagonal(dim1=-2, dim2=-1).clone(), list[Tensor]()
    rows = kernel.new_zeros(*kernel.shape[:-2], k, kernel.shape[-1])
    for i in range(k):
        best = left.argmax(-1, keepdim=True)
        pivot, known = left.gather(-1, best).clamp(min=0), rows[..., :i, :]
        explained = known.gather(-1, best.unsqueeze(-2).expand(*known.shape[:-1], 1)).transpose(-1, -2) @ known
        row = (take(kernel, best) - explained).squeeze(-2) / pivot.clamp(min=1e-12).sqrt()
        row = torch.where(pivot > 1e-12, row, 0)  # the rank is used up: nothing left to gain
        rows[..., i, :] = row
        left = (left - row.square()).scatter(-1, best, -torch.inf)
        chosen.append(best)
    return torch.cat(chosen, -1)

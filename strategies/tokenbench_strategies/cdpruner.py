"""CDPruner: a subset of tokens that is diverse and, all the same, relevant to the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, threshold

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, UsageError, View
from tokenbench_strategies.clip_pair import rate_alignment
from tokenbench_strategies.indices import take
from tokenbench_strategies.shares import crops
from tokenbench_strategies.words import read_words, whole_question

__all__ = ["CDPruner", "pick_by_determinant", "scale_relevance"]

_FEATURES = Signal("features")
_SMALL, _RANK = 1e-6, 1e-12


class CDPruner(Strategy):
    """CDPruner (Zhang et al., NeurIPS 2025), before the decoder.

    The kernel is L = r_i cos(x_i, x_j) r_j of projected tokens x and their relevance r; tokens are taken one by one so
    that the determinant of their kernel grows most. Tokens stay in the order of the prompt, and positions are
    renumbered.

    Relevance, as OpenVINO GenAI computes it on Qwen-VL: the mean cosine of a projected token with the embeddings of the
    question's tokens, scaled to 0..1. The authors' LLaVA code takes the negative cosine between the patch and the
    question in the joint space of CLIP's two encoders. The text encoder is not part of LLaVA: clip=NAME loads it from
    the CLIP model that the tower comes from (for LLaVA-1.5, openai/clip-vit-large-patch14-336), on encoders whose
    features are the tower's.

    If the user's words are not known apart from the prompt, all text after the image counts. OpenVINO's default also
    splits the tokens in two halves that each keep half, which is left out. Where the budget exceeds the rank of the
    tokens, the released code picks some twice; here the rest goes by position. Every image, tile or frame is pruned by
    itself, with one scale of relevance for all; they share the budget in proportion to their tokens.
    Precision: a model in float16 or bfloat16 keeps 99 % of the same tokens.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    clip: str = Field("", description="CLIP model (a folder or a name) whose text encoder rates the relevance")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens and for the question, and perhaps for what CLIP's space follows from."""
        if self.clip:
            return Stage(layer, keep, hidden=(0,), signals=(_FEATURES,), question=True)
        return Stage(layer, keep, hidden=(0,), text=(0,), phrases=whole_question)

    def heeds_padding(self, words: int) -> bool:
        """Words that are padding have no weight."""
        return True

    def select(self, view: View) -> Selection:
        """Keep the subset of the largest determinant, image by image."""
        states = view.hidden[0].float()
        relevance = scale_relevance(self._rate(view, states))
        kept = [
            crop[pick_by_determinant(states[..., crop, :], relevance[..., crop], k)] for crop, k in crops(view) if k
        ]
        return Selection(torch.cat(kept, -1).sort(dim=-1).values)

    def _rate(self, view: View, states: Tensor) -> Tensor:
        """[n] relevance of every token."""
        if not self.clip:
            words, real = read_words(view)
            cosines = normalize(states, dim=-1) @ normalize(words, dim=-1).transpose(-1, -2)
            return cosines.mean(-1) if real is None else cosines.sum(-1) / real.sum(-1, keepdim=True)
        if not view.question:
            raise UsageError(
                "cdpruner:clip=... reads the user's words, which are not known apart from the prompt",
                "pass them as questions=[...], with the processor, to pruned()",
            )
        return -rate_alignment(self.clip, view.signals[_FEATURES], view.question)


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
        pivot, best = left.max(-1, keepdim=True)  # of equal ones, the first
        known = rows[..., :i, :]
        explained = known.gather(-1, best.unsqueeze(-2).expand(*known.shape[:-1], 1)).transpose(-1, -2) @ known
        # Where the rank is used up, nothing is left to gain.
        scale = threshold(pivot, _RANK, torch.inf).sqrt()
        row = torch.div((take(kernel, best) - explained).squeeze(-2), scale, out=rows[..., i, :])
        left = (left - row.square()).scatter(-1, best, -torch.inf)
        chosen.append(best)
    return torch.cat(chosen, -1)

"""PriorTR: what the question looks at beyond what any text would look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Keep, NoQuestionAttn, Stage, Strategy, View

__all__ = ["PriorTR", "PriorTR2F"]

EPSILON = 1e-10


class PriorTR(Strategy):
    """PriorTR, its one-forward form: posterior against prior attention.

    P: attention of all tokens after the image at layer K-1, mean over tokens and heads; Q: that of the first token
    after the image, which has read nothing of the question. Both are normalised over the visual tokens, in float32.
    Score: P log(P / Q). One stage before layer K (3 of 32, at the same relative depth elsewhere); dropped tokens also
    leave the KV cache of earlier layers. Its ports for Qwen and for video leave the last prompt token out of P:
    last=no.
    """

    trim: ClassVar[bool] = True

    layer: int | None = Field(None, ge=1, description="K, the decoder layer before which tokens go; default 3 of 32")
    last: bool = Field(
        True, description="whether the last prompt token counts among the tokens that P is the mean over"
    )

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at the relative depth of layer 3 of 32."""
        return [(self.layer or max(1, round(3 * depth / 32)), budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the attention of the question and of the first token after the image."""
        posterior = Attn(layer - 1, "question" if self.last else "question[:-1]")
        return Stage(layer, keep, attention=(posterior, Attn(layer - 1, "null")))

    def score(self, view: View) -> Tensor:
        """[n] p log(p / q), the posterior p and the prior q being distributions over the candidates."""
        p, q = (_over_tokens(view.attention[request]) for request in view.stage.attention)
        return p * ((p + EPSILON) / (q + EPSILON)).log()


class PriorTR2F(PriorTR):
    """PriorTR, its two-forward form: the prior comes from a second forward without the question.

    Q: attention of the last prompt token at layer K-1 in a forward that ends right after the image with that token. P,
    score and stage as in priortr. The second forward runs K layers, which the realised cost counts. The video port
    compares P of layer K-1 with Q of layer K, which is not followed here.
    """

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """PriorTR's stage, whose prior comes from a forward pass without the question."""
        own = super().stage(layer, keep, index)
        return replace(own, attention=(own.attention[0], NoQuestionAttn(layer - 1)))


def _over_tokens(attention: Tensor) -> Tensor:
    """[heads, queries, n] -> [n], a distribution over the visual tokens."""
    mean = attention.mean((0, 1))
    return mean / (mean.sum() + EPSILON)

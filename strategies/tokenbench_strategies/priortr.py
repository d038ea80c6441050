"""PriorTR: what the question looks at beyond what any text would look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Stage, Strategy, View

__all__ = ["PriorTR"]

EPSILON = 1e-10


class PriorTR(Strategy):
    """PriorTR, its one-forward form: posterior against prior attention.

    P: attention of all tokens after the image at layer K-1, mean over tokens and heads; Q: that of the first token after
    the image, which has read nothing of the question. Both are normalised over the visual tokens, in float32.
    Score: P log(P / Q). One stage before layer K (3 of 32, at the same relative depth elsewhere); dropped tokens also
    leave the KV cache of earlier layers. Its ports for Qwen and for video leave the last prompt token out of P:
    rows=question[:-1].
    """

    trim: ClassVar[bool] = True

    layer: int | None = Field(None, ge=1, description="K, the decoder layer before which tokens go; default 3 of 32")
    rows: str = Field("question", pattern=r"^question(\[:-1\])?$", description="the tokens that P is the mean over")

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        layer = self.layer or max(1, round(3 * depth / 32))
        posterior = Attn(layer - 1, "question[:-1]" if self.rows.endswith("]") else "question")
        return [Stage(layer, budget.keep, attention=(posterior, Attn(layer - 1, "null")))]

    def score(self, view: View) -> Tensor:
        p, q = (_over_tokens(view.attention[request]) for request in view.stage.attention)
        return p * ((p + EPSILON) / (q + EPSILON)).log()


def _over_tokens(attention: Tensor) -> Tensor:
    """[heads, rows, n] -> [n], a distribution over the visual tokens."""
    mean = attention.mean((0, 1))
    return mean / (mean.sum() + EPSILON)

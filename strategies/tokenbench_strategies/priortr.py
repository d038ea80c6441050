"""PriorTR: what the question looks at beyond what any text would look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Keep, NoQuestionAttn, Stage, Strategy, View

__all__ = ["PriorTR", "PriorTR2F"]

EPSILON = 1e-10


class _AgainstPrior(Strategy):
    """What the one-forward and the two-forward form have in common: score and place."""

    trim: ClassVar[bool] = True

    layer: int | None = Field(None, ge=1, description="K, the decoder layer before which tokens go; default 3 of 32")
    last: bool = Field(
        True, description="whether the last prompt token counts among the tokens that P is the mean over"
    )

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at the relative depth of layer 3 of 32."""
        return [(self.layer or max(1, round(3 * depth / 32)), budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the attention of the question, and for that which the form takes for the prior."""
        posterior = Attn(layer - 1, "question" if self.last else "question[:-1]")
        return Stage(layer, keep, attention=(posterior, self.prior(layer - 1)))

    def prior(self, layer: int) -> Attn:
        """The request for the attention that has read nothing of the question."""
        raise NotImplementedError

    def heeds_padding(self, words: int) -> bool:
        """Words that are padding have no weight. Where P is the attention of one token, it may be Q, and rounding decides."""
        return words > (1 if self.last else 2)

    def score(self, view: View) -> Tensor:
        """[n] p log(p / q), the posterior p and the prior q being distributions over the candidates."""
        posterior, prior = (view.attention[request] for request in view.stage.attention)
        p = _normalise(view.mean_over_text(posterior, (0, 1)))
        q = _normalise(self.read_prior(prior, view).mean((0, 1)))
        return p * ((p + EPSILON) / (q + EPSILON)).log()

    def read_prior(self, attention: Tensor, view: View) -> Tensor:
        """The rows of the prior's attention [heads, queries, n] that count."""
        return attention


class PriorTR(_AgainstPrior):
    """PriorTR, its one-forward form: posterior against prior attention.

    P: attention of all tokens after the image at layer K-1, mean over tokens and heads; Q: that of the first token
    after the image, which has read nothing of the question. Both are normalised over the visual tokens, in float32.
    Score: P log(P / Q). One stage before layer K (3 of 32, at the same relative depth elsewhere); dropped tokens also
    leave the KV cache of earlier layers. Its ports for Qwen and for video leave the last prompt token out of P:
    last=no. Its port for InternVL reads Q from the second token after the image, the line break behind the closing tag,
    and stands before layer 2: anchor=1:layer=2.
    """

    anchor: int = Field(0, ge=0, description="which token after the image Q is read from, counted from 0")

    def prior(self, layer: int) -> Attn:
        """The first token after the image, or the question, of which `read_prior` takes one."""
        return Attn(layer, "question" if self.anchor else "null")

    def read_prior(self, attention: Tensor, view: View) -> Tensor:
        """The row of the anchor; of the last token, if the question is shorter."""
        last = attention.shape[1] - 1
        if view.words is None or not self.anchor:
            anchor = min(self.anchor, last)
            return attention[:, anchor : anchor + 1]
        padding = (~view.words).sum(0, keepdim=True)
        return attention.index_select(1, (padding + self.anchor).clamp(max=last))


class PriorTR2F(_AgainstPrior):
    """PriorTR, its two-forward form: the prior comes from a second forward without the question.

    Q: attention of the last prompt token at layer K-1 in a forward that ends right after the image with that token. P,
    score and stage as in priortr. The second forward runs K layers, which the realised cost counts. The video port
    compares P of layer K-1 with Q of layer K, which is not followed here. The port for Qwen3-VL leaves the last prompt
    token out of P: last=no.
    """

    def prior(self, layer: int) -> Attn:
        """The last token in a forward pass without the question."""
        return NoQuestionAttn(layer)


def _normalise(attention: Tensor) -> Tensor:
    """Attention [n] as a distribution over the visual tokens."""
    return attention / (attention.sum() + EPSILON)

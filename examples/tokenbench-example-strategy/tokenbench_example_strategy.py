"""Question-driven contrast: what the question looks at more than the first token after the image does, summed over two depths."""

import tokenbench
import torch
from pydantic import Field
from tokenbench import Attn, Merger, Stage, Strategy


class Contrast(Strategy):
    """Attention of the question less that of the first token after the visual ones, which cannot have read the question.

    Two cuts: the first stage keeps half way between all tokens and the budget, the second the budget. What the first stage saw
    counts at the second as well.
    """

    layers: tuple[int, int] = Field((2, 4), description="decoder layers before which tokens go")
    weight: float = Field(1.0, ge=0, description="how much the first token's attention counts against a token")

    def schedule(self, depth, budget):
        return [(self.layers[0], (1 + budget.fraction) / 2), (self.layers[1], budget.keep)]

    def stage(self, layer, keep, index):
        return Stage(layer, keep, attention=(Attn(layer - 1, "question"), Attn(layer - 1, "null")))

    def score(self, view):
        question, null = (view.attention[request].mean((0, 1)) for request in view.stage.attention)
        before = view.memo.get("contrast", torch.zeros(view.n0))
        view.memo["contrast"] = before.index_add(0, view.alive.cpu(), (question - self.weight * null).cpu())
        return view.memo["contrast"][view.alive.cpu()].to(question.device)


class Mean(Merger):
    """Every dropped token joins the nearest kept one before it (or the first), which becomes the mean of all that joined."""

    def merge(self, states, sizes, keep):
        states = states.float()
        home = (torch.searchsorted(keep, torch.arange(len(states), device=keep.device), right=True) - 1).clamp_min(0)
        total = torch.zeros(len(keep), states.shape[1], device=states.device)
        total = total.index_add(0, home, states * sizes[:, None])
        weights = torch.zeros(len(keep), device=states.device).index_add(0, home, sizes)
        return total / weights[:, None], weights


@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("example-contrast", Contrast)


@tokenbench.hookimpl
def tokenbench_register_mergers(register):
    register("example-mean", Mean)

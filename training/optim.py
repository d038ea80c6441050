"""Muon for matrices (momentum whose singular values are all made alike) and AdamW for the rest."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

ADAM_SHARE = 0.5  # of Muon's rate
DECAY = 0.05  # of matrices, times the rate
MOMENTUM = 0.95
POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Newton-Schulz step that Muon's authors propose


class Optimizer:
    """Optimises whatever requires gradients in a module. Matrices of one shape are orthogonalised together."""

    def __init__(self, module: nn.Module) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name and "head" not in name]
        chosen = {id(p) for p in matrices}
        self.rest = [p for _, p in named if id(p) not in chosen]
        self.groups: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in matrices:
            self.groups[p.shape].append(p)
        self.momenta = {shape: torch.stack([torch.zeros_like(p) for p in ps]) for shape, ps in self.groups.items()}
        self.adam = torch.optim.AdamW(self.rest, betas=(0.9, 0.95), weight_decay=0.01)
        self.module = module

    def step(self, rate: float) -> None:
        """Take one step down the gradients, which are cleared."""
        nn.utils.clip_grad_norm_(self.rest, 1.0)
        self.adam.param_groups[0]["lr"] = rate * ADAM_SHARE
        self.adam.step()
        for shape, ps in self.groups.items():
            self._step_matrices(shape, ps, rate)
        self.module.zero_grad()

    @torch.no_grad()
    def _step_matrices(self, shape: torch.Size, ps: list[Tensor], rate: float) -> None:
        gradient = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in ps])
        momentum = self.momenta[shape].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalise(gradient.lerp(momentum, MOMENTUM)) * (0.2 * max(shape) ** 0.5)  # as large as AdamW's
        torch._foreach_mul_(ps, 1 - DECAY * rate)
        torch._foreach_sub_(ps, list(update.unbind()), alpha=rate)

    def state(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "momenta": list(self.momenta.values())}

    def load(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        for momentum, saved in zip(self.momenta.values(), state["momenta"], strict=True):
            momentum.copy_(saved)


def orthogonalise(batch: Tensor) -> Tensor:
    """Nearest matrices with equal singular values to [n, rows, columns], roughly; in half precision on a GPU."""
    x = batch.bfloat16() if batch.is_cuda else batch
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = POLYNOMIAL
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(batch.dtype)

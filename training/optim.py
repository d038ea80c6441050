"""Muon for matrices (momentum whose singular values are all made alike) and AdamW for the rest, on one schedule."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

DECAY = 0.4  # of matrices, times the rate: keeps what a layer adds from outgrowing what came in
POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Newton-Schulz step that Muon's authors propose


class Optimizer:
    """Warm-up, then linear decay to a tenth. Matrices of one shape are orthogonalised together."""

    def __init__(self, module: nn.Module, steps: int, muon: float, adam: float, warmup: int = 30) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        inner = [p for name, p in named if p.ndim == 2 and "embed" not in name and "head" not in name]
        chosen = {id(p) for p in inner}
        self.groups: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in inner:
            self.groups[p.shape].append(p)
        self.momenta = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.groups.items()}
        self.adam = torch.optim.AdamW([p for _, p in named if id(p) not in chosen], adam, (0.9, 0.98), weight_decay=0.0)
        self.steps, self.muon_rate, self.adam_rate, self.warmup = steps, muon, adam, warmup
        self.parameters = [p for _, p in named]
        self.done = 0

    def step(self) -> None:
        share = min(1.0, (self.done + 1) / self.warmup) * max(0.1, 1 - self.done / self.steps)
        nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        self.adam.param_groups[0]["lr"] = self.adam_rate * share
        self.adam.step()
        for shape, ps in self.groups.items():
            self._muon(shape, ps, self.muon_rate * share)
        for p in self.parameters:
            p.grad = None
        self.done += 1

    @torch.no_grad()
    def _muon(self, shape: torch.Size, ps: list[Tensor], rate: float) -> None:
        gradient = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in ps])
        momentum = self.momenta[shape].lerp_(gradient, 0.05)
        update = orthogonalise(gradient.lerp(momentum, 0.95)) * (0.2 * max(shape) ** 0.5)  # the size of AdamW's steps
        for p, u in zip(ps, update, strict=True):
            p.mul_(1 - DECAY * rate).sub_(u, alpha=rate)

    def state(self) -> dict[str, object]:
        return {"adam": self.adam.state_dict(), "momenta": self.momenta, "done": self.done}

    def load(self, state: dict[str, object]) -> None:
        self.adam.load_state_dict(state["adam"])  # type: ignore[arg-type]
        self.momenta, self.done = state["momenta"], state["done"]  # type: ignore[assignment]


def orthogonalise(batch: Tensor) -> Tensor:
    """Nearest matrices with equal singular values to [n, rows, columns], roughly."""
    wide = batch if batch.shape[1] <= batch.shape[2] else batch.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = POLYNOMIAL
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is batch else x.mT


def average_gradients(parameters: Iterable[Tensor], workers: int) -> None:
    """Mean of the gradients over processes, one message for all."""
    if workers == 1:
        return
    ps = list(parameters)
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in ps])
    torch.distributed.all_reduce(flat)
    for p, g in zip(ps, flat.split([p.numel() for p in ps]), strict=True):
        p.grad = (g / workers).view_as(p)

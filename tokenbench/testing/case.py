"""One strategy on one small model, which is the subject of the checks of strategies and backbones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.stage import Attn, NoQuestionAttn, Signal, Stage
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.view import View
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import Registry, registry
from tokenbench.testing.oracles import Prompt, batched, generate

__all__ = ["BUDGET", "Case", "KeepAll", "architectures"]

BUDGET = "1/3"


class KeepAll(Strategy):
    """A strategy that requests everything that can be requested, and drops nothing."""

    trim: ClassVar[bool] = True

    encoder: bool = True
    """Whether it also requests what the vision encoder computes."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        """Request everything before layers 1 and 3."""
        asks = [(layer, (Attn(layer - 1), Attn(layer - 1, "question"), NoQuestionAttn(layer - 1))) for layer in (1, 3)]
        signals = tuple(Signal(kind) for kind in ("cls", "received", "keys", "features"))
        return [
            Stage(
                layer,
                1.0,
                hidden=(0, layer),
                text=(layer,),
                keys=(layer - 1,),
                attention=attention,
                signals=signals if layer == 1 and self.encoder else (),
                rerun=0.5 if layer == 1 and self.encoder else None,
            )
            for layer, attention in asks
        ]

    def score(self, view: View) -> Tensor:
        """Score tokens by the sum of all attention that was requested."""
        return torch.stack([weights.mean((0, 1)) for weights in view.attention.values()]).sum(0)


@dataclass(frozen=True)
class Case:
    """A strategy on a small model with different prompts."""

    strategy: Strategy
    """The strategy that is checked."""
    model: Any
    """A small stock model."""
    prompts: Sequence[Prompt]
    """The prompts, each of one row."""
    budget: str | Budget = BUDGET
    """The budget of the strategy."""
    backbone: Backbone | None = None
    """The adapter; None for the registered one that serves the model."""

    @cached_property
    def adapter(self) -> Backbone:
        """The adapter that serves the model."""
        return self.backbone or backbone_for(self.model, registry())

    @property
    def depth(self) -> int:
        """The number of decoder layers."""
        return len(self.adapter.decoder(self.model).layers)  # type: ignore[arg-type]

    @property
    def attends(self) -> list[bool]:
        """Of every decoder layer, whether it is a layer of attention, and not a recurrent one."""
        return [hasattr(layer, "self_attn") for layer in self.adapter.decoder(self.model).layers]  # type: ignore[union-attr]

    def run(
        self, prompts: Sequence[Prompt] | None = None, keys: Sequence[str] | None = None, seed: int = 0, **options: Any
    ) -> tuple[Any, list[RowTrace]]:
        """Run the pruned model on prompts in one batch.

        Args:
            prompts: The prompts; by default, all of the case.
            keys: The names that seed the random numbers of each row; by default, the numbers of the rows.
            seed: The seed of the strategy.
            **options: Options of `generate`.

        Returns:
            The output of generate(), and the traces of the prefill.
        """
        chosen = self.prompts if prompts is None else prompts
        budget = self.budget if isinstance(self.budget, Budget) else Budget.parse(self.budget)
        plan = RowPlan.make(self.strategy, budget, self.depth, seed)
        names = keys if keys is not None else [str(b) for b in range(len(chosen))]
        with attach(self.model, self.adapter, [plan.of(name) for name in names]) as pruning:
            output = generate(self.model, batched(chosen), **options)
        return output, pruning.prefills[0]

    def here(self, prompt: Prompt) -> Prompt:
        """Return a prompt on the device of the model, its pixels in the type of the model's numbers."""
        device, dtype = self.model.device, self.model.dtype
        return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in prompt.items()}

    def as_(self, dtype: torch.dtype) -> Case:
        """Return the same case with a copy of the model in another data type."""
        prompts = [
            {name: value.to(dtype) if value.is_floating_point() else value for name, value in prompt.items()}
            for prompt in self.prompts
        ]
        return replace(self, model=copy.deepcopy(self.model).to(dtype), prompts=prompts)

    def under(self, attention: str) -> Case:
        """Return the same case with a copy of the model that uses another attention implementation."""
        model = copy.deepcopy(self.model)
        model.set_attn_implementation(attention)
        return replace(self, model=model)


def architectures(registry: Registry) -> Iterator[tuple[str, Backbone]]:
    """Yield the registered adapters of architectures, by name. Registered models use the same adapters."""
    for name in registry.names("backbones"):
        backbone = registry.get("backbones", name)
        if backbone.source is None and not backbone.fallback:
            yield name, backbone()

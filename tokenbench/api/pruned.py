"""Prune any supported transformers model a user already has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tokenbench.api.wrapped import stock_in, uncompiled
from tokenbench.contract.budget import Budget
from tokenbench.contract.strategy import Strategy
from tokenbench.engine import Plan, Pruner
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import NamedStrategy, canonical_name, parse_strategy
from tokenbench.registry.plugins import registry

__all__ = ["pruned"]


@contextmanager
def pruned(
    model: Any,
    strategy: str | Strategy,
    budget: str | float | Budget = "1/3",
    *,
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> Iterator[Pruner]:
    """Prune the visual tokens of everything `model` runs inside the context, generate() included.

        with tokenbench.pruned(model, "fastv", budget="1/3") as pruning:
            model.generate(**inputs)
        pruning.rows[0].kept  # ordinals of the visual tokens that stayed

    Inside, the model and what the context yields say in their repr what prunes them at which budget.

    model: a stock transformers model of an architecture some registered backbone serves, on any device, or a wrapper around one
    (PEFT, Accelerate, torch.compile, your own). What is compiled runs uncompiled inside.
    strategy: a name with parameters (`"clse:temp=0.2"`), or a Strategy. budget: `"1/3"`, `"33%"`, `0.334` or `192`.
    seed, keys: for stochastic strategies; keys name the samples, one a row, so that a draw does not depend on the batch.

    The choice is made once a prompt: inside generate() that is what generate() was given, outside of it what a forward is given.
    A KV cache that was pruned goes on inside such a context alone. Raises UsageError for an unknown strategy, a bad budget, a model
    that cannot be pruned or is being pruned already, and for a forward that cannot be pruned rightly. When the context ends the
    model is as it was.
    """
    known = registry()
    stock = stock_in(
        model, {kind for name in known.names("backbones") for kind in known.get("backbones", name).model_types}
    )
    backbone = backbone_for(stock, known)
    named = (
        parse_strategy(strategy, known)
        if isinstance(strategy, str)
        else NamedStrategy(canonical_name(type(strategy).__name__, strategy), strategy)
    )
    allowed = budget if isinstance(budget, Budget) else Budget.parse(budget)
    depth = len(backbone.decoder(stock).layers)  # type: ignore[arg-type]
    plan = Plan.make(named.strategy, allowed, depth, seed, name=named.name)
    plans = [plan] if keys is None else [plan.of(key) for key in keys]
    with uncompiled(), attach(stock, backbone, plans) as pruner:
        yield pruner

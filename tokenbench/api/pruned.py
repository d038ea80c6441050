"""Prune any supported transformers model a user already has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

from tokenbench.api.wrapped import stock_in, uncompiled
from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.strategy import Strategy
from tokenbench.engine import EncoderRecorder, EncoderRequests, Plan, Pruner, call_before, replace_method
from tokenbench.engine.prompts import Prompts
from tokenbench.errors import UsageError
from tokenbench.registry.names import NamedStrategy, canonical, parse_strategy
from tokenbench.registry.plugins import Registry, registry

__all__ = ["attached", "backbone_for", "backbone_of", "pruned"]


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
        else NamedStrategy(canonical(type(strategy).__name__, strategy), strategy)
    )
    allowed = budget if isinstance(budget, Budget) else Budget.parse(budget)
    depth = len(backbone.decoder(stock).layers)  # type: ignore[arg-type]
    plan = Plan.make(named.strategy, allowed, depth, seed, name=named.name)
    plans = [plan] if keys is None else [plan.of(key) for key in keys]
    with uncompiled(), attached(stock, backbone, plans) as pruner:
        yield pruner


@contextmanager
def attached(model: Any, backbone: Backbone, plans: Sequence[Plan]) -> Iterator[Pruner]:
    """A pruner on the model's decoder that learns from every prompt where its visual tokens are.

    It records the vision encoder if the plans ask for that; later plans are served by frames handed to the pruner.
    """
    requests = EncoderRequests.of(stage for plan in plans for stage in plan.typical)
    recorder = EncoderRecorder(backbone.describe_towers(model) if requests.frames else [], requests)
    with Pruner(backbone.decoder(model), plans) as pruner, recorder, ExitStack() as undo:
        prompts = Prompts(model, backbone, pruner, recorder)
        undo.callback(call_before(model.base_model, prompts.look))
        if hasattr(model, "generate"):
            own = model.generate
            undo.callback(replace_method(model, "generate", wraps(own)(partial(prompts.generate, own))))
        if hasattr(model, "extra_repr"):
            undo.callback(replace_method(model, "extra_repr", partial(_described, model.extra_repr, pruner)))
        if hasattr(type(model), "loss_function"):
            undo.callback(_refusing_labels(model, pruner))
        yield pruner


def _described(own: Callable[[], str], pruner: Pruner) -> str:
    """What the model says of itself, and what prunes it."""
    return ", ".join(filter(None, (own(), pruner.description)))


def _refusing_labels(model: Any, pruner: Pruner) -> Callable[[], None]:
    """Labels have a column for every token of the prompt, and would be held against the wrong ones. Returns what undoes it."""

    def loss(*args: Any, **kwargs: Any) -> Any:
        if pruner.shorter:
            raise UsageError(
                "labels do not fit a pruned prompt: it has fewer tokens than they have columns",
                "run the prompt without its answer, then the answer on the KV cache, and take the loss of these logits",
            )
        with_stock_loss()
        try:
            return model.loss_function(*args, **kwargs)
        finally:
            replace_method(model, "_loss_function", loss)

    with_stock_loss = replace_method(model, "_loss_function", loss)
    return with_stock_loss


def backbone_for(model: Any, known: Registry) -> Backbone:
    """The registered backbone that serves the model's architecture."""
    return backbone_of(getattr(getattr(model, "config", None), "model_type", type(model).__name__), known)


def backbone_of(model_type: str, known: Registry) -> Backbone:
    """The registered backbone that serves an architecture, by the name that configurations give it.

    Raises UsageError if there is none.
    """
    served: list[str] = []
    for name in known.names("backbones"):
        backbone = known.get("backbones", name)
        served += backbone.model_types
        if model_type in backbone.model_types:
            return backbone()  # type: ignore[no-any-return]
    raise UsageError(
        f"no backbone serves models of type '{model_type}'",
        f"served: {', '.join(sorted(set(served)))}; another architecture needs a Backbone plug-in",
    )

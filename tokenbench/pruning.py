"""Prune any supported transformers model a user already has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from tokenbench.backbone import Backbone
from tokenbench.budget import Budget
from tokenbench.engine import Layout, Plan, Pruner, Watch, Wish, cache_name
from tokenbench.errors import UsageError
from tokenbench.naming import parse_strategy
from tokenbench.plugins import Registry, registry
from tokenbench.strategy import Strategy

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

    model: a stock transformers model of an architecture some registered backbone serves, on any device.
    strategy: a name with parameters (`"clse:temp=0.2"`), or a Strategy. budget: `"1/3"`, `"33%"`, `0.334` or `192`.
    seed, keys: for stochastic strategies; keys name the samples, one a row, so that a draw does not depend on the batch.

    Raises UsageError for an unknown strategy, a bad budget, or a model that cannot be pruned. When the context ends the
    model is as it was.
    """
    backbone = backbone_for(model, registry())
    method = parse_strategy(strategy, registry()).strategy if isinstance(strategy, str) else strategy
    allowed = budget if isinstance(budget, Budget) else Budget.parse(budget)
    depth = len(backbone.decoder(model).layers)  # type: ignore[arg-type]
    plan = Plan.make(method, allowed, depth, seed)
    plans = [plan] if keys is None else [plan.of(key) for key in keys]
    with attached(model, backbone, plans) as pruner:
        yield pruner


@contextmanager
def attached(model: Any, backbone: Backbone, plans: Sequence[Plan]) -> Iterator[Pruner]:
    """A pruner on the model's decoder that learns from every prompt where its visual tokens are.

    It listens to the vision encoder if the plans want to know of it; later plans are served by frames handed to the pruner.
    """
    wish = Wish.of(stage for plan in plans for stage in plan.typical)
    encoders = backbone.encoders(model) if wish.anything else []
    with Pruner(backbone.decoder(model), plans) as pruner, Watch(encoders, wish) as watch:

        def find_visual_tokens(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = kwargs.get("input_ids", args[0] if args else None)
            cache = kwargs.get(cache_name(kwargs))
            started = cache is not None and cache.get_seq_length() > 0
            if ids is None:
                if not started:
                    raise UsageError(
                        "pruning needs input_ids, to see where the visual tokens are", "do not pass inputs_embeds"
                    )
                return
            if started and ids.shape[1] == 1:
                return
            visual = backbone.visual(model, ids)
            if not bool(visual.any()):
                return
            if started:
                raise UsageError(
                    "images cannot be added to a conversation whose KV cache was pruned", "start a new cache"
                )
            encoded = partial(watch.rows, ids, visual, model.config.image_token_id) if pruner.frames is None else None
            pruner.layout = Layout(
                visual, partial(backbone.grids, model, ids), encoded or (lambda: pruner.frames or ())
            )

        hook = model.base_model.register_forward_pre_hook(find_visual_tokens, with_kwargs=True)
        try:
            yield pruner
        finally:
            hook.remove()


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

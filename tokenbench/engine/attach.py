"""Attaches a pruner to a model, so that everything the model runs is pruned until it is detached again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from tokenbench.engine import EncoderRecorder, EncoderRequests, Pruner, RowPlan, call_before, replace_method
from tokenbench.engine.prompts import Prompts
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.contract.backbone import Backbone

__all__ = ["attach"]


@contextmanager
def attach(model: Any, backbone: Backbone, plans: Sequence[RowPlan]) -> Iterator[Pruner]:
    """Attach a pruner to the model's decoder. It learns from every prompt where its visual tokens are.

    It records the vision encoder if the plans ask for that; later plans are served by frames handed to the pruner.

    Raises:
        InfeasibleError: A plan reads what the backbone does not describe.
    """
    for plan in plans:
        plan.check_backbone(backbone)
    requests = EncoderRequests.of(stage for plan in plans for stage in plan.typical)
    recorder = EncoderRecorder(backbone.describe_towers(model) if requests.frames else [], requests)
    with Pruner(backbone.decoder(model), plans, backbone.shares_prefixes) as pruner, recorder, ExitStack() as undo:
        prompts = Prompts(model, backbone, pruner, recorder)
        if model.base_model is not model:
            undo.callback(call_before(model, prompts.note_logits))
        undo.callback(call_before(model.base_model, prompts.look))
        undo.callback(call_before(pruner.decoder, prompts.check_decoder))
        if hasattr(model, "generate"):
            own = model.generate
            undo.callback(replace_method(model, "generate", wraps(own)(partial(prompts.generate, own))))
        if hasattr(model, "extra_repr"):
            undo.callback(replace_method(model, "extra_repr", partial(_describe, model.extra_repr, pruner)))
        if hasattr(type(model), "loss_function"):
            undo.callback(_refuse_labels(model, pruner))
        yield pruner


def _describe(own: Callable[[], str], pruner: Pruner) -> str:
    """What the model says of itself, and what prunes it."""
    return ", ".join(filter(None, (own(), pruner.description)))


def _refuse_labels(model: Any, pruner: Pruner) -> Callable[[], None]:
    """Labels have a column for every token of the prompt, and would be held against the wrong ones.

    Returns what undoes it.
    """

    def loss(*args: Any, **kwargs: Any) -> Any:
        if pruner.shorter:
            raise UsageError(
                "labels cannot be used with a pruned prompt, which has fewer tokens than the labels",
                "run the prompt without its answer, then the answer on the KV cache, and compute the loss from those logits",
            )
        with_stock_loss()
        try:
            return model.loss_function(*args, **kwargs)
        finally:
            replace_method(model, "_loss_function", loss)

    with_stock_loss = replace_method(model, "_loss_function", loss)
    return with_stock_loss

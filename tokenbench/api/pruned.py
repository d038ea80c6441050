"""Prune any supported transformers model a user already has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tokenbench.api.wrapped import stock_in, uncompiled
from tokenbench.contract.budget import Budget
from tokenbench.contract.strategy import Strategy
from tokenbench.engine import Pruner, Question, RowPlan
from tokenbench.engine.attach import attach
from tokenbench.errors import UsageError
from tokenbench.registry.backbones import backbone_for, is_served
from tokenbench.registry.names import NamedStrategy, canonical_name, parse_strategy
from tokenbench.registry.plugins import Registry, registry
from tokenbench.runner.request import check_seed, check_strategy

__all__ = ["pruned"]


@contextmanager
def pruned(
    model: Any,
    strategy: str | Strategy,
    budget: str | float | Budget = "1/3",
    *,
    seed: int = 0,
    keys: Sequence[str] | None = None,
    questions: Sequence[str] | None = None,
    processor: Any = None,
) -> Iterator[Pruner]:
    """Prune the visual tokens of everything that `model` runs inside the context, generate() included.

    Example::

        with tokenbench.pruned(model, "fastv", budget="1/3") as pruning:
            model.generate(**inputs)
        pruning.rows[0].kept  # ordinals of the visual tokens that stayed

    Inside, the `repr` of the model and of what the context yields says what prunes them at which budget. Tokens are
    chosen once for each prompt, which is what generate() was given, or outside of generate() what a forward is given. A
    KV cache that was pruned can be used on only inside such a context. When the context ends, the model is as it was.

    Args:
        model: A stock transformers model of an architecture that a registered backbone serves, on any device, or a
            wrapper around one (PEFT, Accelerate, torch.compile, your own). What is compiled runs uncompiled inside.
        strategy: A name with parameters (`"clse:temp=0.2"`), or a `Strategy`.
        budget: A share (`"1/3"`, `"33%"`, `0.334`) or a number of tokens (`192`).
        seed: The seed of a strategy that draws at random.
        keys: The names of the samples in a batch, one for each row, so that what is drawn for a sample does not depend
            on the batch.
        questions: The user's words in a batch, one text for each row, for strategies that read them apart from the
            prompt (`cdpruner`, `mmtok`). Without them, all text after the image counts as the question.
        processor: The model's processor or tokenizer, which such strategies need with `questions`.

    Yields:
        The pruner, whose `rows` hold the decisions on the last prompt.

    Raises:
        UsageError: If the strategy is unknown, the budget, the seed, the keys or the questions are malformed, the model
            cannot be pruned or is being pruned already, or a forward cannot be pruned correctly.
    """
    plugins = registry()
    stock = stock_in(model, partial(is_served, registry=plugins))
    backbone = backbone_for(stock, plugins)
    named = _find_strategy(strategy, plugins)
    allowed = budget if isinstance(budget, Budget) else Budget.parse(budget)
    depth = len(backbone.decoder(stock).layers)  # type: ignore[arg-type]
    plan = RowPlan.make(named.strategy, allowed, depth, check_seed(seed, "seed"), name=named.name)
    plans = _rows(plan, _check_texts(keys, "keys"), _check_texts(questions, "questions"), processor)
    with uncompiled(), attach(stock, backbone, plans) as pruner:
        yield pruner


def _find_strategy(strategy: object, plugins: Registry) -> NamedStrategy:
    found = check_strategy(strategy, "strategy")
    if isinstance(found, NamedStrategy):
        return found
    if isinstance(found, str):
        return parse_strategy(found, plugins)
    return NamedStrategy(canonical_name(type(found).__name__, found), found)


def _rows(plan: RowPlan, keys: list[str], questions: list[str], processor: Any) -> list[RowPlan]:
    """The plan of every row, or one for all rows if nothing is said about them."""
    if questions and processor is None:
        raise UsageError("questions need the model's processor, which tokenises them", "pass processor=processor")
    if keys and questions and len(keys) != len(questions):
        raise UsageError(f"there are {len(keys)} keys, but {len(questions)} questions", "pass one of each for each row")
    if not questions:
        return [plan.of(key) for key in keys] or [plan]
    tokenizer = getattr(processor, "tokenizer", processor)

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    named = keys or [plan.key] * len(questions)
    return [plan.of(key, Question(text, tokenize)) for key, text in zip(named, questions, strict=True)]


def _check_texts(given: object, what: str) -> list[str]:
    if given is None:
        return []
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else []
    if not found or not all(isinstance(text, str) for text in found):
        raise UsageError(f"{what}: {given!r:.60} is not a list of texts", "pass one text for each row")
    return found

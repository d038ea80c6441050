"""Later questions are asked of the tokens that the first one left: of no others, and of all of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.tiny import BACKBONES, FEW, tiny
from tests.tokenbench.engine.test_shared_prefix import questions
from tokenbench import Budget, UsageError
from tokenbench.engine import RowPlan, RowTrace, replay
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt, batched, generate, logits, masked
from tokenbench.testing.oracles import assert_close, kv_cache

NAMES = ["fastv", "clse", "priortr", "divprune"]


def plan_of(name: str, model: Any, budget: str = "1/3") -> RowPlan:
    depth = len(backbone_for(model, registry()).decoder(model).layers)  # type: ignore[arg-type]
    return RowPlan.make(parse_strategy(name, registry()).strategy, Budget.parse(budget), depth, name=name)


def ask(model: Any, plans: Sequence[RowPlan], prompts: Sequence[Prompt], **sharing: Any) -> tuple[Any, list[RowTrace]]:
    with attach(model, backbone_for(model, registry()), plans) as pruner, pruner.sharing(**sharing):
        return generate(model, batched(prompts), tokens=3), pruner.rows


@pytest.mark.parametrize("attention", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_later_question_equals_the_stock_model_with_what_the_first_one_dropped_masked(
    name: str, attention: str
) -> None:
    """The mask is made from a run of the first question alone, so that nothing of the later one can have chosen."""
    model, prompts = tiny(name, attention)
    later = [*questions(prompts[0], 3, 1), prompts[1], *questions(prompts[1], 5)]
    opening = [0, 0, 1, 1]
    first = [*questions(prompts[0], 2), *questions(prompts[1], 4)]
    for strategy in NAMES:
        plan = plan_of(strategy, model)
        traces = [ask(model, [plan.of(str(b))], [prompt], remember=True)[1][0] for b, prompt in enumerate(first)]
        own = [replay(plan, traces[at], str(b)) for b, at in enumerate(opening)]
        for alike in ([0, 0, 2, 2], []):
            output, rows = ask(model, own, later, first_alike=alike)
            for b, at in enumerate(opening):
                assert [k.tolist() for _, k in rows[b].stages] == [k.tolist() for _, k in traces[at].stages]
                stock = masked(model, output, later[b], b, traces[at], later=True)
                assert_close(logits(output)[:, b], stock, f"{strategy}, row {b}, alike {alike}")


def test_the_oracle_sees_another_choice() -> None:
    """A later question that chose for itself would be noticed."""
    model, prompts = tiny("llava")
    (first,), (later,) = questions(prompts[0], 2), questions(prompts[0], 6)
    plan = plan_of("fastv", model, "1/9")
    (trace,) = ask(model, [plan.of("a")], [first])[1]
    output, (own,) = ask(model, [plan.of("a")], [later])
    assert own.kept != trace.kept
    with pytest.raises(AssertionError):
        assert_close(logits(output)[:, 0], masked(model, output, later, 0, trace, later=True))


@pytest.mark.parametrize("strategy", ["pdrop", "sparsevlm", "clse:kv=keep", "tome", "pooling"])
def test_a_later_question_equals_one_on_the_cache_of_the_first(strategy: str) -> None:
    """The KV cache that the first question filled, without its words, then the later question's: also for merged tokens."""
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    (first,), (later,) = questions(prompts[0], 2), questions(prompts[0], 6)
    words = int(adapter.visual(model, first["input_ids"])[0].nonzero().max()) + 1
    plan = plan_of(strategy, model).of("a")
    with attach(model, adapter, [plan]) as pruner, torch.no_grad(), pruner.sharing(remember=True):
        cache = kv_cache(model(**first, use_cache=True))
        (trace,) = pruner.rows
        cache.crop(words - first["input_ids"].shape[1])
        found = model(input_ids=later["input_ids"][:, words:], past_key_values=cache).logits[0]
    output, _ = ask(model, [replay(plan, trace, "b")], [later])
    assert_close(logits(output)[0, 0], found[-1])


@pytest.mark.parametrize("name", FEW)
def test_later_questions_in_a_batch_equal_each_alone(name: str) -> None:
    model, prompts = tiny(name)
    later = [*questions(prompts[0], 3, 1), *questions(prompts[1], 5)]
    plans = [plan_of(strategy, model) for strategy in ("clse-m", "sparsevlm", "visionzip", "holov")]
    traces = [[ask(model, [plan.of("a")], [p], remember=True)[1][0] for p in prompts[:2]] for plan in plans]
    own = [replay(plan, traces[i][at], "b") for i, plan in enumerate(plans) for at in (0, 0, 1)]
    alike = [first + 3 * i for i in range(len(plans)) for first in (0, 0, 2)]
    together, _ = ask(model, own, later * len(plans), first_alike=alike)
    for b, plan in enumerate(own):
        alone, _ = ask(model, [plan], [later[b % 3]])
        assert_close(logits(together)[:, b], logits(alone)[:, 0], f"row {b}")


def test_flash_attention_is_refused_where_it_cannot_hide_what_was_trimmed() -> None:
    from tokenbench.engine.layout import PromptColumns
    from tokenbench.engine.replay import Unseen

    model, prompts = tiny("llava")
    plan = plan_of("clse", model)
    (trace,) = ask(model, [plan.of("a")], prompts[:1])[1]
    visual = prompts[0]["input_ids"] == model.config.image_token_id
    prompt = PromptColumns(visual, torch.ones_like(visual))
    with pytest.raises(UsageError, match="flash attention takes no mask"):
        Unseen.of([replay(plan, trace, "b")], prompt, "flash_attention_2")

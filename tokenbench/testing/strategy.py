"""The checks of strategies, on every architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.view import View
from tokenbench.engine import Replay, RowPlan, RowTrace
from tokenbench.engine.schedule import move_to_attention
from tokenbench.registry.plugins import registry
from tokenbench.testing.case import BUDGET, Case, architectures
from tokenbench.testing.check import Check, checks
from tokenbench.testing.oracles import (
    Prompt,
    assert_close,
    assert_close_or_sensitive,
    batched,
    generate,
    kv_cache,
    logits,
    masked,
    rounded_otherwise,
    shortened,
)

__all__ = ["STRATEGY_CHECKS", "check_strategy", "plan_checks", "strategy_checks"]

STRATEGY_CHECKS: list[Check] = []
_PLAN_CHECKS: list[Check] = []


def check_strategy(strategy: Strategy, *models: tuple[Any, Sequence[Prompt]], budget: str = BUDGET) -> None:
    """Run every check on a strategy.

    Args:
        strategy: The strategy.
        *models: Small models with their prompts; by default, those of every registered architecture.
        budget: The budget.

    Raises:
        AssertionError: A check fails. The message says what is wrong and how to fix it.
    """
    for check in plan_checks():
        check(strategy)
    for model, prompts in models or (backbone.tiny() for _, backbone in architectures(registry())):
        case = Case(strategy, model, prompts, budget)
        for check in strategy_checks():
            check(case)


def strategy_checks() -> list[Check]:
    """Return the checks of a strategy on a model. Each takes a `Case`."""
    return list(STRATEGY_CHECKS)


def plan_checks() -> list[Check]:
    """Return the checks of a strategy alone."""
    return list(_PLAN_CHECKS)


@checks(
    _PLAN_CHECKS,
    "schedule() gives (layer, keep) in ascending layers for any depth; keep is an int, or a share of 1 at most",
)
def plans_for_every_decoder(strategy: Strategy) -> None:
    """The schedule fits decoders of all usual depths, at shares and at counts, and is the same when asked again."""
    for depth in (24, 28, 32, 40, 64):
        for text in ("1/3", "1/9", "64"):
            budget = Budget.parse(text)
            stages = RowPlan.make(strategy, budget, depth).check_stages(1024)
            for stage in stages:
                share = stage.keep if stage.keep is None or isinstance(stage.keep, int) else float(stage.keep)
                right = share is None or (share >= 0 if isinstance(share, int) else 0 <= share <= 1)
                assert right, f"keep={stage.keep!r} before layer {stage.layer} is neither a count nor a share up to 1"
            again = RowPlan.make(strategy, budget, depth).check_stages(1024)
            assert stages == again, f"another schedule the second time, for {depth} layers at {text}"


@checks(
    _PLAN_CHECKS,
    "declare a dial only with `budgeted = False` and keep=None, as a float field for which both ends are valid values",
)
def has_a_dial_that_turns(strategy: Strategy) -> None:
    """If it has a dial, this is a parameter of it, both ends are valid, and the stages do not depend on it."""
    dial = strategy.dial
    if dial is None:
        return
    assert not strategy.budgeted, "it takes a budget, so that it needs no dial"
    assert dial.low < dial.high, f"its dial goes from {dial.low} to {dial.high}"
    plans = [
        RowPlan.make(one, Budget.none(), 32) for one in (strategy, *map(strategy.turn_dial, (dial.low, dial.high)))
    ]
    for plan in plans[1:]:
        type(strategy).model_validate(dict(plan.strategy))
        assert plan.typical == plans[0].typical, f"its stages change with '{dial.parameter}'"
    assert any(stage.keep is None for stage in plans[0].typical), "its schedule says how many tokens stay"


@checks(STRATEGY_CHECKS, "say with `rising` whether a higher value of the dial keeps more tokens")
def turns_the_right_way(case: Case) -> None:
    """If it has a dial, the end at which it should keep most does not keep less than the other one."""
    dial = case.strategy.dial
    if dial is None:
        return
    least, most = sorted((dial.low, dial.high), reverse=not dial.rising)
    few, many = (
        sum(row.mean_tokens for row in replace(case, strategy=case.strategy.turn_dial(value)).run(tokens=1)[1])
        for value in (least, most)
    )
    assert few <= many, f"{dial.parameter} at {least} keeps {few} tokens, and at {most} only {many}"


@checks(STRATEGY_CHECKS, "return exactly view.k tokens; `at_most` declares fewer, keep=None that the method decides")
def keeps_its_schedule(case: Case) -> None:
    """Every stage runs, keeps exactly what the schedule says, and something is removed."""
    _, rows = case.run(tokens=1)
    for row in rows:
        budget = case.budget if isinstance(case.budget, Budget) else Budget.parse(case.budget)
        planned = RowPlan.make(case.strategy, budget, row.depth).stages(row.visual, row.text)
        stages = move_to_attention(planned, case.attends)
        assert [layer for layer, _ in row.stages] == [stage.layer for stage in stages], "a stage did not run"
        alive = row.visual
        for stage, (_, kept) in zip(stages, row.stages, strict=True):
            if stage.keep is not None:
                right = count(stage.keep, row.visual, alive)
                assert len(kept) == right or (stage.at_most and len(kept) < right), (
                    f"{len(kept)} tokens kept at {stage}"
                )
            alive = len(kept)
        assert _removes_tokens(case.strategy, row), "nothing was removed"


@checks(STRATEGY_CHECKS, "with nothing to drop, select() must return the tokens as they are")
def keeping_all_is_stock(case: Case) -> None:
    """Where it may keep every token and does, it changes no bit of the stock model."""
    output, rows = replace(case, budget=Budget.everything()).run(tokens=2)
    if all(row.mean_tokens == row.visual and not row.merged for row in rows):
        stock = generate(case.model, batched(case.prompts), tokens=2)
        assert torch.equal(logits(output), logits(stock)), "keeping every token changes the logits of the stock model"


@checks(
    STRATEGY_CHECKS, "leave hidden states, positions and the KV cache to the engine; declare `trim` and `positions`"
)
def equals_stock_with_dropped_tokens_masked(case: Case) -> None:
    """Prefill and cached decoding equal the stock model whose attention cannot see what was dropped."""
    for chosen in (case.prompts[:1], case.prompts):
        output, rows = case.run(chosen)
        for b, (prompt, row) in enumerate(zip(chosen, rows, strict=True)):
            if row.merged or (row.compact and row.stages[-1][0] > 0):  # stock has one set of positions
                continue
            oracle = masked if all(case.attends) else shortened
            if oracle is masked or not row.trim:  # what a recurrent layer took up cannot be trimmed
                stock = partial(oracle, case.model, output, prompt, b, row, case.adapter)
                assert_close_or_sensitive(logits(output)[:, b], stock(), partial(_round_otherwise, case.model, stock))


def _answer_alone(case: Case, prompt: Prompt, b: int) -> Tensor:
    return logits(case.run([prompt], keys=[str(b)])[0])[:, 0]


def _round_otherwise(model: Any, stock: Callable[[], Tensor], seed: int) -> Tensor:
    with rounded_otherwise(model, seed):
        return stock()


@checks(
    STRATEGY_CHECKS,
    "read the view alone; draw random numbers from view.generator; if it is `stacked`, index from the end",
)
def batch_equals_one_by_one(case: Case) -> str:
    """Rows of one left-padded batch, two of them alike, keep and answer what each does alone."""
    prompts = [*case.prompts, _change_picture(case.prompts[0])]
    together, rows = case.run(prompts)
    for b, prompt in enumerate(prompts):
        alone, (row,) = case.run([prompt], keys=[str(b)])
        same = [kept.tolist() for _, kept in row.stages] == [kept.tolist() for _, kept in rows[b].stages]
        assert same, f"row {b} keeps other tokens in a batch than alone: does the strategy look at other rows?"
        rounded = partial(_round_otherwise, case.model, partial(_answer_alone, case, prompt, b))
        assert_close_or_sensitive(logits(together)[:, b], logits(alone)[:, 0], rounded)
    return f"like rows: {', '.join(dict.fromkeys(rows[-1].ways)) or 'no stage'}"


@checks(STRATEGY_CHECKS, "declare `stochastic = True` if, and only if, it draws from view.generator")
def obeys_the_seed(case: Case) -> None:
    """The same seed keeps the same tokens; another one keeps others if the strategy is stochastic, and only then."""
    first, again, other = ([row.kept for row in case.run(tokens=1, seed=seed)[1]] for seed in (0, 0, 1))
    assert first == again, "the same seed keeps other tokens the second time"
    if case.strategy.stochastic:
        assert first != other, "it is declared stochastic, but another seed changes nothing"
        if case.strategy.seed_scope == "sample":
            one = case.prompts[0]
            rows = case.run([one, one], keys=["one", "two"], tokens=1)[1]
            alike = rows[0].kept == rows[1].kept
            assert not alike, (
                "its seed_scope is 'sample', but two samples get the same draw: declare seed_scope = 'run'"
            )
    else:
        assert first == other, "another seed changes what it keeps, but it is not declared stochastic"


@checks(STRATEGY_CHECKS, "ask for attention with Attn or Signal instead of reading the model; break ties by position")
def decides_the_same_under_eager_attention(case: Case) -> None:
    """It keeps the same tokens whether the model computes attention with sdpa or eagerly."""
    kept, eager = ([row.kept for row in each.run(tokens=1)[1]] for each in (case, case.under("eager")))
    assert kept == eager, "other tokens are kept with eager attention"


@checks(STRATEGY_CHECKS, "declare `trim` if dropped tokens leave earlier layers' caches; decide in the prefill alone")
def cached_equals_uncached(case: Case) -> None:
    """Without a cache, the same decisions give the same logits (where the past can be recomputed at all)."""
    cached, (row,) = case.run(case.prompts[:1])
    if row.trim or row.merged or case.strategy.positions == "compact":
        return
    uncached, _ = replace(case, strategy=Replay(row=row)).run(case.prompts[:1], use_cache=False)
    assert_close(logits(cached), logits(uncached))


@checks(STRATEGY_CHECKS, "do not touch the cache; declare `trim` if dropped tokens leave earlier layers' caches")
def cache_holds_what_the_trace_says(case: Case) -> None:
    """Every layer's KV cache has the traced length, and answers the original one."""
    output, (row,) = case.run(case.prompts[:1], tokens=2)
    layers = enumerate(kv_cache(output).layers)
    # Recurrent layers store no keys, nor do those that read the keys of another one.
    stored = {i: layer.keys.shape[2] - 1 for i, layer in layers if getattr(layer, "keys", None) is not None}
    traced = {i: row.cache_lengths[i] for i in stored}
    assert stored == traced, f"cache lengths {stored}, traced {traced}"
    assert kv_cache(output).get_seq_length() == case.prompts[0]["input_ids"].shape[1] + 1


@checks(STRATEGY_CHECKS, "compute scores in float32 (`.float()`), and keep them finite")
def runs_in_half_precision(case: Case) -> None:
    """It runs in bfloat16, its scores are finite, and it removes tokens."""
    half = replace(case, strategy=_watch_scores(case.strategy)).as_(torch.bfloat16)
    output, rows = half.run(tokens=1)
    assert bool(logits(output).isfinite().all()), "logits are not finite in bfloat16"
    assert all(_removes_tokens(case.strategy, row) for row in rows), "nothing was removed in bfloat16"


@checks(STRATEGY_CHECKS, "keep what goes from stage to stage in view.memo, nothing on the strategy or its module")
def leaves_nothing_behind(case: Case) -> None:
    """The strategy carries nothing from sample to sample, and the model is as it was."""
    prompts, model = case.prompts, case.model
    stock = generate(model, batched(prompts[:1]))
    hooks = _hooks(model)
    before, (first,) = case.run(prompts[:1])
    case.run(prompts[1:])
    after, (again,) = case.run(prompts[:1])
    assert first.kept == again.kept, "the same sample keeps other tokens the second time: does the strategy hold state?"
    assert torch.equal(logits(before), logits(after))
    assert hooks == _hooks(model), "hooks were left on the model"
    assert torch.equal(logits(generate(model, batched(prompts[:1]))), logits(stock)), "the model was changed"


def _hooks(model: Any) -> int:
    """Return the number of hooks on a model, without those that transformers itself adds on first use and leaves there."""
    hooks = [hook for m in model.modules() for hook in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]
    return sum(not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks)


def _change_picture(prompt: Prompt) -> Prompt:
    """Return a prompt of the same form that shows something else."""
    return {name: value.flip(-1) if value.is_floating_point() else value for name, value in prompt.items()}


def _removes_tokens(strategy: Strategy, row: RowTrace) -> bool:
    """Return whether tokens were removed, or the strategy declares that it has neither a budget nor a stage."""
    return row.mean_tokens < row.visual or not (strategy.budgeted or row.stages)


def _watch_scores(strategy: Strategy) -> Strategy:
    """Return the same strategy, which also asserts that its scores are finite."""
    kind = type(strategy)

    class Watched(kind):  # type: ignore[misc, valid-type]
        def score(self, view: View) -> Tensor:
            score: Tensor = super().score(view)
            assert bool(score.isfinite().all()), f"{int((~score.isfinite()).sum())} of {view.n} scores are not finite"
            return score

    Watched.__name__ = kind.__name__
    watched: Strategy = Watched.model_construct(**dict(strategy))
    return watched

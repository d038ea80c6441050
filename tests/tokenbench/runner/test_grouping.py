"""Which plans share a prefill, and which prefills share their decoding."""

from __future__ import annotations

from tokenbench import Budget
from tokenbench.engine import RowPlan
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.runner.grouping import PADDING, count_tokens, group_decodes, group_plans

NAMES = ["divprune", "visionzip", "fastv", "clse", "pdrop", "random", "priortr", "blind"]


def plans() -> dict[int, RowPlan]:
    found = []
    for name in NAMES:
        strategy = parse_strategy(name, registry()).strategy
        budgets = [Budget.parse(text) for text in ("1/3", "2/9", "1/9")] if strategy.budgeted else [Budget.none()]
        found += [RowPlan.make(strategy, budget, 32, name=name) for budget in budgets]
    return dict(enumerate(found, 1))


def lengths(plan: RowPlan) -> list[float]:
    """Independently of the code: 576 visual tokens and 50 words, until a stage keeps fewer."""
    tokens = [626.0] * 32
    for stage in plan.stages(576, 50):
        kept = stage.keep if isinstance(stage.keep, int) else int(stage.keep * 576)  # type: ignore[operator]
        tokens[stage.layer :] = [50 + kept] * (32 - stage.layer)
    return tokens


def test_groups_hold_every_plan_once_and_little_padding() -> None:
    named = plans()
    starts = {i: plan.typical[0].layer for i, plan in named.items()}
    computed = {i: count_tokens(plan, 576, 50)[0] for i, plan in named.items()}
    found = group_plans(computed, starts, lambda group: True)
    assert sorted(i for group in found for i in group) == sorted(named)
    for group in found:
        assert len({named[i].typical[0].layer for i in group}) == 1
        own = [lengths(named[i]) for i in group]
        padded = len(group) * sum(map(max, zip(*own, strict=True)))
        assert padded <= (1 + PADDING) * sum(map(sum, own)) + 32 * len(group)
    assert any(len(group) > 1 for group in found)
    assert max(map(len, group_plans(computed, starts, lambda group: len(group) <= 2))) == 2


def test_a_trimmed_cache_holds_what_is_left() -> None:
    named = {plan.name: plan for plan in plans().values() if plan.budget == Budget.parse("1/9")}
    computed, cached = count_tokens(named["clse"], 576, 50)
    assert computed == [float(int(n)) for n in lengths(named["clse"])]
    assert computed[0] == 626
    assert set(cached) == {computed[-1]}
    assert computed[-1] < 114  # several stages, whose mean is the budget
    assert count_tokens(named["fastv"], 576, 50)[1] == [626.0, 626.0, *[114.0] * 30]


def test_prefills_are_decoded_together_while_their_caches_fit() -> None:
    groups = [[1, 2], [3], [4, 5, 6], [7], [8]]
    assert group_decodes(groups, lambda joined: True) == [groups]
    assert group_decodes(groups, lambda joined: False) == [[group] for group in groups]
    small = group_decodes(groups, lambda joined: sum(map(len, joined)) <= 4)
    assert small == [[[1, 2], [3]], [[4, 5, 6], [7]], [[8]]]

"""GPU hours before a run: FLOPs with what is shared, over what a card does."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tokenbench.commands.test_running import call
from tokenbench.commands.hours import hours_of_run
from tokenbench.contract.budget import Budget
from tokenbench.contract.strategy import Strategy
from tokenbench.cost.hours import CARDS, UTILISATION, gpu_hours, parse_card
from tokenbench.cost.realised import realised_flops
from tokenbench.cost.sharing import foreseen_flops
from tokenbench.cost.table import foresee_prompt
from tokenbench.engine import RowTrace
from tokenbench.errors import UsageError
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry

SIX = ("clse", "fastv", "priortr", "divprune", "random", "downsample")
VANILLA = "vanilla"


def arms(*names: str, budgets: tuple[str, ...] = ("1/3", "2/9", "1/9")) -> list[tuple[str, Strategy, Budget]]:
    def strategy(name: str) -> Strategy:
        return parse_strategy(name, registry()).strategy

    pairs = [(name, budget) for name in names for budget in budgets]
    return [
        (VANILLA, strategy(VANILLA), Budget.everything()),
        *((name, strategy(name), Budget.parse(budget)) for name, budget in pairs),
    ]


def test_the_flops_and_seconds_are_those_of_the_sweep_that_was_measured() -> None:
    """On an H200, 19 cells of LLaVA-1.5-7B, 48 questions on 8 images: 1.62 PFLOP in 5.8 s (docs/efficiency.md)."""
    prompt, size = foresee_prompt("llava-1.5-7b", registry())
    flops, unknown = foreseen_flops(size, prompt, arms(*SIX), 48, 8)
    assert not unknown
    assert flops == pytest.approx(1.62e15, rel=0.01)
    assert 3600 * gpu_hours(flops, CARDS["h200"], "bfloat16") == pytest.approx(5.8, rel=0.02)


def test_a_cell_without_anything_to_share_costs_what_it_costs_alone() -> None:
    prompt, size = foresee_prompt("llava-1.5-7b", registry())
    whole = RowTrace(prompt.visual, prompt.text, size.decoder.layers, grids=prompt.grids)
    flops, _ = foreseen_flops(size, prompt, arms(), 10, 10)
    assert flops == pytest.approx(10 * realised_flops(whole, size))


def test_sharing_makes_more_cells_and_questions_on_an_image_cheaper() -> None:
    prompt, size = foresee_prompt("llava-1.5-7b", registry())
    alone, _ = foreseen_flops(size, prompt, arms("fastv"), 10, 10)
    together, _ = foreseen_flops(size, prompt, arms("fastv"), 10, 1)
    assert together < 0.9 * alone
    one, _ = foreseen_flops(size, prompt, arms("fastv", budgets=("1/3",)), 10, 10)
    vanilla, _ = foreseen_flops(size, prompt, arms(), 10, 10)
    assert one - vanilla < 0.45 * vanilla, "a third of the tokens, and neither encoder nor first layers again"


def test_a_card_is_a_name_or_a_number_and_float32_has_a_peak_of_its_own() -> None:
    assert parse_card("H100") == CARDS["h100"]
    assert parse_card("RTX 4090") == CARDS["rtx-4090"]
    assert parse_card("123.5").peak("bfloat16") == 123.5
    assert gpu_hours(3600e12 * UTILISATION, parse_card("1"), "float16") == pytest.approx(1)
    assert CARDS["a100"].peak("float32") == 19.5 < CARDS["a100"].peak("float16") == 312
    for text, message in (("h300", "unknown card 'h300': did you mean h200"), ("-4", "above 0"), ("nan", "above 0")):
        with pytest.raises(UsageError) as raised:
            parse_card(text)
        assert message in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("run", "--strategies", "fastv", "--models", "llava-1.5-7b", "--dtype", "bfloat16", "--limit", "4", "-n"),
            r"llava-1\.5-7b: about [\d.]+ seconds on one h100, for [\d.]+ TFLOP at 28 % of the card's peak of 989 TFLOP/s",
        ),
        (
            ("plan", "--strategies", "fastv,clse", "--budgets", "1/3", "--models", "llava-1.5-7b"),
            r"llava-1\.5-7b: about [\d.]+ minutes on one h100, for [\d.]+ PFLOP at 28 % of the card's peak of 989 TFLOP/s",
        ),
    ],
)
def test_both_commands_say_hours_what_they_rest_on_and_how_far_off_they_may_be(
    command: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, "--card", "h100") == 0
    out = capsys.readouterr().out
    assert re.search(said, out)
    assert "of prompts with 576 visual tokens (24 x 24) and 50 text tokens" in out
    assert "off by a factor of two either way" in out


def test_a_plan_counts_the_strategies_and_budgets_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "--strategies", "fastv,clse", "--budgets", "1/3", "--models", "toy-llava", "--card", "50") == 0
    assert re.search(r"\b15,000  answers", capsys.readouterr().out), "5,000 of vanilla and of each strategy"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("run", "--strategies", "fastv", "--card", "h100"), "--card requires --dry-run"),
        (("run", "--strategies", "fastv", "--card", "h300", "-n"), "unknown card 'h300'"),
        (("plan", "--card", "h100"), "--card requires --models and --strategies"),
        (("plan", "--models", "toy-llava"), "--models and --strategies require --card"),
    ],
)
def test_what_does_not_fit_is_one_line(
    command: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_hours_of_clips_whose_frames_are_chosen_are_not_estimated() -> None:
    clips: Any = SimpleNamespace(
        spec=None, tasks=[SimpleNamespace(sampling=None), SimpleNamespace(sampling="8 frames")]
    )
    (line,) = hours_of_run(clips, CARDS["h100"], registry())
    assert line.startswith("GPU hours are not estimated for tasks that show clips")

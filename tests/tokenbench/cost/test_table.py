"""The table of costs: schedules as they run, percentages of vanilla, and everything it rests on said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.folders import save
from tests.tiny import BACKBONES, STRATEGIES, tiny
from tests.tokenbench.commands.test_running import call
from tokenbench.api.pruned import pruned
from tokenbench.cost.macs import flops, prefill_macs
from tokenbench.cost.realised import realised_bytes, realised_flops
from tokenbench.cost.table import BOUND, LATENCY, CostRow, CostTable, costs
from tokenbench.errors import UsageError
from tokenbench.models.source import configuration
from tokenbench.registry.plugins import Registry, registry

PLUGIN = """
import tokenbench
from tokenbench import Backbone, Stage, Strategy

class Some(Strategy):
    def stages(self, depth, budget):
        return [Stage(0, budget.keep, at_most=True)]

class Nothing(Strategy):
    budgeted = False

    def stages(self, depth, budget):
        return [Stage(0, 0)]

class Odd(Backbone):
    model_types = ("llava",)
    source = "nobody/odd"
    published = {"image_seq_length": 576}

@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("some", Some)
    register("nothing", Nothing)

@tokenbench.hookimpl
def tokenbench_register_backbones(register):
    register("odd", Odd)
"""


def priced(model: str, strategies: Sequence[str], budgets: Sequence[str] = ("192",), **options: Any) -> CostTable:
    return costs(model, strategies, budgets, registry(), **options)


def percent(row: CostRow) -> tuple[float, float]:
    return round(row.flops_percent, 1), round(row.kv_percent, 1)


def test_released_schedules_on_llava() -> None:
    vanilla, clse, fastv = priced("llava-1.5-7b", ["clse", "fastv"]).rows
    assert clse.tokens_per_layer == (576,) + (330,) * 10 + (210,) * 10 + (62,) * 11
    assert (clse.mean_tokens, fastv.mean_tokens) == (208.0625, 216)
    assert [percent(row) for row in (vanilla, clse, fastv)] == [(100, 100), (43.5, 17.9), (44.6, 42.5)]
    assert (vanilla.kv_bytes, clse.kv_bytes) == (313 * 2**20, 56 * 2**20)
    assert vanilla.flops == pytest.approx(8.72e12, rel=1e-3)


def test_the_table_says_schedule_cost_and_assumptions() -> None:
    table = str(priced("llava-1.5-7b", ["clse"], ["192", "64"]))
    header, vanilla, clse, *_ = table.splitlines()
    assert vanilla.split() == ["vanilla", "all", "576x32", "576.0", "8.720", "100.0", "313.0", "100.0"]
    assert "576x1 330x10 210x10 62x11" in clse
    assert len(header) == len(vanilla) == len(clse)
    assert "576 visual tokens (24 x 24) and 50 text tokens" in table
    assert table.endswith(LATENCY)
    assert BOUND not in table


def test_a_prompt_of_another_size() -> None:
    table = priced("llava-1.5-7b", ["fastv"], ["1/3"], visual_tokens=2 * 576, text_tokens=10, dtype="float32")
    assert table.rows[1].tokens_per_layer == (1152,) * 2 + (384,) * 30
    assert table.rows[0].kv_bytes == 1162 * 2**20
    assert "1152 visual tokens (2 of 24 x 24) and 10 text tokens" in str(table)


def test_a_clip_is_counted_with_the_cls_of_every_frame() -> None:
    assert "2056 visual tokens (8 x (1 + 16 x 16))" in str(priced("video-llava-7b", ["fastv"]))


def test_any_number_of_tokens_is_an_image_of_qwen() -> None:
    assert "48 visual tokens (6 x 8)" in str(priced("qwen2-vl-7b", ["fastv"], visual_tokens=48))


@pytest.mark.parametrize("model", ["llava-1.5-7b", "internvl2.5-8b", "video-llava-7b"])
def test_tokens_that_fill_no_lattice_are_refused(model: str) -> None:
    with pytest.raises(UsageError, match="but the prompt has 500"):
        priced(model, ["fastv"], visual_tokens=500)


def test_every_strategy_has_a_cost_on_every_model() -> None:
    for model in ("internvl2.5-8b", "llava-1.5-13b", "qwen2.5-vl-7b", "qwen3-vl-8b", "toy-llava", "toy-video-llava"):
        vanilla, *others = priced(model, STRATEGIES, ["1/3"]).rows
        assert len(others) == len(STRATEGIES)
        less = {row.strategy for row in others if row.flops < vanilla.flops and row.kv_bytes < vanilla.kv_bytes}
        assert set(STRATEGIES) - less == {"prumerge-adaptive"}  # what it keeps cannot be foreseen


def test_what_is_calibrated_has_no_cost_before_it_runs() -> None:
    table = priced("llava-1.5-7b", ["prumerge-adaptive", "fastv"], ["1/3"], matched="tokens")
    assert [row.strategy for row in table.rows] == ["vanilla", "fastv"]
    assert "a run calibrates it on samples" in table.infeasible[0]


def test_what_may_be_less_is_marked_and_no_budget_is_run_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    options = (
        "--models",
        "llava-1.5-7b",
        "--strategies",
        "some,nothing",
        "--budgets",
        "1/3,1/9",
        "--plugin",
        str(plugin),
    )
    assert call("cost", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["vanilla", "all"], ["some", "1/3"], ["some", "1/9"], ["nothing", "none"],
    ]  # fmt: skip
    assert ["≤" in line for line in lines[1:5]] == [False, True, True, False]
    assert BOUND in lines
    assert "0x32" in lines[4]


def test_nothing_is_encoded_for_a_decoder_that_sees_no_image(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    _, row = costs("llava-1.5-7b", ["nothing"], ["1/3"], Registry([str(plugin)]), text_tokens=50).rows
    backbone, config = configuration("llava-1.5-7b", registry())
    assert row.flops == flops(prefill_macs(backbone.size(config).decoder, [0] * 32, 50))


def test_a_backbone_that_says_no_sizes_is_named(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    with pytest.raises(UsageError, match=r"the cost of model 'odd' cannot be computed: Odd has no default_grids\(\)"):
        costs("odd", ["some"], ["1/3"], Registry([str(plugin)]))


@pytest.mark.parametrize("strategy", ["clse", "fastv", "pdrop", "priortr", "tome", "vanilla"])
def test_a_run_pays_what_the_table_says(strategy: str, tmp_path: Path) -> None:
    model, prompts = tiny("llava")
    with pruned(model, strategy, "1/3") as pruning:
        model.generate(**prompts[1], max_new_tokens=1)
    (trace,) = pruning.rows
    backbone, config = configuration(str(save("llava", tmp_path)), registry())
    prompt: dict[str, Any] = {"visual_tokens": trace.visual, "text_tokens": trace.text, "dtype": "float32"}
    row = costs(str(tmp_path), [strategy, "fastv"], ["1/3"], registry(), **prompt).rows[strategy != "vanilla"]
    assert list(row.tokens_per_layer) == trace.tokens_per_layer
    assert row.flops == realised_flops(trace, backbone.size(config))
    assert row.kv_bytes == realised_bytes(trace, backbone.size(config), 4)


def test_a_second_forward_is_counted_and_marked() -> None:
    _, once, twice = priced("llava-1.5-7b", ["priortr", "priortr-2f"]).rows
    assert twice.flops > once.flops
    assert (once.upper_bound, twice.upper_bound) == (False, True)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_folder_needs_no_weights(backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for weights in save(backbone, tmp_path).glob("*.safetensors"):
        weights.unlink()
    assert call("cost", "--models", str(tmp_path), "--strategies", "fastv", "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert [row["budget"] for row in found["costs"]] == ["all", "1/3", "2/9", "1/9"]
    assert found["costs"][0]["mean_tokens"] == found["visual_tokens"]


def test_several_models_have_a_table_each(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--models", "llava-1.5-7b,toy-llava", "--strategies", "fastv", "--budgets", "1/3")
    assert call("cost", *options, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [(one["model"], one["visual_tokens"]) for one in found] == [("llava-1.5-7b", 576), ("toy-llava", 144)]
    assert call("cost", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("strategy", "vanilla", "fastv"))] == [
        *("strategy", "vanilla", "fastv"),
        *("strategy", "vanilla", "fastv"),
    ]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--models", "llava", "--strategies", "fastv"], 2, "is an architecture, not a model"),
        (["--models", "llava-1.5-7", "--strategies", "fastv"], 2, "llava-1.5-7b"),
        (["--models", "llava-1.5-7b"], 2, "Missing option '--strategies'"),
        (["--models", ",", "--strategies", "fastv"], 2, "Missing option '--models'"),
        (["--models", "llava-1.5-7b", "--strategies", "vanilla"], 2, "at least one strategy other than vanilla"),
        (["--models", "llava-1.5-7b", "--strategies", "fastv:layer=40"], 2, "decoder of 32 layers"),
        (["--models", "nobody/nothing", "--strategies", "fastv"], 4, "hf download nobody/nothing config.json"),
    ],
)
def test_errors_for_people(options: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("cost", *options) == code
    assert message in capsys.readouterr().err


def test_help_starts_light() -> None:
    code = "import sys; from tokenbench.cli import cli; cli(['cost', '--help'], standalone_mode=False); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"

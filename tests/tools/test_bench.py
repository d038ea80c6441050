"""The efficiency protocol: real launches on tiny models, ratios with intervals, errors for people."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from tests.folders import save
from tests.tiny import BACKBONES, tiny
from tests.tokenbench.commands.test_running import call
from tests.tools.importing.changed import run_of
from tokenbench import pruned
from tokenbench.engine import SelectionTimer
from tokenbench.registry.plugins import registry
from tokenbench.testing import generate
from tokenbench_tools.bench import rounds
from tokenbench_tools.bench.clock import Marks
from tokenbench_tools.bench.launch import measure
from tokenbench_tools.bench.memory import peak_bytes, reset_peak
from tokenbench_tools.bench.protocol import STOCK, Protocol, Way
from tokenbench_tools.bench.ratio import BreakEven, Ratio, break_even, ratio
from tokenbench_tools.bench.rounds import bench

BENCH = ("bench", "--strategies", "vanilla,fastv", "--budgets", "1/4", "--new-tokens", "4", "--text-tokens", "12")
FASTV = Way("fastv", "1/4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llava", tmp_path_factory.mktemp("model"))


def in_this_process(order: dict[str, Any]) -> dict[str, Any]:
    """A launch without the process of its own, which mostly imports torch."""
    return json.loads(json.dumps(measure(order)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = run_of(folder, tmp_path_factory.mktemp("bench") / "run")
    options = ("--launches", "3", "--repetitions", "3", "--visual-tokens", "16,64", "-q", "-o", str(run))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "_launch", in_this_process)
        assert call(*BENCH, "--models", str(folder), *options) == 0
    kept: dict[str, Any] = json.loads((run / "bench.json").read_text())
    return kept


def rows(found: dict[str, Any], strategy: str, budget: str) -> list[dict[str, Any]]:
    (model,) = found["models"]
    return [row for row in model["rows"] if (row["strategy"], row["budget"]) == (strategy, budget)]


@pytest.mark.slow
def test_a_run_directory_keeps_every_number(found: dict[str, Any]) -> None:
    (model,) = found["models"]
    assert found["schema_version"] == 1
    assert len(model["rows"]) == 3 * 2
    assert len(model["conditions"]) == 3
    assert model["hardware"]["threads"] > 0
    for row in model["rows"]:
        assert 0 < row["ttft_seconds"] <= row["ttft_p95_seconds"] * 1.001
        assert row["decode_seconds"] > 0
        assert row["tokens_per_second"] > 0
        assert row["peak_bytes"] > 2**20


def test_ratios_are_to_the_stock_model(found: dict[str, Any]) -> None:
    for row in rows(found, "vanilla", "stock"):
        assert row["ttft_ratio"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    for row in rows(found, "vanilla", "none"):
        assert all(row[f"{what}_ratio"]["low"] < row[f"{what}_ratio"]["high"] for what in ("ttft", "decode", "total"))


@pytest.mark.slow  # two processes, which is what the protocol starts for a launch and for the memory of a way; the others would repeat them
def test_the_stock_model_is_as_fast_as_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []

    def launch(order: dict[str, Any]) -> dict[str, Any]:
        started.append(order)
        return process(order) if order.get("seed") == 0 or order.get("way") == 1 else in_this_process(order)

    process = rounds._launch
    monkeypatch.setattr(rounds, "_launch", launch)
    told: list[str] = []
    protocol = Protocol(str(folder), (STOCK,), launches=4, repetitions=9, new=8, dtype="float32")
    _, again = bench(protocol, registry(), told.append).rows
    assert len(told) == len(started) == 4 + 2
    for one in (again.ttft_ratio, again.decode_ratio):
        assert one.low is not None
        assert one.high is not None
        # One interval in twenty leaves out what is true; then it is nearly in.
        assert one.low <= 1 <= one.high or abs(one.estimate - 1) < 0.1


def test_the_cache_is_as_long_as_the_schedule_says(found: dict[str, Any]) -> None:
    each = 2 * 16 * 4  # keys and values of two heads of 8 numbers of 4 bytes
    full, cut = (rows(found, *way) for way in (("vanilla", "stock"), ("fastv", "1/4")))
    assert [row["kv_bytes"] for row in full] == [6 * (n + 12) * each for n in (16, 64)]
    assert all(a["kv_bytes"] > b["kv_bytes"] for a, b in zip(full, cut, strict=True))


def test_selection_is_timed_where_there_is_one(found: dict[str, Any]) -> None:
    assert all(row["selection_seconds"] == 0 for row in rows(found, "vanilla", "stock"))
    assert all(0 < row["selection_seconds"] < row["ttft_seconds"] for row in rows(found, "fastv", "1/4"))


def test_break_even_is_told_of_every_strategy(found: dict[str, Any]) -> None:
    (model,) = found["models"]
    assert set(model["break_even"]) == {"vanilla at none", "fastv at 1/4"}


def test_intervals_are_those_of_a_t_test_over_launches() -> None:
    own, stock = [1.0, 1.2, 0.9, 1.1, 1.05], [2.0, 2.1, 2.2, 1.9, 2.0]
    found = ratio(own, stock)
    right = stats.ttest_1samp([log(a / b) for a, b in zip(own, stock, strict=True)], 0).confidence_interval(0.95)
    assert (log(found.low or 0), log(found.high or 0)) == pytest.approx((right.low, right.high))
    assert found.low < found.estimate < found.high  # type: ignore[operator]


def test_one_launch_has_no_interval() -> None:
    found = ratio([1.0], [2.0])
    assert (found.estimate, found.low, found.high) == (0.5, None, None)
    assert str(found) == "0.500"


GAIN, LOSS, OPEN = (
    (lambda x: Ratio(x, x * 0.9, x * 1.1)),
    (lambda x: Ratio(x, x * 0.95, x * 1.05)),
    (lambda x: Ratio(x, 0.5, 2.0)),
)


@pytest.mark.parametrize(
    ("ratios", "right"),
    [
        ([(100, GAIN(0.8)), (400, GAIN(0.5))], BreakEven(100, "at most")),
        ([(100, LOSS(1.5)), (400, LOSS(1.1))], BreakEven(400, "above")),
        ([(400, GAIN(0.5)), (100, LOSS(2.0))], BreakEven(200, "about")),
        ([(100, OPEN(1.2)), (400, GAIN(0.5))], BreakEven(400, "at most")),
        ([(100, LOSS(2.0)), (200, OPEN(0.9)), (400, GAIN(0.5))], BreakEven(400, "at most")),
        ([(100, OPEN(0.8)), (400, OPEN(0.7))], None),
        ([(100, LOSS(1.5)), (400, OPEN(0.9))], None),
        ([(100, GAIN(0.5)), (400, LOSS(1.5))], BreakEven(400, "above")),
        ([(100, Ratio(0.5, None, None))], None),
    ],
)
def test_break_even_is_said_only_where_intervals_exclude_one(
    ratios: list[tuple[int, Ratio]], right: BreakEven | None
) -> None:
    found = break_even(ratios)
    assert (found is None) == (right is None)
    if found is not None and right is not None:
        assert (found.visual, found.bound) == (pytest.approx(right.visual), right.bound)


@pytest.mark.parametrize("strategy", ["fastv", "clse", "pdrop", "priortr-2f", "visionzip"])
def test_selection_takes_less_than_all_that_is_run(strategy: str) -> None:
    model, prompts = tiny("llava")
    timer = SelectionTimer(cuda=False)
    with pruned(model, strategy, "1/3") as pruning:
        pruning.timer = timer
        marks = Marks(cuda=False)
        generate(model, prompts[0], 2, logits_processor=[marks])
    assert 0 < timer.seconds < sum(marks.seconds())
    assert len(marks.seconds()) == 2


def test_the_peak_is_that_of_the_stretch() -> None:
    reset_peak(cuda=False)
    before = peak_bytes(cuda=False)
    torch.ones(64 * 2**20)
    assert peak_bytes(cuda=False) - before > 200 * 2**20


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_makes_prompts_up(backbone: str) -> None:
    adapter, (model, _) = registry().get("backbones", backbone)(), tiny(backbone)
    length = 60 if backbone.startswith("qwen") else None
    grids = adapter.default_grids(model.config, length)
    with pruned(model, "fastv", "1/3") as pruning:
        generate(model, adapter.dummy_inputs(model.config, grids, 20), 2)
    (row,) = pruning.rows
    assert (row.text, row.grids) == (20, grids)
    assert row.mean_tokens < row.visual


def test_random_weights_need_no_files_and_layers_cut_the_depth(folder: Path) -> None:
    protocol = Protocol(
        str(folder), (FASTV,), random_weights=True, layers=4, launches=1, repetitions=1, dtype="float32"
    )
    answer = measure({"protocol": protocol.to_json(), "seed": 0})
    stock, _ = answer["passes"]
    assert stock["cache"] == 4 * (16 + 50) * 2 * 16 * 4


def test_protocols_go_round_as_json() -> None:
    protocol = Protocol("a", (FASTV,), lengths=(None, 64), plugins=("x.py",))
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--models", "no-such"), 2, "unknown model 'no-such'"),
        ((), 2, "Missing option '--models'"),
        (("--models", "MODEL", "--strategies", "fastvv"), 2, "did you mean fastv"),
        (("--models", "MODEL", "--visual-tokens", "many"), 2, "--visual-tokens takes whole numbers above 0, not many"),
        (("--models", "MODEL", "--load", "0"), 2, "--load takes whole numbers above 0, not 0"),
        (("--models", "MODEL", "--largest-batch", "4"), 2, "--largest-batch requires --load"),
        (("--models", "MODEL", "--random-weights", "--quantization", "bnb-4bit"), 2, "leave out --random-weights"),
        (("--models", "MODEL", "--visual-tokens", "17"), 2, "16 visual tokens"),
        (("--models", "MODEL", "--text-tokens", "1"), 2, "text tokens"),
        (("--models", "MODEL", "--layers", "99"), 2, "the decoder has 6 layers"),
        (("--models", "MODEL", "--strategies", "fastv:layer=9"), 2, "cannot run on a decoder of 6 layers"),
        (("--models", "MODEL", "-o", "nowhere"), 2, "is not a run directory"),
        (("--models", "MODEL", "--device", "cuda", "--launches", "1"), 4, "torch sees no such device"),
    ],
)
def test_errors_are_one_line(
    options: tuple[str, ...], code: int, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    given = [str(folder) if option == "MODEL" else option for option in options]
    assert call(*BENCH, "-q", *given) == code
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1

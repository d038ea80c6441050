"""Strategies that decide their own counts are calibrated until their mean work on held-out samples is that of a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from tokenbench import Budget, Dial, Run, Selection, Stage, Strategy, Suite, View
from tokenbench.errors import InfeasibleError, StrategyError, UsageError
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import suite_alone
from tokenbench.runner import calibration
from tokenbench.runner.calibration import STEPS, _Search
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve
from tokenbench.runner.work import works_of
from tokenbench.store.calibrated import Calibration
from tokenbench_reports.document import make_document
from tokenbench_reports.reproduce import command

HELD_OUT, LIMIT, TOKENS = 8, 4, 144
ASKED: dict[str, Any] = {"tasks": "attribute", "floors": False, "limit": LIMIT, "match": "tokens", "held_out": HELD_OUT}


class Loud(Strategy):
    """Keeps the tokens whose norm exceeds a threshold, and the first one in any case."""

    budgeted: ClassVar[bool] = False
    dial: ClassVar[Dial | None] = Dial("theta", 0.0, 500.0, rising=False)
    theta: float = 200.0

    def schedule(self, depth: int, budget: Budget) -> list[tuple[int, None]]:
        return [(0, None)]

    def stage(self, layer: int, keep: Any, index: int) -> Stage:
        return Stage(layer, keep, hidden=(0,))

    def select(self, view: View) -> Selection:
        loud = norms(view.hidden[0]) > self.theta
        return Selection(loud.index_fill(0, torch.tensor([0]), True).nonzero().flatten())


class Narrow(Loud):
    """Its dial reaches next to nothing."""

    dial: ClassVar[Dial | None] = Dial("theta", 400.0, 500.0, rising=False)


class Backwards(Loud):
    """Its dial is declared to turn the other way."""

    dial: ClassVar[Dial | None] = Dial("theta", 0.0, 500.0, rising=True)


class Stubborn(Loud):
    """Decides its own counts, and has no dial."""

    dial: ClassVar[Dial | None] = None


def norms(states: Tensor) -> Tensor:
    return states.double().norm(dim=-1)


def seen_norms(first: int, count: int) -> Tensor:
    """[count, n] norms of the visual tokens of samples, from the stock model's own image features."""
    model = Model("toy-llava", locate("toy-llava", registry()))
    model.load()
    (task,) = (task for task in suite_alone("image", registry()).tasks if task.name == "attribute")
    loaded = [model.load_samples([sample]) for sample in task.samples()[first : first + count]]
    with torch.inference_mode():
        found = [
            model._model.get_image_features(pixel_values=next(iter(one.media["image"].values()))["pixel_values"])
            for one in loaded
        ]
    return torch.stack([norms(getattr(one, "pooler_output", one)[0]) for one in found])


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    tokenbench.run([Loud(), Narrow(), Backwards(), Stubborn(), "fastv"], folder, budgets="1/3,1/9", **ASKED)
    return folder


def test_a_threshold_is_where_the_loudest_tokens_of_all_held_out_samples_begin(folder: Path) -> None:
    """Independently of any search: of the norms of all held-out tokens together, as many are above it as budgets allow."""
    every = seen_norms(0, HELD_OUT).flatten().sort(descending=True).values
    for found in manifest(folder)["calibration"]:
        if found["strategy"] == "Loud":
            wanted = {"1/3": TOKENS // 3, "1/9": TOKENS // 9}[found["budget"]]
            above = int((every > found["value"]).sum())
            assert above == pytest.approx(
                wanted * HELD_OUT, rel=1e-3, abs=HELD_OUT
            )  # one token a sample is always kept
            assert found["target"] == wanted
            assert found["reached"] == pytest.approx(wanted, rel=1e-3)
            assert found["held_out"] == HELD_OUT


def test_what_ran_is_what_the_value_says_sample_by_sample(folder: Path) -> None:
    """The traces of the counted samples, which no calibration saw, against the stock model's norms."""
    samples = Run.open(folder).samples()
    values = {one["budget"]: one["value"] for one in manifest(folder)["calibration"] if one["strategy"] == "Loud"}
    for budget, rows in samples[samples["strategy"] == "Loud"].groupby("budget"):
        loud = seen_norms(HELD_OUT, LIMIT) > values[str(budget)]
        loud[:, 0] = True
        assert rows["realised_tokens"].tolist() == loud.sum(1).tolist()
        assert rows["realised_tokens"].nunique() > 1


def test_a_warning_names_work_that_is_not_that_of_the_budget(folder: Path) -> None:
    """The means are those of the records, and 144 tokens make 48 and 16 of the two budgets."""
    run = Run.open(folder)
    means = run.samples().groupby(["strategy", "budget"])["realised_tokens"].mean()
    said = [text for text in make_document(run.compare(), run.about()).warnings if "not compared at equal work" in text]
    off = [
        (name, of)
        for name, of in means.index
        if name != "vanilla" and abs(means[name, of] / {"1/3": 48, "1/9": 16}[of] - 1) > 0.01
    ]
    assert off
    assert len(said) == len(off)
    for (name, of), text in zip(off, sorted(said), strict=True):
        assert (
            f"{name} at {of} takes {means[name, of]:.1f} visual tokens per layer where the budget stands for {48 if of == '1/3' else 16}.0"
            in text
        )


def test_a_capped_number_of_held_out_samples_and_a_distant_value_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    suite = suite_alone("image", registry())
    (task,) = (one for one in suite.tasks if one.name == "attribute")
    twenty = task.samples()[:20]
    monkeypatch.setattr(task, "samples", lambda: twenty)
    request = Request.of(
        {
            "suite": Suite("few", "", (task,), "toy-llava"),
            "strategies": [Loud()],
            "budgets": "1/3",
            "match": "tokens",
            "held_out": 8,
            "floors": False,
        }
    )
    works = works_of(resolve(request, registry()), registry(), "cpu")
    calibration.calibrate(works, 8, True, said.append)
    assert "5 of the 8 asked for: at most a quarter of a task's 20 samples" in said[0]
    found = dict(
        base="",
        model="m",
        strategy="s",
        budget="1/3",
        seed=0,
        task="t",
        parameter="p",
        value=1.0,
        unit="tokens",
        target=48.0,
        held_out=5,
    )
    assert calibration._describe(Calibration(**found, reached=57.6)).endswith(
        "the budget is 48.0 (the nearest found is 20.0 % above it)"
    )
    assert calibration._describe(Calibration(**found, reached=48.4)).endswith("the budget is 48.0")


def test_samples_that_are_held_out_for_nothing_are_mentioned() -> None:
    said: list[str] = []
    request = Request.of(
        {"tasks": "attribute", "strategies": "fastv", "match": "tokens", "held_out": 8, "limit": 4, "floors": False}
    )
    calibration.calibrate(works_of(resolve(request, registry()), registry(), "cpu"), 8, True, said.append)
    assert len(said) == 1
    assert "although no strategy is calibrated" in said[0]


def test_all_arms_are_asked_the_samples_after_those_that_are_held_out(folder: Path) -> None:
    (task,) = (task for task in suite_alone("image", registry()).tasks if task.name == "attribute")
    asked = [sample.key for sample in task.samples()[HELD_OUT : HELD_OUT + LIMIT]]
    samples = Run.open(folder).samples(["sample"])
    for _, rows in samples.groupby(["strategy", "budget"]):
        assert rows["sample"].tolist() == asked
    assert set(samples["strategy"]) == {"vanilla", "Loud", "fastv"}
    assert {key for _, key in Run.open(folder, tasks=[task]).questions()} == set(asked)


def test_what_cannot_be_matched_says_why(folder: Path) -> None:
    failures = {(one["strategy"], one["budget"]): (one["kind"], one["reason"]) for one in Run.open(folder).failures()}
    kind, reason = failures["Narrow", "1/3"]
    assert kind == "infeasible"
    assert (
        "budget 1/3 stands for 48.0 visual tokens per layer, and with theta from 500 to 400 it reaches 1.0 to 1.0"
        in reason
    )
    kind, reason = failures["Backwards", "1/9"]
    assert kind == "failed"
    assert "declared to keep more with theta from 0 to 500, but keeps less" in reason
    kind, reason = failures["Stubborn", "none"]
    assert kind == "infeasible"
    assert "declares no dial" in reason


def test_the_report_says_how_equal_the_work_is(folder: Path) -> None:
    (found, *_) = (one for one in Run.open(folder).about()["calibration"] if one["strategy"] == "Loud")
    samples = Run.open(folder).samples()
    own = samples[(samples["strategy"] == "Loud") & (samples["budget"] == found["budget"])]
    for name, column in (("tokens", "realised_tokens"), ("flops", "flops")):
        mean, low, high = found[name]
        assert mean == pytest.approx(own[column].mean())
        assert own[column].min() <= low < mean < high <= own[column].max()
    said = command(Run.open(folder).about())
    assert "--match tokens" in said
    assert "--held-out 8" in said


def test_a_run_that_grows_is_not_calibrated_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = manifest(folder)
    monkeypatch.setattr(calibration._HeldOut, "measure", lambda *args: pytest.fail("calibrated again"))
    tokenbench.run([Loud(), Narrow(), Backwards(), Stubborn()], folder, budgets="1/3", **{**ASKED, "limit": LIMIT + 1})
    after = manifest(folder)
    assert after["calibration"] == before["calibration"]
    assert {cell["id"] for cell in before["cells"]} == {cell["id"] for cell in after["cells"]}
    assert len(Run.open(folder).samples(["sample"]).query("strategy == 'Loud' and budget == '1/3'")) == LIMIT + 1


def test_the_value_is_a_part_of_the_cell(folder: Path) -> None:
    held = manifest(folder)
    (found,) = (one for one in held["calibration"] if (one["strategy"], one["budget"]) == ("Loud", "1/3"))
    (cell,) = (one for one in held["cells"] if (one["strategy"], one["budget"]) == ("Loud", "1/3"))
    budget = held["parts"][cell["parts"]["budget"]]
    assert budget["dial"] == f"theta={found['value']}"
    assert cell["id"] != found["base"]


@pytest.mark.parametrize(
    ("strategies", "changes", "message"),
    [
        ([Loud(theta=7.0)], {}, "sets 'theta', whose value is found by calibration"),
        (["fastv"], {"match": "nominal"}, "held_out requires match tokens or flops"),
    ],
)
def test_what_is_refused_before_anything_runs(
    strategies: list[Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        tokenbench.run(strategies, tmp_path / "run", **{**ASKED, **changes})


def test_a_run_that_held_nothing_out_cannot_begin_to(tmp_path: Path) -> None:
    asked = {**ASKED, "limit": 1, "budgets": "1/3"}
    tokenbench.run("fastv", tmp_path / "run", **{**asked, "held_out": None})
    with pytest.raises(UsageError, match="held_out: 0 -> 64"):
        tokenbench.run([Loud()], tmp_path / "run", **{**asked, "held_out": None})


@pytest.mark.slow
def test_flops_are_those_of_the_decoders_matrices(tmp_path: Path) -> None:
    """The budget's FLOPs by hand, from the configuration: two for every number of a matrix and every pair of tokens."""
    folder = tmp_path / "run"
    tokenbench.run([Loud()], folder, budgets="1/3", **{**ASKED, "match": "flops"})
    (found,) = manifest(folder)["calibration"]
    model = Model("toy-llava", locate("toy-llava", registry()))
    model.load()
    text, decoder = model._model.config.text_config, model._model.model.language_model.layers
    weights = sum(p.numel() for name, p in decoder[0].named_parameters() if p.ndim == 2)
    heads = text.num_attention_heads * decoder[0].self_attn.head_dim
    (task,) = (task for task in suite_alone("image", registry()).tasks if task.name == "attribute")
    words = [
        int(model.load_samples([sample]).inputs["attention_mask"].sum()) - TOKENS
        for sample in task.samples()[:HELD_OUT]
    ]

    def by_hand(tokens: list[int]) -> float:
        lengths = [n + more for n, more in zip(tokens, words, strict=True)]
        layers = sum(2 * n * weights + 4 * n * n * heads for n in lengths) * len(decoder)
        return layers / len(lengths) + 2 * text.hidden_size * text.vocab_size

    loud = seen_norms(0, HELD_OUT) > found["value"]
    loud[:, 0] = True
    assert found["target"] == pytest.approx(by_hand([TOKENS // 3] * HELD_OUT))
    assert found["reached"] == pytest.approx(by_hand(loud.sum(1).tolist()))
    assert found["reached"] == pytest.approx(found["target"], rel=2e-3)


class FakeWork:
    """As much of a run's work as a search asks for."""

    match = "tokens"
    held_out: ClassVar[dict[str, range]] = {"task": range(10)}

    def __init__(self, dial: Dial) -> None:
        names = {"model": "m", "strategy": "s", "budget": "1/3", "seed": 0, "task": "task"}
        cell = type("FakeCell", (), {"id": "0" * 20, "names": {"id": "0" * 20, **names}})()
        self.cells, self.dials = {(1, "task"): cell}, {1: dial}


def search(dial: Dial, mean: Callable[[float], float], target: float) -> tuple[Any, list[float]]:
    found, tried = _Search(FakeWork(dial), 1, "task"), []  # type: ignore[arg-type]
    while found.next is not None:
        tried.append(found.next)
        found.learn((mean(found.next), target))
    return found.result(), tried


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("share", [0.03, 1 / 9, 1 / 3, 0.97])
def test_a_count_that_is_a_function_of_the_dial_is_inverted(rising: bool, share: float) -> None:
    """576 v^3 tokens at v, or at 1 - v: the value is known in closed form."""
    inverse = share ** (1 / 3)
    found, tried = search(Dial("v", 0.0, 1.0, rising), lambda v: 576 * (v if rising else 1 - v) ** 3, 576 * share)
    assert found.reached == pytest.approx(576 * share, rel=calibration.CLOSE)
    assert found.value == pytest.approx(inverse if rising else 1 - inverse, abs=calibration.CLOSE)
    assert len(tried) <= STEPS + 2


def test_of_a_count_that_jumps_the_nearest_is_taken() -> None:
    found, tried = search(Dial("v", 0.0, 1.0, True), lambda v: 40.0 if v < 0.3 else 70.0, 50.0)
    assert (found.value is not None and found.value < 0.3, found.reached) == (True, 40.0)
    assert len(tried) == STEPS + 2


def test_a_strategy_that_fails_has_no_value() -> None:
    for error, kind in ((StrategyError("broke"), "failed"), (InfeasibleError("cannot"), "infeasible")):
        found = _Search(FakeWork(Dial("v", 0.0, 1.0, True)), 1, "task")  # type: ignore[arg-type]
        found.learn(error)
        assert (found.result().value, found.result().kind, found.next) == (None, kind, None)

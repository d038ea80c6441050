"""A strategy that breaks the contract, or cannot do what was asked for, loses its own cells and no others."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.tokenbench.commands.test_running import call
from tokenbench.contract.backbone import Backbone
from tokenbench.contract.stage import Stage
from tokenbench.errors import InfeasibleError

BROKEN = """
import torch
import tokenbench
from tokenbench import Selection, Strategy


class Degenerate(Strategy):
    how: str = "nan"

    def schedule(self, depth, budget):
        return [(1, 1.0 if self.how == "everything" else None if self.how == "all" else budget.keep)]

    def score(self, view):
        return {
            "nan": torch.full((view.n,), float("nan")),
            "short": torch.rand(view.n - 1),
            "everything": torch.rand(view.n),
        }[self.how]

    def select(self, view):
        indices = torch.arange(view.k)
        if self.how == "twice":
            indices[1] = 0
        elif self.how == "beyond":
            indices[-1] = view.n
        elif self.how == "crash":
            raise IndexError("list index out of range")
        elif self.how != "all":
            return super().select(view)
        return Selection(indices)


@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("degenerate", Degenerate)
"""
WAYS = {
    "nan": "144 of 144 scores are NaN",
    "short": "score() must return a tensor of shape [144], not [143]",
    "everything": "keeps all 144 visual tokens in every layer at budget 1/9",
    "all": "keeps all 144 visual tokens in every layer at budget 1/9",
    "twice": "distinct indices below 144",
    "beyond": "distinct indices below 144",
    "crash": "IndexError: list index out of range",
}
FEW = ["--budgets", "1/9", "--tasks", "attribute", "--limit", "3", "-q", "--no-floors"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken.py").write_text(BROKEN)
    names = ",".join(f"degenerate:how={way}" for way in WAYS)
    arguments = ["run", *FEW, "--plugin", str(folder / "broken.py"), "--strategies", f"fastv,{names}"]
    assert call(*arguments, "-o", str(folder / "run")) == 3
    return folder


def test_other_cells_finish(broken: Path) -> None:
    samples = tokenbench.Run.open(broken / "run").samples()
    assert samples.groupby("strategy").size().to_dict() == {"vanilla": 3, "fastv": 3}
    assert "degenerate" in (broken / "run" / "report" / "summary.md").read_text()


@pytest.mark.parametrize("way", WAYS)
def test_every_degenerate_strategy_is_named_with_what_is_wrong(broken: Path, way: str) -> None:
    failures = tokenbench.Run.open(broken / "run").failures()
    name = "degenerate" if way == "nan" else f"degenerate:how={way}"
    (failure,) = [failure for failure in failures if failure["strategy"] == name]
    assert failure["kind"] == "failed"
    assert f"strategy {name}" in failure["reason"]
    assert WAYS[way] in failure["reason"]


def test_a_mended_strategy_finishes_its_cells(tmp_path: Path, without_reports: None) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN)
    arguments = ["run", *FEW, "--plugin", str(plugin), "--strategies", "degenerate", "-o", str(tmp_path / "run")]
    assert call(*arguments) == 3
    plugin.write_text(BROKEN.replace('float("nan")', "1.0"))
    assert call(*arguments) == 0
    run = tokenbench.Run.open(tmp_path / "run")
    assert not run.failures()
    assert set(run.samples()["strategy"]) == {"vanilla", "degenerate"}


def test_an_infeasible_cell_is_reported_and_the_run_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert call("run", *FEW, "--strategies", "fastv:layer=3,divprune", "--match", "tokens", "-o", str(folder)) == 0
    run = tokenbench.Run.open(folder)
    (failure,) = run.failures()
    assert (failure["strategy"], failure["kind"]) == ("fastv:layer=3", "infeasible")
    assert "none are dropped before layer 3; the budget is 16" in failure["reason"]
    assert "fastv:layer=3 at 1/9 is infeasible" in " ".join(capsys.readouterr().out.split())
    assert set(run.samples()["strategy"]) == {"vanilla", "divprune"}
    assert json.loads((folder / "run.json").read_text())["spec"]["match"] == "tokens"


def test_a_strategy_that_reads_what_the_backbone_does_not_describe_loses_its_own_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_reports: None
) -> None:
    def refuse(backbone: Backbone, stage: Stage) -> None:
        if stage.reads_encoder:
            raise InfeasibleError("reads the vision encoder, which nobody described")

    monkeypatch.setattr(Backbone, "check_stage", refuse)
    folder = tmp_path / "run"
    assert call("run", *FEW, "--strategies", "visionzip,fastv", "-o", str(folder)) == 0
    run = tokenbench.Run.open(folder)
    (failure,) = run.failures()
    assert (failure["strategy"], failure["kind"]) == ("visionzip", "infeasible")
    assert failure["reason"] == "strategy visionzip reads the vision encoder, which nobody described"
    assert run.samples().groupby("strategy").size().to_dict() == {"vanilla": 3, "fastv": 3}


class Failed(tokenbench.Run):
    """Two models, two tasks and three strategies; what fails is said, not run. Vanilla's failed cells hold answers of others."""

    def __init__(self, *failures: tuple[str, str, str]) -> None:
        self._failures = failures
        self._store = SimpleNamespace(left_out=SimpleNamespace(all=list))  # type: ignore[assignment]

    def failures(self) -> list[dict[str, Any]]:
        names = ("model", "strategy", "task")
        return [dict(zip(names, failure, strict=True), budget=budget(failure[1])) for failure in self._failures]

    def samples(self) -> pd.DataFrame:
        cells = [
            (model, strategy, budget(strategy), task)
            for model, strategy, task in product(("big", "small"), ("vanilla", "good", "bad"), ("easy", "hard"))
            if (model, strategy, task) not in self._failures
        ]
        return pd.DataFrame(cells, columns=["model", "strategy", "budget", "task"])

    def left(self) -> set[str]:
        frame = self.whole()
        return set(frame["model"] + " " + frame["strategy"] + " " + frame["task"])


def budget(strategy: str) -> str:
    return "all" if strategy == "vanilla" else "1/9"


def test_a_task_without_vanilla_is_left_out_and_the_strategies_stay() -> None:
    """Without vanilla there is nothing to compare with; that the strategy failed there as well costs it nothing."""
    run = Failed(("big", "vanilla", "hard"), ("big", "bad", "hard"))
    small = {f"small {strategy} {task}" for strategy in ("vanilla", "good", "bad") for task in ("easy", "hard")}
    assert run.left() == small | {"big vanilla easy", "big good easy", "big bad easy"}


def test_a_strategy_that_failed_on_a_task_is_left_out_of_all_on_that_model() -> None:
    """A mean over fewer tasks than the others' would not be comparable."""
    run = Failed(("big", "bad", "hard"))
    whole = Failed().left()
    assert len(whole) == 12
    assert run.left() == whole - {"big bad easy", "big bad hard"}

"""Passes: which plans run side by side, and what happens when memory is short or a plan fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from tests.tokenbench.commands.test_running import call, table
from tokenbench import Budget
from tokenbench.contract.sizes import DecoderSize
from tokenbench.cost.macs import cache_bytes
from tokenbench.engine import RowPlan
from tokenbench.models.model import Model
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.runner.memory import free_bytes, row_bytes
from tokenbench.runner.passes import BatchQuestions

pytestmark = pytest.mark.usefixtures("without_reports")

FEW = [
    "--strategies",
    "fastv,clse,divprune",
    "--budgets",
    "1/3,1/9",
    "--tasks",
    "attribute,reading",
    "--limit",
    "3",
    "--seeds",
    "0",
]


def test_a_row_takes_at_least_its_cache() -> None:
    size = DecoderSize(32, 4096, 4096, 4096, 11008, 3, 32064)
    assert row_bytes(size, 626, [626] * 32, 2) > cache_bytes(size, [626] * 32, 2)
    assert free_bytes("cpu") > 2**20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert call("run", *FEW, "-q", "-o", str(folder)) == 0
    return folder


def short_of_memory(most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A prefill of more than so many rows fails as torch does; the rows of every call are noted."""
    prefill, calls = Model.prefill, []

    def limited(self: Model, batch: Any, pruner: Any, plans: Any, limits: Any) -> Any:
        calls.append(len(plans))
        if len(plans) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prefill(self, batch, pruner, plans, limits)

    monkeypatch.setattr(Model, "prefill", limited)
    return calls


@pytest.mark.parametrize("most", [5, *(pytest.param(most, marks=pytest.mark.slow) for most in (7, 1))])
def test_too_little_memory_halves_the_batch_and_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    calls = short_of_memory(most, monkeypatch)
    assert call("run", *FEW, "-q", "-o", str(tmp_path / "run")) == 0
    assert max(calls) > most
    columns = ["strategy", "budget", "seed", "task", "sample", "answer", "score"]
    pd.testing.assert_frame_equal(table(tmp_path / "run")[columns], table(whole)[columns])


def test_too_little_memory_for_all_answers_at_once_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, calls = Model.decode, []

    def limited(self: Model, begun: Any) -> Any:
        calls.append(len(begun))
        if len(begun) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(self, begun)

    monkeypatch.setattr(Model, "decode", limited)
    assert call("run", *FEW, "-q", "-o", str(tmp_path / "run")) == 0
    assert max(calls) > 1
    columns = ["strategy", "budget", "seed", "task", "sample", "answer", "score"]
    pd.testing.assert_frame_equal(table(tmp_path / "run")[columns], table(whole)[columns])


def test_what_never_fits_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    short_of_memory(0, monkeypatch)
    assert call("run", *FEW, "-q", "-o", str(tmp_path / "run")) == 4
    assert "does not fit into memory even with one question per batch" in capsys.readouterr().err


def test_one_image_is_treated_once(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions show it, and however many cells there are."""
    import transformers

    seen: list[int] = []
    processor: Any = transformers.CLIPImageProcessor
    own = processor.__call__

    def counted(self: Any, images: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(images))
        return own(self, images, *args, **options)

    monkeypatch.setattr(processor, "__call__", counted)
    assert call("run", *FEW, "-q", "-o", str(tmp_path / "run")) == 0
    assert 0 < sum(seen) <= table(whole)["cluster"].nunique() + 2 * 12  # and what the check of budgets looked at


def test_alone_or_in_company_answers_are_the_same(whole: Path, tmp_path: Path) -> None:
    together = table(whole)
    for strategy in ("fastv", "clse", "divprune"):
        folder = tmp_path / strategy
        assert call("run", "--strategies", strategy, *FEW[2:], "--no-floors", "-q", "-o", str(folder)) == 0
        alone = table(folder)
        for name in (strategy, "vanilla"):
            ours, theirs = (frame[frame["strategy"] == name].reset_index(drop=True) for frame in (alone, together))
            assert ours["answer"].equals(theirs["answer"])
            assert ours["kept"].map(list).equals(theirs["kept"].map(list))


def test_rows_that_are_calibrated_apart_are_not_alike() -> None:
    """Two tasks on one image, whose plans differ: the second one must not be given what the first one kept."""
    strategy = parse_strategy("fastv", registry()).strategy
    plans = [RowPlan.make(strategy, Budget.parse(share), 32, name="fastv") for share in ("1/3", "1/9")]
    batch: Any = SimpleNamespace(same=[0, 0, 0, 0])
    own = {(1, 0): plans[0], (1, 1): plans[0], (1, 2): plans[1], (1, 3): plans[1]}
    asked = BatchQuestions(batch, ["a", "b", "c", "d"], [1] * 4, own)
    assert asked.alike(1) == [0, 0, 2, 2]
    assert asked.alike(2) == [0, 0, 0, 0]

"""Models that are objects: they run as those of a folder do, and a run without them says what it needs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

import tokenbench
from tests.processes import count_questions
from tests.tokenbench.commands.test_running import call
from tests.tokenbench.models.test_placing import spread
from tokenbench import Executor, LoadedModel, UsageError
from tokenbench.registry.plugins import registry

TOY = Path(registry().get("backbones", "toy-llava").source)
FEW: dict[str, Any] = {"tasks": "attribute", "limit": 3, "budgets": "1/3", "floors": False}


def toy(name: str = "mine", dtype: torch.dtype = torch.float32) -> LoadedModel:
    return LoadedModel(
        AutoModelForImageTextToText.from_pretrained(TOY, dtype=dtype), AutoProcessor.from_pretrained(TOY), name
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    return count_questions(monkeypatch)


def test_an_object_answers_as_its_folder_does_and_is_left_as_it_was(tmp_path: Path) -> None:
    mine = toy()
    mine.model.generation_config.repetition_penalty = 3.0
    mine.model.train()
    sides = mine.processor.tokenizer.padding_side
    run = tokenbench.run(["fastv", "clse", "visionzip"], tmp_path / "run", models=["toy-llava", mine], **FEW)
    table = run.samples()
    table["kept"] = table["kept"].map(list)
    one, other = (
        table[table["model"] == name].drop(columns=["model", "seconds"]).reset_index(drop=True)
        for name in ("toy-llava", "mine")
    )
    assert len(one) == 4 * 3
    pd.testing.assert_frame_equal(one, other)
    assert mine.model.generation_config.repetition_penalty == 3.0
    assert mine.model.training
    assert mine.processor.tokenizer.padding_side == sides
    assert any("a model object that was passed to tokenbench.run" in note for note in run.manifest["notes"])


@pytest.mark.slow
def test_its_weights_are_its_identity(tmp_path: Path, asked: Counter[Any]) -> None:
    """An equal object of another load goes on; one changed weight computes everything again."""
    tokenbench.run("fastv", tmp_path / "run", models=toy(), **FEW)
    before = Counter(asked)
    tokenbench.run("fastv", tmp_path / "run", models=toy(), **FEW)
    assert asked == before
    other = toy()
    with torch.no_grad():
        other.model.model.language_model.norm.weight[0] += 1
    tokenbench.run("fastv", tmp_path / "run", models=other, **FEW)
    assert sum(asked.values()) == 2 * sum(before.values())
    third = toy()
    third.processor.image_processor.image_mean = [0.1, 0.1, 0.1]
    tokenbench.run("fastv", tmp_path / "run", models=third, **FEW)
    assert sum(asked.values()) == 3 * sum(before.values())


@pytest.mark.slow
def test_weights_that_are_not_in_memory_have_no_hash_and_it_is_said(tmp_path: Path, asked: Counter[Any]) -> None:
    pytest.importorskip("accelerate", reason="needs accelerate")
    folded = spread("cpu", {3})
    for _ in range(2):
        model = AutoModelForImageTextToText.from_pretrained(
            TOY, device_map=folded, offload_folder=str(tmp_path / "weights"), dtype=torch.float32
        )
        mine = LoadedModel(model, AutoProcessor.from_pretrained(TOY), "mine")
        run = tokenbench.run("fastv", tmp_path / "run", models=mine, **FEW)
    assert set(asked.values()) == {2}
    assert any("could not be hashed" in note for note in run.manifest["notes"])


def test_without_the_object_a_run_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    tokenbench.run("fastv", folder, models=toy(), **FEW)
    before = (folder / "run.json").read_bytes()
    assert call("resume", str(folder), "--models", "mine") == 2
    assert "the run's model 'mine' is an object of the class LlavaForConditionalGeneration" in capsys.readouterr().err
    with pytest.raises(UsageError, match="'mine' is an object of the class"):
        tokenbench.run("clse", folder, models="toy-llava", **FEW)
    assert (folder / "run.json").read_bytes() == before
    assert call("report", str(folder)) == 0
    run = tokenbench.run(["fastv", "clse"], folder, models=toy(), **FEW)
    assert set(run.samples()["strategy"]) == {"vanilla", "fastv", "clse"}


@pytest.mark.slow
def test_its_type_of_numbers_is_that_of_the_run(tmp_path: Path) -> None:
    run = tokenbench.run("fastv", tmp_path / "run", models=toy(dtype=torch.bfloat16), **FEW)
    assert run.manifest["spec"]["dtype"] == "bfloat16"
    with pytest.raises(UsageError, match="mine is in bfloat16, and the run in float32"):
        tokenbench.run("fastv", tmp_path / "other", models=["toy-llava", toy(dtype=torch.bfloat16)], **FEW)


class Elsewhere(Executor):
    def run(self, job: Any, bar: Any) -> None:
        pytest.fail("it was asked to run")


def test_what_an_object_cannot_be_is_refused(tmp_path: Path) -> None:
    mine = toy()
    with pytest.raises(UsageError, match="is not a name, a folder or a Hugging Face id") as error:
        tokenbench.run("fastv", tmp_path / "run", models=mine.model, **FEW)
    assert "tokenbench.LoadedModel(model, processor)" in error.value.hint
    with pytest.raises(UsageError, match="cannot have the name 'toy-llava'"):
        tokenbench.run("fastv", tmp_path / "run", models=toy("toy-llava"), **FEW)
    with pytest.raises(UsageError, match="two models have the name"):
        tokenbench.run("fastv", tmp_path / "run", models=[mine, toy()], **FEW)
    with pytest.raises(UsageError, match="which has no tokenizer"):
        tokenbench.run("fastv", tmp_path / "run", models=LoadedModel(mine.model, object(), "mine"), **FEW)
    with pytest.raises(UsageError, match="works in other processes, which cannot make 'mine'"):
        tokenbench.run("fastv", tmp_path / "run", models=mine, executor=Elsewhere(), **FEW)
    assert not list(tmp_path.iterdir())

"""A training on the CPU: it learns, resumes to the same bits, and exports what stock transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from training import loop, model, toy_llava, toy_video_llava
from training.batches import Batch
from training.command import Recipe, run_command
from training.loop import Machine, load_phase, run_phase
from training.phases import ANSWERS, ENDINGS, Phase

CPU = Machine(torch.device("cpu"))
SMALL = Phase("answers", 6, 2, 0, 3e-3, warm_up=0.05, decay=0.6, dense=0.4, end=0.5, growing=True)
RECIPES = {"toy-llava": toy_llava.RECIPE, "toy-video-llava": toy_video_llava.RECIPE}


@pytest.fixture(params=["toy-llava", pytest.param("toy-video-llava", marks=pytest.mark.slow)])
def recipe(request: pytest.FixtureRequest, small: None) -> Recipe:
    return RECIPES[request.param]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same classes, narrower and with fewer layers."""
    monkeypatch.setattr(model, "SIZES", {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2})
    monkeypatch.setattr(model, "DECODER_LAYERS", 2)
    monkeypatch.setattr(model, "TOWER_LAYERS", 2)


def test_some_steps_lower_the_loss(recipe: Recipe, tmp_path: Path) -> None:
    losses = run_phase(recipe.build(0), _longer(24), recipe.make, tmp_path, CPU).losses
    assert sum(losses[-4:]) / 4 < sum(losses[:4]) / 4 - 1


def test_a_training_that_was_interrupted_ends_with_the_same_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    (tmp_path / "whole").mkdir()
    whole = recipe.build(0)
    run_phase(whole, SMALL, recipe.make, tmp_path / "whole", CPU)

    def make(first: int, size: int, progress: float) -> Batch:
        if first == 5 * SMALL.size:
            raise KeyboardInterrupt
        return recipe.make(first, size, progress)

    with pytest.raises(KeyboardInterrupt):
        run_phase(recipe.build(0), SMALL, make, tmp_path, CPU)
    resumed = recipe.build(1)  # whatever it starts from
    assert len(run_phase(resumed, SMALL, recipe.make, tmp_path, CPU).losses) == 2
    assert _equal(whole.state_dict(), resumed.state_dict())
    saved, other = (torch.load(folder / "answers.pt") for folder in (tmp_path, tmp_path / "whole"))
    assert _equal(saved["optimizer"], other["optimizer"])


def test_the_phase_of_endings_leaves_the_towers_alone(recipe: Recipe, tmp_path: Path) -> None:
    learner = recipe.build(0)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    run_phase(learner, Phase("endings", 2, 2, 50, 3e-3, blind=True, frozen=True), recipe.make, tmp_path, CPU)
    changed = {name for name, value in learner.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any("language_model.layers.0" in name for name in changed)
    assert not any("tower" in name for name in changed)


def test_a_checkpoint_of_another_length_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    run_phase(recipe.build(0), _longer(1), recipe.make, tmp_path, CPU)
    with pytest.raises(SystemExit, match=r"error: .*answers.pt is from a training of 1 steps of 2 pictures"):
        run_phase(recipe.build(0), _longer(3), recipe.make, tmp_path, CPU)


def test_the_command_trains_both_phases_and_exports_a_stock_model(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _command(recipe, monkeypatch, "--steps", "2", "--size", "2", "--folder", str(tmp_path))
    exported = AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    learner = recipe.build(1)
    load_phase(learner, tmp_path, "endings")
    state, towers = exported.state_dict(), learner.model.state_dict()
    for name, value in towers.items():
        if "image_tower" not in name:
            torch.testing.assert_close(state[name].float(), value, atol=1e-3, rtol=1e-3, msg=name)
    for name in (name for name in state if "image_tower" in name):
        assert torch.equal(state[name], state[name.replace("image_tower", "video_tower")])


@pytest.mark.slow
def test_seconds_become_steps_and_a_resumed_training_keeps_them(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--phase", "answers", "--size", "2", "--folder", str(tmp_path))
    _command(recipe, monkeypatch, *options, "--seconds", "0.2")
    steps = torch.load(tmp_path / "answers.pt")["steps"]
    assert 1 <= steps < 100
    _command(recipe, monkeypatch, *options, "--seconds", "1e6")
    assert torch.load(tmp_path / "answers.pt")["steps"] == steps


@pytest.mark.slow
def test_processes_make_the_batches_that_one_would(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    losses = [
        run_phase(recipe.build(0), SMALL, recipe.make, folder, Machine(CPU.device, workers)).losses
        for folder, workers in ((tmp_path, 0), (tmp_path / "more", 2))
    ]
    assert losses[0] == losses[1]


def test_the_phases_read_different_pictures() -> None:
    assert ANSWERS.first + ANSWERS.steps * ANSWERS.size <= ENDINGS.first


def _longer(steps: int) -> Phase:
    return Phase("answers", steps, 2, 0, 3e-3, warm_up=0.05, decay=0.6, dense=0.4, end=0.5, growing=True)


def _command(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["train", "--device", "cpu", "--workers", "0", *options])
    run_command(recipe, None)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)

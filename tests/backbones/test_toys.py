"""The embedded models answer with stock transformers, without the engine, and their notes say what they are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open

from tokenbench.registry.plugins import registry
from tokenbench_suites import image, video
from training.evaluate import Judge
from training.evaluate_clips import ClipJudge
from training.toy_llava import WEIGHTS_FOLDER
from training.toy_video_llava import CLIP_WEIGHTS

MODELS = [
    pytest.param(image, Judge, WEIGHTS_FOLDER, id="toy-llava"),
    pytest.param(video, ClipJudge, CLIP_WEIGHTS, id="toy-video-llava", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("module", "judge", "folder"), MODELS)
def test_the_shipped_weights_answer(module, judge, folder: Path) -> None:
    """Greedy answers to the first questions of every task; guessing gets less than a third of them."""
    scores, model = [], judge(folder)
    for task in module.suite().tasks:
        samples = task.samples()[:6]
        answers = model.answers(samples, task.max_new_tokens)
        scores += [task.score(answer, sample) for answer, sample in zip(answers, samples, strict=True)]
    assert sum(scores) / len(scores) > 0.85


@pytest.mark.parametrize(("name", "words"), [("toy-llava", "shallow"), ("toy-video-llava", "earlier recipe")])
def test_notes_say_what_a_toy_is(name: str, words: str) -> None:
    (note,) = registry().get("backbones", name).notes
    assert words in note
    assert "Nothing about real models may be concluded" in note


def test_the_note_counts_the_layers_of_the_shipped_model() -> None:
    depth = json.loads((WEIGHTS_FOLDER / "config.json").read_text())["text_config"]["num_hidden_layers"]
    assert f"({depth} decoder layers)" in registry().get("backbones", "toy-llava").notes[0]


def test_the_size_in_the_training_notes_is_that_of_the_shipped_model() -> None:
    with safe_open(WEIGHTS_FOLDER / "model.safetensors", "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (it is no mapping)
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    count = sum(map(math.prod, shapes))
    text = (Path(__file__).parents[2] / "training/README.md").read_text()
    assert f"{count / 1e6:.2f} million parameters" in text
    assert kinds == {"F16"}

"""Images and clips are loaded once, for all questions about them, and released after the last one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import tokenbench
from tokenbench import Sample, Suite, Task, Video
from tokenbench.contract.sampling import DEFAULT_SAMPLING
from tokenbench.runner.batches import QuestionBatch
from tokenbench.runner.media import Media

FRAME = 30 * 20 * 3


class Clips(Task):
    """Seven questions on each of five clips, of different lengths; the third clip cannot be loaded."""

    name = "clips"
    max_new_tokens = 2

    def __init__(self) -> None:
        self.loaded: Counter[str] = Counter()

    def samples(self) -> list[Sample]:
        return [self._sample(clip, question) for clip in range(5) for question in range(7)]

    def _sample(self, clip: int, question: int) -> Sample:
        return Sample(f"{clip}-{question}", f"clip-{clip}", f"What color {question} ?", "red", lambda: self._load(clip))

    def _load(self, clip: int) -> list[Video]:
        self.loaded[f"clip-{clip}"] += 1
        if clip == 2:
            raise ValueError("it is damaged")
        return [Video([Image.new("RGB", (32, 32), (200, 30 * clip, 10 * k)) for k in range(1 + clip)], 2.0)]

    def score(self, answer: str, sample: Sample) -> float:
        return float(answer == sample.target)


class SampledClips(Clips):
    """The same with frames that a user chooses, so that a run first checks whether they fit."""

    sampling = DEFAULT_SAMPLING


def run(task: Task, folder: Path, *strategies: str, **options: Any) -> tokenbench.Run:
    suite = Suite("made", "", (task,), model="toy-video-llava")
    given = {"budgets": "30", "floors": False, "batch_size": 3, "device": "cpu", **options}
    return tokenbench.run(strategies, folder, suite=suite, **given)


@pytest.mark.parametrize("kind", [Clips, SampledClips])
def test_every_clip_is_loaded_once_however_many_questions_batches_and_cells(kind: type[Clips], tmp_path: Path) -> None:
    """Batches of three cut through clips of seven questions, the budget is checked on the first, and one clip is damaged."""
    task = kind()
    found = run(task, tmp_path / "run", "fastv", "uniform", "random", seeds=(0, 1))
    assert len(found.samples()) == 5 * 4 * 7
    assert {clip: task.loaded[f"clip-{clip}"] for clip in (0, 1, 3, 4)} == dict.fromkeys((0, 1, 3, 4), 1)


def test_a_run_that_grows_unevenly_loads_every_clip_once_more(tmp_path: Path) -> None:
    """Old questions lack one arm and new ones all, so that there are two kinds of batches for a clip."""
    run(Clips(), tmp_path / "run", "fastv", limit=11)
    task = Clips()
    found = run(task, tmp_path / "run", "fastv", "uniform")
    assert len(found.samples()) == 3 * 4 * 7
    assert {clip: task.loaded[f"clip-{clip}"] for clip in (0, 1, 3, 4)} == dict.fromkeys((0, 1, 3, 4), 1)


def test_answers_do_not_depend_on_what_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = run(Clips(), tmp_path / "held", "fastv").samples().drop(columns="seconds")
    monkeypatch.setattr(Media, "load", lambda self, sample: sample.load())
    again = run(task := Clips(), tmp_path / "again", "fastv").samples().drop(columns="seconds")
    pd.testing.assert_frame_equal(held, again)
    assert task.loaded["clip-0"] > 1


def batches(*clusters: str) -> list[QuestionBatch]:
    return [QuestionBatch([(Clips(), _sample(name)) for name in part], (0,)) for part in clusters]


def _sample(cluster: str) -> Sample:
    return Sample(cluster, cluster, "?", "", lambda: [Video([Image.new("RGB", (30, 20))] * 2)])


def test_only_what_later_batches_need_is_held_and_no_more_than_the_limit() -> None:
    media, held = Media(4 * FRAME), []
    for cluster in "az":
        media.load(_sample(cluster))
    assert media.held_bytes == 4 * FRAME  # before batches are announced, all is held
    asked = batches("ab", "bcd", "cdb", "e")
    media.expect(asked)
    assert media.held_bytes == 2 * FRAME  # nobody asks about z
    for at, batch in enumerate(asked):
        media.begin(at)
        for _, sample in batch.questions:
            media.load(sample)
            held.append(media.held_bytes // FRAME)
    assert held == [0, 2, 2, 4, 4, 2, 2, 0, 0]  # a; b; b c (d does not fit); c d b; e

"""Multiple choice on clips: numbers as lmms-eval's own, questions on one clip in one cluster, and the user's choice of frames."""

from __future__ import annotations

import json
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

import tokenbench
from tests.films import numbers, write_film
from tests.suites.lmms.made_up import videomme
from tests.suites.lmms.made_up_clips import MORE
from tests.suites.lmms.stock import Stock, evaluate, reported
from tests.tokenbench.commands.test_running import call
from tokenbench import Video
from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.suite import SuiteRequest
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.catalogue import CATALOGUE, LONG_VIDEO_TASKS, VIDEO_TASKS
from tokenbench_suites.lmms.index import find_lmms_eval
from tokenbench_suites.lmms.suites import lmms, video_long, video_public

SCALE = {"lvb_acc": 1.0, "exact_match": 1.0, "mvbench_accuracy": 100.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def right(root: Path) -> dict[str, list[str]]:
    writers = {name: write for name, write, _, _ in MORE.values()}
    answers = {name: write(root / name) for name, write in writers.items()}
    return {task: answers[name] for task, (name, *_) in MORE.items()}


@pytest.fixture(scope="module")
def tasks(root: Path, right: dict[str, list[str]]) -> dict[str, Benchmark]:
    data = {name: root / name for name, *_ in MORE.values()}
    request = SuiteRequest(tuple(MORE), data, sampling=FrameSampling(3))
    return {task.name: task for task in lmms(request).tasks if isinstance(task, Benchmark)}


@pytest.fixture(scope="module")
def said(right: dict[str, list[str]]) -> dict[str, list[str]]:
    rng = random.Random(2)
    return {name: [rng.choice([mine, "A", "B"]) for mine in rows] for name, rows in right.items()}


@pytest.fixture(scope="module")
def stock(root: Path, said: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, of = tmp_path_factory.mktemp("yaml"), {}
    for task, (name, _, file, split) in MORE.items():
        data = root / name / "questions.parquet"
        if not data.exists():
            rows = json.loads((root / name / "json" / f"{task.removeprefix('mvbench_')}.json").read_text())
            datasets.Dataset.from_list(rows).to_parquet(str(data := folder / f"{task}.parquet"))
        of[task] = Stock(find_lmms_eval() / "tasks" / file, data, split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder))
        patch.setitem(sys.modules, "decord", types.SimpleNamespace(VideoReader=None, cpu=None))
        return evaluate(of, said, folder)


@pytest.mark.parametrize("name", MORE)
def test_the_mean_of_the_scores_is_what_simple_evaluate_reports(
    name: str, tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, Any]
) -> None:
    task, samples = tasks[name], tasks[name].samples()
    answers = {sample.key: said[name][samples.places[sample.key]] for sample in samples}  # type: ignore[attr-defined]
    official = {metric: value for metric, value in reported(stock[name]).items() if metric in SCALE}
    assert len(official) == 1
    assert task.official(answers) == {metric: pytest.approx(value) for metric, value in official.items()}
    scores = [task.score(answers[sample.key], sample) for sample in samples]
    ((metric, value),) = official.items()
    assert 0 < sum(scores) < 8
    assert SCALE[metric] * sum(scores) / 8 == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("name", MORE)
def test_questions_on_a_clip_are_a_cluster_and_see_the_frames_that_were_asked_for(
    name: str, tasks: dict[str, Benchmark]
) -> None:
    samples = tasks[name].samples()
    assert sorted(len([s for s in samples if s.cluster == c]) for c in {s.cluster for s in samples}) == [2] * 4
    (video,) = samples[0].load()
    assert isinstance(video, Video)
    assert len(video.frames) == 3
    assert tasks[name].sampling == FrameSampling(3)


def test_clips_of_one_name_are_told_apart_by_the_folders_of_their_tasks(tasks: dict[str, Benchmark]) -> None:
    clusters = [
        {s.cluster for s in tasks[f"mvbench_{name}"].samples()} for name in ("moving_direction", "action_antonym")
    ]
    first = [min(tasks[f"mvbench_{n}"].samples(), key=lambda s: int(s.origin.rpartition(" ")[2])) for n in ("moving_direction", "action_antonym")]  # fmt: skip
    assert clusters[0] == clusters[1]  # the same four clips, under other names
    assert first[0].cluster != first[1].cluster


def test_a_letter_that_is_drawn_for_an_unreadable_answer_is_wrong(tasks: dict[str, Benchmark]) -> None:
    for name in ("longvideobench_val_v", "nextqa_mc_test"):
        samples = tasks[name].samples()
        assert [tasks[name].score("no idea at all", sample) for sample in samples] == [0.0] * 8


def test_the_suites_name_the_tasks_that_are_described() -> None:
    names = [task.name for make in (video_public, video_long) for task in make(SuiteRequest()).tasks]
    assert names == [*VIDEO_TASKS, *LONG_VIDEO_TASKS]
    assert {"nextqa_mc_test", "mvbench_action_antonym", "longvideobench_val_v", "videomme", "mlvu_dev"} < set(names)
    assert len([name for name in names if name.startswith("mvbench_")]) == 20
    assert all(CATALOGUE[name].licence and CATALOGUE[name].size for name in names)


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Benchmark.samples

    def samples(self: Benchmark) -> Any:
        found = stock(self)
        self.max_new_tokens = 2
        return found

    monkeypatch.setattr(Benchmark, "samples", samples)


@pytest.mark.slow
def test_they_run_end_to_end(
    root: Path, right: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch)
    data = ",".join(f"{name}={root / name}" for name in dict.fromkeys(name for name, *_ in MORE.values()))
    suite = ",".join(f"lmms:{task}" for task in MORE)
    given = ["--suite", suite, "--data", data, "--strategies", "fastv,fewer-frames", "--budgets", "1/3", "--no-floors"]
    out = tmp_path / "run"
    assert call("run", *given, "--models", "toy-video-llava", "--frames", "5", "-q", "-o", str(out)) == 0
    run = tokenbench.Run.open(out)
    samples = run.samples()
    assert set(samples["task"]) == set(run.official()["task"]) == set(MORE)
    assert set(samples["visual_tokens"]) == {5 * 37}
    kept = samples[samples["strategy"] == "fewer-frames"]["kept"]
    assert {tuple(sorted({token // 37 for token in own})) for own in kept} == {(2,)}  # one frame of five fits


@pytest.mark.slow
def test_the_choice_of_frames_is_said_everywhere_and_kept_apart(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two settings never share answers; commands, reports and cards say which one it was."""
    short(monkeypatch)
    videomme(root / "videomme")
    given = ["--suite", "lmms:videomme", "--data", f"videomme={root / 'videomme'}", "--strategies", "fewer-frames"]
    given += ["--budgets", "1/2", "--no-floors", "--models", "toy-video-llava", "--limit", "4"]
    assert call("run", *given, "--fps", "1.5", "-n") == 0
    assert "models see 1.5 frames per second, at most 768 of each clip" in capsys.readouterr().out
    for frames in ("2", "3"):
        assert call("run", *given, "--frames", frames, "-q", "-o", str(tmp_path / frames)) == 0
        assert f"Models see {frames} frames of each clip." in (tmp_path / frames / "report" / "report.html").read_text()
    runs = [tokenbench.Run.open(tmp_path / frames) for frames in ("2", "3")]
    assert not {c["id"] for c in runs[0].manifest["cells"]} & {c["id"] for c in runs[1].manifest["cells"]}
    assert {n for run in runs for n in run.samples()["visual_tokens"]} == {2 * 37, 3 * 37}
    capsys.readouterr()
    assert call("run", *given, "--frames", "3", "-q", "-o", str(tmp_path / "2")) == 2
    assert "frames: 2 -> 3" in capsys.readouterr().err
    assert call("status", str(tmp_path / "2")) == 0
    assert "models see 2 frames of each clip" in capsys.readouterr().out
    assert call("compare", str(tmp_path / "2"), str(tmp_path / "3"), "--details", "-o", str(tmp_path)) == 0
    assert "different frames of the same clips: 2 frames in A, 3 frames in B" in " ".join(
        capsys.readouterr().out.split()
    )
    assert call("export", str(tmp_path / "2"), "--to", str(tmp_path / "card")) == 0
    assert "Models see 2 frames of each clip" in (tmp_path / "card" / "README.md").read_text()
    assert "--frames 2" in (tmp_path / "2" / "report" / "report.html").read_text()


def test_frames_cannot_be_chosen_where_there_are_no_clips(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--suite", "image", "--strategies", "fastv", "--frames", "4") == 2
    assert "--frames does not apply to suite 'image'" in capsys.readouterr().err
    assert call("run", "--suite", "video", "--strategies", "fastv", "--fps", "4") == 2
    assert "--fps does not apply to suite 'video'" in capsys.readouterr().err
    assert call("run", "--suite", "lmms:videomme", "--strategies", "fastv", "--frames", "4", "--fps", "1") == 2
    assert "--frames and --fps contradict each other" in capsys.readouterr().err


def test_a_table_with_clips_shows_the_frames_that_were_asked_for(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", 40)
    (tmp_path / "mine.csv").write_text("video,question,answer\nfilm.mp4,what is it ?,red\n")
    suite = tokenbench.run(
        "fastv", tmp_path / "run", suite=str(tmp_path / "mine.csv"), models="toy-video-llava", floors=False, fps=1.0,
        budgets="1/3", device="cpu",
    )  # fmt: skip
    assert set(suite.samples()["visual_tokens"]) == {4 * 37}
    (sample,) = suite.questions().values()
    (video,) = sample.load()
    assert isinstance(video, Video)
    assert numbers(video.frames) == [5, 15, 25, 35]

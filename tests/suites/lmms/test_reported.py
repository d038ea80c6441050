"""Benchmarks that papers report: every one is described, and made-up rows of each are scored as lmms-eval scores them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets
from PIL import ImageFile

from tests.suites.lmms.made_up_reported import KINDS, MORE
from tests.suites.lmms.stock import Stock, evaluate, reported
from tests.tokenbench.commands.test_running import call
from tokenbench.contract.suite import Suite, SuiteRequest
from tokenbench.statistics import stratum_weights
from tokenbench_suites.lmms.benchmark import TFLOPS, Benchmark
from tokenbench_suites.lmms.catalogue import CATALOGUE
from tokenbench_suites.lmms.index import OWN, find_tasks
from tokenbench_suites.lmms.library import Library
from tokenbench_suites.lmms.suites import document, grounding, image_public, lmms, video_long, video_public

SUITES = [image_public, document, grounding, video_public, video_long]
# What papers report, by suite.
REPORTED = {
    image_public: "gqa mme pope scienceqa_img textvqa_val vizwiz_vqa_val ocrbench vqav2_val seedbench mmmu_val mmstar realworldqa "
    "mmbench_en_dev_static mmbench_cn_dev hallusion_bench_rules coco2017_cap_val",
    document: "ai2d chartqa docvqa_val infovqa_val",
    grounding: "refcoco_bbox_rec_val refcoco+_bbox_rec_val refcocog_bbox_rec_val",
    video_long: "videomme mlvu_dev egoschema_subset",
}


@pytest.mark.parametrize("suite", REPORTED)
def test_suites_hold_what_papers_report(suite: Any) -> None:
    made: Suite = suite(SuiteRequest())
    assert set(REPORTED[suite].split()) <= {task.name for task in made.tasks}


@pytest.mark.parametrize("suite", SUITES)
def test_every_task_of_a_suite_is_defined_and_described(suite: Any) -> None:
    made: Suite = suite(SuiteRequest())
    for task in made.tasks:
        assert find_tasks(task.name, (OWN,)).keys() == {task.name}
        assert {"source", "size", "licence", "metric", "unit"} <= task.notes.keys(), task.name
        assert task.description


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.samples])
def test_what_a_task_costs_is_told(name: str) -> None:
    cost = Benchmark(name).notes["cost"]
    assert cost.startswith(f"{CATALOGUE[name].samples:,} answers a cell; ")


@pytest.mark.slow
def test_the_cost_of_an_answer_is_that_of_the_cost_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("cost", "--models", "llava-1.5-7b", "--strategies", "fastv", "--budgets", "1/3") == 0
    (vanilla,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("vanilla")]
    assert float(vanilla.split()[4]) == pytest.approx(TFLOPS)


def test_a_task_that_no_suite_has_is_shown_by_its_full_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "lmms:nocaps_val") == 0
    assert "4,500 images with ten captions" in capsys.readouterr().out
    assert call("show", "refcoco+_bbox_rec_val") == 0
    assert "suite: grounding" in capsys.readouterr().out


# --- on made-up rows --------------------------------------------------------------------------------------------------

# task -> split, headline, scale
FILES = {
    "mmstar": ("val", "average", 1.0),
    "vsibench": ("test", "vsibench_overall", 1.0),
    "tempcompass_yes_no": ("test", "avg_accuracy", 100.0),
    "realworldqa": ("test", "exact_match", 1.0),
    "chartqa": ("test", "relaxed_overall", 1.0),
    "infovqa_val": ("validation", "anls", 1.0),
    "refcoco+_bbox_rec_val": ("val", "refcoco_ACC@0.5", 1.0),
    "refcocog_bbox_rec_val": ("val", "refcoco_ACC@0.5", 1.0),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.setenv("HF_HOME", str(folder))  # without it, lmms-eval cannot load some tasks
        yield folder


@pytest.fixture(scope="module")
def right(root: Path) -> dict[str, list[str]]:
    return {name: MORE[name](root / name) for name in (*FILES, "naturalbench_groups")}


@pytest.fixture(scope="module")
def tasks(root: Path, right: dict[str, list[str]]) -> dict[str, Benchmark]:
    request = SuiteRequest(tuple(right), {name: root / name for name in right})
    return {task.name: task for task in lmms(request).tasks if isinstance(task, Benchmark)}


@pytest.fixture(scope="module")
def said(right: dict[str, list[str]]) -> dict[str, list[str]]:
    """Right answers, but for every third row that of another one."""
    return {
        name: [next(other for other in rows if other != text) if i % 3 == 0 else text for i, text in enumerate(rows)]
        for name, rows in right.items()
    }


@pytest.fixture(scope="module")
def stock(
    root: Path, said: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    of = {}
    for name, (split, *_) in FILES.items():
        (data,) = (root / name).rglob("*.parquet")
        of[name] = Stock(find_tasks(name, ())[name], data, split)
    return evaluate(of, said, tmp_path_factory.mktemp("yaml"))


def by_key(task: Benchmark, rows: list[str]) -> dict[str, str]:
    samples = task.samples()
    return {sample.key: rows[samples.places[sample.key]] for sample in samples}  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_scores_and_official_numbers_are_those_of_simple_evaluate(
    name: str, tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, dict[str, Any]]
) -> None:
    task, numbers = tasks[name], reported(stock[name])
    answers, (_, headline, scale) = by_key(task, said[name]), FILES[name]
    assert {metric: pytest.approx(value) for metric, value in numbers.items()} == task.official(answers)
    scores = [task.score(answers[sample.key], sample) for sample in task.samples()]
    weights = stratum_weights([sample.stratum for sample in task.samples()])
    assert 0 < sum(scores) < len(scores)
    assert scale * sum(weights * scores) / len(scores) == pytest.approx(numbers[headline], abs=1e-4)


def test_kinds_of_questions_are_strata(tasks: dict[str, Benchmark]) -> None:
    """Those about directions are within one."""
    strata = {sample.stratum for sample in tasks["vsibench"].samples()}
    assert {name.partition(" > ")[0] for name in strata} == {"object_rel_direction", *(set(KINDS[3:6]))}
    assert len(strata) == 6


def test_a_group_of_naturalbench_is_right_if_its_four_answers_are(
    tasks: dict[str, Benchmark], right: dict[str, list[str]], said: dict[str, list[str]]
) -> None:
    from lmms_eval.tasks.naturalbench.utils import extract_answer, get_scores

    task = tasks["naturalbench_groups"]
    official = task.official(by_key(task, said[task.name]))
    found = [extract_answer(text, "yes_no" if i < 8 else "multiple_choice") for i, text in enumerate(said[task.name])]
    stock = get_scores([found[at : at + 4] for at in (0, 4, 8)])
    assert official == {metric: pytest.approx(value) for metric, value in stock.items()}
    assert 0 < official["Acc"] < 1
    assert {sample.unit for sample in task.samples()} == {"group 0", "group 1", "group 2"}
    assert task.unit_rule == "all"
    assert task.score("I do not know", task.samples()[0]) == 0


def test_what_no_rule_reads_is_wrong_where_a_benchmark_asks_a_judge(tasks: dict[str, Benchmark]) -> None:
    task = tasks["tempcompass_yes_no"]
    samples = task.samples()
    assert [task.score("It seems so.", sample) for sample in samples] == [0.0] * 8
    assert [task.score(sample.target, sample) for sample in samples] == [1.0] * 8
    assert any("no rule can read" in remark for remark in task.remarks)


def test_no_image_is_decoded_when_expressions_are_listed(
    root: Path, right: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RefCOCO has thousands of images; lmms-eval holds all of them, decoded."""
    decoded = []
    stock = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self) or stock(self))
    name = "refcocog_bbox_rec_val"
    task = Benchmark(name, root / name)
    library = Library(task.definition)
    assert len(library.rows) == 12
    assert decoded == []
    assert [image.size for image in library.shown(0)] == [(112, 112)]
    assert decoded

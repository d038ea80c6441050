"""The adapter against lmms-eval itself, offline: the same answers give the same numbers, and units give them again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

from tests.suites.lmms.benchmarks import NINE, answer, make, picture, write
from tests.suites.lmms.stock import Stock, evaluate, reported
from tokenbench.contract.suite import SuiteRequest, first
from tokenbench.store.units import by_unit
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.index import find_lmms_eval
from tokenbench_suites.lmms.suites import image_public

FILES = {
    "mmbench_en_dev_static": ("mmbench/mmbench_en_dev_static.yaml", "mmbench/en/dev-00000-of-00001.parquet"),
    "mmbench_cn_dev": ("mmbench/mmbench_cn_dev.yaml", "mmbench/cn/dev-00000-of-00001.parquet"),
    "mme": ("mme/mme.yaml", "mme/data/test-00000-of-00001.parquet"),
    "pope": ("pope/pope.yaml", "pope/data/test-00000-of-00001.parquet"),
    "scienceqa_img": ("scienceqa/scienceqa_img.yaml", "scienceqa/ScienceQA-IMG/test-00000-of-00001.parquet"),
    "textvqa_val": ("textvqa/textvqa_val.yaml", "textvqa/data/validation-00000-of-00001.parquet"),
    "vizwiz_vqa_val": ("vizwiz_vqa/vizwiz_vqa_val.yaml", "vizwiz/data/val-00000-of-00001.parquet"),
    "ocrbench": ("ocrbench/ocrbench.yaml", "ocrbench/data/test-00000-of-00001.parquet"),
    "gqa": ("gqa/gqa.yaml", "gqa-joined.parquet"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("public")


@pytest.fixture(scope="module")
def right(root: Path) -> Iterator[dict[str, list[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        yield make(root)


@pytest.fixture(scope="module")
def tasks(root: Path, right: dict[str, list[str]]) -> dict[str, Benchmark]:
    folders = {name.partition("_")[0]: root / folder for name, (folder, _) in NINE.items()}
    return {t.name: t for t in image_public(SuiteRequest(data=folders)).tasks if isinstance(t, Benchmark)}


def said(task: str, right: dict[str, list[str]]) -> list[str]:
    """By row of the data."""
    return [answer(target, i, parsable=task == "mmbench_cn_dev") for i, target in enumerate(right[task])]


@pytest.fixture(scope="module")
def stock(root: Path, right: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `simple_evaluate` makes of the same answers to the same rows."""
    asked = pd.read_parquet(root / "gqa" / "testdev_balanced_instructions" / "testdev-00000-of-00001.parquet")
    rows = [{**row, "image": picture(int(row["imageId"][1:]))} for row in asked.to_dict("records")]
    write(rows, root / "gqa-joined.parquet")  # type: ignore[arg-type]
    splits = {"gqa": "testdev", "textvqa_val": "validation", "vizwiz_vqa_val": "val"}
    splits |= {"mmbench_en_dev_static": "dev", "mmbench_cn_dev": "dev"}
    asked_of = {
        task: Stock(find_lmms_eval() / "tasks" / file, root / data, splits.get(task, "test"), task != "gqa")
        for task, (file, data) in FILES.items()
    }
    return evaluate(asked_of, {task: said(task, right) for task in FILES}, tmp_path_factory.mktemp("yaml"))


def answers(task: Benchmark, right: dict[str, list[str]]) -> dict[str, str]:
    """By sample key."""
    rows = said(task.name, right)
    samples = task.samples()
    return {sample.key: rows[samples.places[sample.key]] for sample in samples}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NINE)
def test_official_numbers_are_those_of_simple_evaluate(
    name: str, tasks: dict[str, Benchmark], right: dict[str, list[str]], stock: dict[str, Any]
) -> None:
    official = tasks[name].official(answers(tasks[name], right))
    assert official
    assert {metric: pytest.approx(value) for metric, value in reported(stock[name]).items()} == official


# name -> official metric, and the scale of the mean of the units
SCALES = {
    "gqa": ("exact_match", 1.0),
    "mmbench_en_dev_static": ("gpt_eval_score", 100.0),
    "mmbench_cn_dev": ("gpt_eval_score", 100.0),
    "pope": ("pope_accuracy", 1.0),
    "scienceqa_img": ("exact_match", 1.0),
    "textvqa_val": ("exact_match", 1.0),
    "vizwiz_vqa_val": ("exact_match", 1.0),
    "ocrbench": ("ocrbench_accuracy", 9 / 1000),
}


def units(task: Benchmark, said: dict[str, str]) -> pd.DataFrame:
    """The task's units as a run would make them of these answers."""
    frame = pd.DataFrame(
        {
            "model": "m", "strategy": "s", "budget": "b", "seed": 0, "task": task.name,
            "sample": sample.key, "cluster": sample.cluster, "unit": sample.unit or sample.key,
            "stratum": sample.stratum, "score": task.score(said[sample.key], sample),
            "kept": 1, "visual_tokens": 1, "realised_tokens": 1.0, "text_tokens": 1, "flops": 1.0, "cache_bytes": 1.0,
            "evidence_recall": np.nan,
        }
        for sample in task.samples()
    )  # fmt: skip
    return by_unit(frame, {task.name: task.unit_rule})


@pytest.mark.parametrize("name", SCALES)
def test_the_mean_of_the_units_is_the_official_number(
    name: str, tasks: dict[str, Benchmark], right: dict[str, list[str]]
) -> None:
    metric, scale = SCALES[name]
    given = answers(tasks[name], right)
    found = units(tasks[name], given)
    assert 0.1 < found["score"].mean() < 0.9
    assert scale * found["score"].mean() == pytest.approx(tasks[name].official(given)[metric])


def test_mme_is_the_sum_over_strata(tasks: dict[str, Benchmark], right: dict[str, list[str]]) -> None:
    given = answers(tasks["mme"], right)
    found = units(tasks["mme"], given)
    assert len(found) == len(tasks["mme"].samples()) / 2
    means = 200 * found.groupby("stratum")["score"].mean()
    official = tasks["mme"].official(given)
    assert means["existence"] + means["OCR"] == pytest.approx(official["mme_perception_score"])
    assert means["code_reasoning"] == pytest.approx(official["mme_cognition_score"])


def test_ocrbench_does_not_add_up_between_calls(tasks: dict[str, Benchmark], right: dict[str, list[str]]) -> None:
    given = answers(tasks["ocrbench"], right)
    assert tasks["ocrbench"].official(given) == tasks["ocrbench"].official(given)


@pytest.mark.parametrize("name", NINE)
def test_samples_keep_the_contract(name: str, tasks: dict[str, Benchmark], right: dict[str, list[str]]) -> None:
    samples = tasks[name].samples()
    assert len(samples) == len(right[name])
    assert len({sample.key for sample in samples}) == len(samples)
    short = first(Benchmark(name, tasks[name]._folder), 3)
    assert [sample.key for sample in short] == [sample.key for sample in samples[: len(short)]]
    (image,) = samples[0].load()
    assert image.size == (32, 24)  # type: ignore[union-attr]
    pictures = {"gqa": 4, "mme": 4, "pope": 3, "textvqa_val": 4, "ocrbench": 5}
    expected = 6 if name.startswith("mmbench") else pictures.get(name, len(samples))
    assert len({sample.cluster for sample in samples}) == expected


def test_a_limit_keeps_units_whole(tasks: dict[str, Benchmark]) -> None:
    assert len(first(tasks["mme"], 3)) == 4
    assert len(first(tasks["mmbench_cn_dev"], 1)) == 3
    assert len(first(tasks["pope"], 5)) == 5


@pytest.mark.parametrize("name", NINE)
def test_places_are_the_rows_of_the_data(name: str, tasks: dict[str, Benchmark]) -> None:
    samples = list(tasks[name].samples())
    assert [f"row {one.place}" in one.origin.split(", ") for one in samples] == [True] * len(samples)
    assert len({one.place for one in samples}) == len(samples)


def test_an_answer_is_scored_once(tasks: dict[str, Benchmark], monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks["textvqa_val"]
    calls = []
    stock = task._library.task.process_results
    monkeypatch.setattr(task._library.task, "process_results", lambda *a: calls.append(a) or stock(*a))
    sample = task.samples()[2]
    assert len({task.score("never said before", sample) for _ in range(5)}) == 1
    task.official({sample.key: "never said before"})
    assert len(calls) == 1


def test_nothing_of_the_process_is_changed(tasks: dict[str, Benchmark]) -> None:
    import os
    import random
    import warnings

    import loguru
    from PIL import ImageFile

    def state() -> tuple[Any, ...]:
        handlers = dict(loguru.logger._core.handlers)  # type: ignore[attr-defined]
        return list(warnings.filters), handlers, ImageFile.LOAD_TRUNCATED_IMAGES, random.getstate(), dict(os.environ)

    before = state()
    task = Benchmark("mmbench_cn_dev", tasks["mmbench_cn_dev"]._folder)
    task.official({task.samples()[0].key: "A"})
    assert state() == before


def test_pictures_between_words_keep_their_place() -> None:
    from tokenbench import HERE
    from tokenbench_suites.lmms.library import interleaved

    image, words = {"type": "image", "url": None}, {"type": "text", "text": "first"}
    other = {"type": "text", "text": "second"}
    assert interleaved([image, image, words, other]) == "first\nsecond"
    assert interleaved([words, other]) == "first\nsecond"
    assert interleaved([words, image, other]) == f"first{HERE}second"
    assert interleaved([image, words, other, image]) == f"{HERE}first\nsecond{HERE}"

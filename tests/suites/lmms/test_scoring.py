"""Every task is scored so that the official number follows from its samples, or it is refused before a model is loaded."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

import tokenbench
from tests.suites.lmms.made_up import MLVU_TYPES, TWELVE, make
from tests.suites.lmms.stock import Stock, evaluate, reported
from tests.tokenbench.commands.test_running import call
from tokenbench import UsageError
from tokenbench.contract.suite import SuiteRequest
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.index import OWN, find_lmms_eval
from tokenbench_suites.lmms.suites import lmms

SCORED = tuple(TWELVE)
STOCK = tuple(name for name in TWELVE if name != "coco2017_cap_val")
"""Captions are compared in test_captions.py: lmms-eval starts Java for them."""
UNREADABLE = "neither of these, I should say"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twelve")


@pytest.fixture(scope="module")
def right(root: Path) -> Iterator[dict[str, list[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        yield make(root)


@pytest.fixture(scope="module")
def tasks(root: Path, right: dict[str, list[str]]) -> dict[str, Benchmark]:
    request = SuiteRequest(SCORED, {name: root / name for name in SCORED})
    return {task.name: task for task in lmms(request).tasks if isinstance(task, Benchmark)}


@pytest.fixture(scope="module")
def said(right: dict[str, list[str]]) -> dict[str, list[str]]:
    """Answers by row: some right, some those of other rows. Every task can read them: a letter is not drawn."""
    rng = random.Random(1)
    letters = {name: [text for text in rows if len(text) == 1] or rows for name, rows in right.items()}
    return {name: [rng.choice([mine, *letters[name]]) for mine in rows] for name, rows in right.items()}


@pytest.fixture(scope="module")
def stock(
    root: Path, said: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    of = {}
    for name in STOCK:
        _, file, split = TWELVE[name]
        (data,) = (root / name).rglob("*.parquet")
        of[name] = Stock(find_lmms_eval() / "tasks" / file if file else OWN / f"{name}.yaml", data, split)
    return evaluate(of, said, tmp_path_factory.mktemp("yaml"))


def by_key(task: Benchmark, rows: list[str]) -> dict[str, str]:
    samples = task.samples()
    return {sample.key: rows[samples.places[sample.key]] for sample in samples}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", STOCK)
def test_official_numbers_are_those_of_simple_evaluate(
    name: str, tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, dict[str, Any]]
) -> None:
    official = tasks[name].official(by_key(tasks[name], said[name]))
    numbers = reported(stock[name])
    assert official
    assert {metric: pytest.approx(value) for metric, value in numbers.items()} == official


HEADLINE = {
    "seedbench": ("seed_all", 1.0),
    "mmmu_val": ("mmmu_acc", 1.0),
    "refcoco_bbox_rec_val": ("refcoco_ACC@0.5", 1.0),
    "hallusion_bench_rules": ("aAcc", 1.0),
    "vqav2_val": ("exact_match", 1.0),
    "docvqa_val": ("anls", 1.0),
    "ai2d": ("exact_match", 1.0),
    "videomme": ("videomme_perception_score", 100.0),
    "egoschema_subset": ("score", 1.0),
}


@pytest.mark.parametrize("name", HEADLINE)
def test_the_mean_of_the_scores_is_the_headline(
    name: str, tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, dict[str, Any]]
) -> None:
    answers = by_key(tasks[name], said[name])
    scores = [tasks[name].score(answers[sample.key], sample) for sample in tasks[name].samples()]
    metric, scale = HEADLINE[name]
    assert 0 < sum(scores) < len(scores)
    assert scale * sum(scores) / len(scores) == pytest.approx(reported(stock[name])[metric], abs=1e-4)


def test_a_mean_of_means_has_strata(
    tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, dict[str, Any]]
) -> None:
    task = tasks["mlvu_dev"]
    answers, strata = by_key(task, said["mlvu_dev"]), defaultdict(list)
    for sample in task.samples():
        strata[sample.stratum].append(task.score(answers[sample.key], sample))
    assert set(strata) == set(MLVU_TYPES)
    assert {score for scores in strata.values() for score in scores} == {0.0, 1.0}
    mean = sum(sum(scores) / len(scores) for scores in strata.values()) / len(strata)
    assert 100 * mean == pytest.approx(reported(stock["mlvu_dev"])["mlvu_percetion_score"])


def test_a_pair_is_a_unit(
    tasks: dict[str, Benchmark], said: dict[str, list[str]], stock: dict[str, dict[str, Any]]
) -> None:
    task = tasks["mmvp"]
    answers, pairs = by_key(task, said["mmvp"]), defaultdict(list)
    for sample in task.samples():
        pairs[sample.unit].append(task.score(answers[sample.key], sample))
    assert {len(scores) for scores in pairs.values()} == {2}
    assert task.unit_rule == "all"
    whole = sum(map(min, pairs.values())) / len(pairs)
    assert whole == pytest.approx(reported(stock["mmvp"])["mmvp_pair_accuracy"])


@pytest.mark.parametrize("name", ["mmmu_val", "egoschema_subset"])
def test_a_letter_that_is_drawn_for_an_unreadable_answer_is_wrong(name: str, tasks: dict[str, Benchmark]) -> None:
    task = tasks[name]
    random.seed(5)
    assert [task.score(UNREADABLE, sample) for sample in task.samples()] == [0.0] * 8
    number = next(iter(task.official({sample.key: UNREADABLE for sample in task.samples()}).values()))
    assert number == 0


@pytest.mark.slow
def test_the_twelve_run_end_to_end(
    root: Path, right: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = Benchmark.samples

    def short(self: Benchmark) -> Any:
        found = stock(self)
        self.max_new_tokens = 3
        return found

    monkeypatch.setattr(Benchmark, "samples", short)
    for model, names in {"toy-llava": SCORED[:-3], "toy-video-llava": SCORED[-3:]}.items():
        data = ",".join(f"{name}={root / name}" for name in names)
        suite = ",".join(f"lmms:{name}" for name in names)
        out = tmp_path / model
        arguments = ["--suite", suite, "--data", data, "--strategies", "fastv", "--budgets", "1/3", "--no-floors"]
        assert call("run", *arguments, "--models", model, "-q", "-o", str(out)) == 0
        run = tokenbench.Run.open(out)
        assert set(run.samples()["task"]) == set(run.official()["task"]) == set(names)
        vanilla = run.samples().query("strategy == 'vanilla'").groupby("task", observed=True)
        clusters = vanilla["cluster"].nunique()
        assert clusters.get("coco2017_cap_val", 8) == 8
        assert clusters.drop(["mmvp", "mmmu_val", "coco2017_cap_val"], errors="ignore").eq(4).all()
        graded = [task for task, about in run.manifest["tasks"].items() if about.get("graded")]
        assert graded == (["coco2017_cap_val"] if model == "toy-llava" else [])


# --- tasks made for one way to go wrong -------------------------------------------------------------------------------

UTILS = """
import random, sys
def visual(doc):
    return [doc["image"]]
def yes(doc, results):
    return {"acc": {"score": float("yes" in results[0].lower()), "right": results[0] == doc["answer"]}}
def pairs(records):
    assert len(records) == 7600
    return sum(r["right"] for r in records) / len(records)
def error(doc, results):
    return {"mae": float(results[0] != doc["answer"]) * 7}
def wrong(doc, results):
    return {"rate": float(results[0] != doc["answer"])}
def mean(records):
    return sum(records) / len(records)
def drops(doc, results):
    return {"acc": {"score": float(results[0] == doc["answer"]), "said": results[0]}}
def answered(records):
    kept = [r["score"] for r in records if r["said"] != ""]
    return sum(kept) / len(kept) if kept else 0
def breaks(doc, results):
    return {"acc": float(results[0][0] == doc["answer"][0])}
def several(doc, results):
    return {"f": {"right": results[0] == doc["answer"]}, "acc": float(results[0] == doc["answer"])}
def paired(doc, results):
    return {"acc": {"right": float(results[0] == doc["answer"]), "pair": doc["pair"]}}
def whole_pairs(records):
    pairs = {}
    for r in records:
        pairs.setdefault(r["pair"], []).append(r["right"])
    return sum(map(min, pairs.values())) / len(pairs)
def square(records):
    return (sum(r["right"] for r in records) / len(records)) ** 2
def file(records):
    return 0
def stops(doc, results):
    sys.exit("no key")
"""
YAML = """
task: {name}
dataset_path: nothing/yet
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: question
doc_to_target: answer
process_results: !function utils.{process}
metric_list:
  - {{metric: {metric}, aggregation: !function utils.{aggregate}, higher_is_better: {higher}}}
"""


def made(folder: Path, process: str, metric: str, aggregate: str, higher: bool = True, more: str = "") -> Benchmark:
    from tests.suites.lmms.benchmarks import picture, write

    (folder / "tasks").mkdir()
    (folder / "tasks" / "utils.py").write_text(UTILS)
    names = {"name": "tb_made", "process": process, "metric": metric, "aggregate": aggregate}
    (folder / "tasks" / "made.yaml").write_text(YAML.format(**names, higher=str(higher).lower()) + more)
    rows = [{"question": f"q{i}", "answer": ("yes", "no", "red")[i % 3], "image": picture(i)} for i in range(12)]
    write(rows, folder / "data" / "test.parquet")
    return Benchmark("tb_made", folder / "data", (folder / "tasks",))


@pytest.mark.parametrize(
    ("process", "metric", "aggregate", "higher", "reason"),
    [
        ("yes", "acc", "pairs", True, "can only be computed for all samples at once"),
        ("yes", "acc", "square", True, "is not a mean of numbers"),
        ("error", "mae", "mean", False, "better if they are lower"),
        ("breaks", "acc", "mean", True, "fails for the answer ''"),
        ("yes", "submission", "file", True, "right answers of task 'tb_made' are not public"),
        ("yes", "acc", "file", True, "does not tell right answers from wrong ones"),
    ],
)
def test_what_has_no_number_for_each_sample_is_refused(
    process: str, metric: str, aggregate: str, higher: bool, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        made(tmp_path, process, metric, aggregate, higher).samples()


def test_a_scorer_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(tokenbench.TokenBenchError, match="SystemExit: no key"):
        made(tmp_path, "stops", "acc", "mean").samples()


def test_an_error_rate_is_turned_round(tmp_path: Path) -> None:
    task = made(tmp_path, "wrong", "rate", "mean", higher=False)
    samples = task.samples()
    assert [task.score("yes", sample) for sample in samples] == [float(s.target == "yes") for s in samples]
    assert task.official({sample.key: "yes" for sample in samples}) == {"rate": pytest.approx(2 / 3)}


def test_empty_answers_that_a_benchmark_leaves_out_are_wrong(tmp_path: Path) -> None:
    task = made(tmp_path, "drops", "acc", "answered")
    samples = task.samples()
    said: Mapping[str, str] = {s.key: s.target if k % 2 else "" for k, s in enumerate(samples)}
    assert [task.score(said[s.key], s) for s in samples] == [float(k % 2) for k in range(12)]
    assert task.official(said) == {"acc": 1.0}


def test_scores_that_do_not_give_the_official_number_are_an_error(tmp_path: Path) -> None:
    """As if what the examination found did not hold for all rows."""
    task = made(tmp_path, "wrong", "rate", "mean", higher=False)
    samples = task.samples()
    library = samples.scorer._library  # type: ignore[attr-defined]
    stock = library.aggregate
    library.aggregate = lambda metric, records, task=None: stock(metric, records, task) / 2
    with pytest.raises(UsageError, match=r"give 0\.666667 for 'rate', but lmms-eval reports 0\.333333"):
        task.official({sample.key: "yes" for sample in samples})


def test_another_metric_scores_samples_where_the_first_is_of_all_answers_at_once(tmp_path: Path) -> None:
    task = made(
        tmp_path, "several", "f", "square", more="  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
    )
    samples = task.samples()
    assert [task.score("yes", sample) for sample in samples] == [float(s.target == "yes") for s in samples]
    assert task.official({sample.key: "yes" for sample in samples}) == {
        "f": pytest.approx(1 / 9),
        "acc": pytest.approx(1 / 3),
    }
    (remark,) = task.remarks
    assert remark.startswith("Scores are 'acc', since 'f' is computed for all answers at once")


def test_a_number_that_fails_on_a_part_of_the_data_is_left_out(tmp_path: Path) -> None:
    """As if a task counted on all its rows: it could no longer be run with `--limit`."""
    task = made(tmp_path, "wrong", "rate", "mean", higher=False)
    samples = task.samples()
    library = samples.scorer._library  # type: ignore[attr-defined]
    library.aggregate = lambda *_: 1 / 0
    assert task.official({sample.key: "yes" for sample in samples}) == {}


def test_a_number_of_pairs_is_found_out_though_hardly_any_pair_is_among_the_first_rows(tmp_path: Path) -> None:
    """Of 600 rows in a mixed order; on rows of different pairs alone, it is the mean."""
    task = made(tmp_path, "paired", "acc", "whole_pairs")
    rows = [{"question": f"q{i}", "answer": ("yes", "no")[i % 2], "pair": f"p{i // 2}"} for i in range(600)]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "data" / "test.parquet"))
    with pytest.raises(UsageError, match="'acc' is not a mean of numbers for single samples"):
        task.samples()

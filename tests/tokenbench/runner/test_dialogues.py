"""Several questions about an image: the first one chooses the tokens, and the later ones are asked of what it left."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

import tokenbench
from tests.tokenbench.commands.test_running import call
from tests.tokenbench.runner.test_passes import short_of_memory
from tokenbench import Sample
from tokenbench.comparison.turns import describe_change
from tokenbench.contract.suite import Task
from tokenbench.engine import RowTrace
from tokenbench.models.source import locate
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench.runner.dialogues import batch_dialogues, complete, form_dialogues, halve
from tokenbench.runner.worker import Worker, WorkUnit
from tokenbench.store.run import Run
from tokenbench.testing import masked
from tokenbench_reports.terminal import TerminalReport

pytestmark = pytest.mark.usefixtures("without_reports")

BASE: dict[str, Any] = {
    "strategies": "fastv,clse,divprune",
    "budgets": "1/9",
    "tasks": "existence,position",
    "limit": 6,
    "floors": False,
}
ANSWERS = ["strategy", "task", "sample", "turn", "answer", "score", "kept"]


def samples(*clusters: str) -> list[Sample]:
    return [Sample(f"{c}{i}", c, f"question {i}", "", lambda: []) for i, c in enumerate(clusters)]


def named(formed: list[Sample]) -> list[tuple[str, int, str]]:
    return [(one.key, one.turn, one.opening.key if one.opening else "") for one in formed]


def test_questions_about_an_image_form_dialogues_in_the_order_of_the_task() -> None:
    formed = form_dialogues(samples("a", "b", "a", "a", "b", "a", "a"), 2)
    assert named(formed) == [
        ("a0", 1, ""), ("b1", 1, ""), ("a2", 2, "a0"), ("a3", 1, ""), ("b4", 2, "b1"), ("a5", 2, "a3"), ("a6", 1, ""),
    ]  # fmt: skip
    assert named(form_dialogues(samples(*"aaaa"), 3))[1:] == [("a1", 2, "a0"), ("a2", 3, "a0"), ("a3", 1, "")]


def test_questions_whose_places_are_known_are_asked_by_their_places() -> None:
    shuffled = [replace(one, place=place) for one, place in zip(samples(*"abaab"), (5, 9, 3, 4, 8), strict=True)]
    assert named(form_dialogues(shuffled, 2)) == [
        ("a2", 1, ""),
        ("b4", 1, ""),
        ("a3", 2, "a2"),
        ("a0", 1, ""),
        ("b1", 2, "b4"),
    ]


def test_more_samples_change_no_dialogue() -> None:
    clusters = "abacbaabca"
    for end in range(len(clusters)):
        assert named(form_dialogues(samples(*clusters), 3))[:end] == named(form_dialogues(samples(*clusters[:end]), 3))


def test_a_later_question_changes_with_the_first_one() -> None:
    alone = samples("a", "a")
    formed, changed = (form_dialogues([one, alone[1]], 2) for one in (alone[0], replace(alone[0], question="other")))
    assert formed[0].digest == alone[0].digest
    assert len({alone[1].digest, formed[1].digest, changed[1].digest}) == 3


def test_batches_and_halves_keep_dialogues_whole() -> None:
    task: Any = SimpleNamespace(name="t")
    questions = [(task, one) for one in sorted(form_dialogues(samples(*"aabbbcddd"), 3), key=lambda s: s.cluster)]
    keys = [[sample.key for _, sample in batch] for batch in batch_dialogues(questions, 4)]
    assert keys == [["a0", "a1"], ["b2", "b3", "b4", "c5"], ["d6", "d7", "d8"]]
    assert [[s.key for _, s in part] for part in halve(questions)] == [
        ["a0", "a1", "b2", "b3", "b4"],
        ["c5", "d6", "d7", "d8"],
    ]
    assert [[s.key for _, s in part] for part in halve(questions[2:5])] == [["b2", "b3"], ["b2", "b4"]]
    assert [[s.key for _, s in part] for part in halve(questions[:2])] == [["a0", "a1"]]
    every = {"t": {sample.key: sample for _, sample in questions}}
    assert [s.key for _, s in complete([questions[1], questions[3], questions[4]], every)] == [
        "a0",
        "a1",
        "b2",
        "b3",
        "b4",
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Every question by itself."""
    return tokenbench.run(output=tmp_path_factory.mktemp("alone") / "run", **BASE).samples()


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tokenbench.run(output=tmp_path_factory.mktemp("turns") / "run", turns=2, **BASE)


def later(run: pd.DataFrame) -> pd.DataFrame:
    return run[run["turn"] == 2]


def test_the_second_turn_equals_the_stock_model_that_never_pruned_by_the_second_question(
    alone: pd.DataFrame, dialogues: Run
) -> None:
    """What FastV left for the first question, run by itself, masks stock transformers, which then answers the second."""
    found = later(dialogues.samples())
    assert len(found) == 4 * 4  # four images have a second question, for four strategies
    _, tasks = resolve_suite("image", BASE["tasks"].split(","), registry(), (), ())
    asked = {task.name: {one.key: one for one in form_dialogues(task.samples()[: BASE["limit"]], 2)} for task in tasks}
    folder = locate("toy-llava", registry()).folder
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(folder)
    other = 0
    for row in found[found["strategy"] == "fastv"].to_dict("records"):
        sample: Sample = asked[row["task"]][row["sample"]]
        assert sample.opening is not None
        by_key = alone[(alone["strategy"] == "fastv") & (alone["task"] == row["task"])].set_index("sample")["kept"]
        own, first = by_key[sample.key], by_key[sample.opening.key]
        other += list(own) != list(first)
        assert list(row["kept"]) == list(first)
        answer = _greedy(model, processor, sample, torch.tensor(list(first)), tokens=4)
        assert row["answer"] == answer
    assert other  # else nothing was shown: the second question would have kept the same tokens


def _greedy(model: Any, processor: Any, sample: Sample, kept: torch.Tensor, tokens: int) -> str:
    content = [{"type": "image"}, {"type": "text", "text": sample.question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    prompt = dict(processor(text=[text], images=list(sample.load()), return_tensors="pt"))
    ids, width = prompt["input_ids"], prompt["input_ids"].shape[1]
    depth = model.config.text_config.num_hidden_layers
    trace = RowTrace(visual=0, text=0, depth=depth, stages=[(2, kept)])
    while ids.shape[1] < width + tokens and (
        ids.shape[1] == width or int(ids[0, -1]) != model.generation_config.eos_token_id
    ):
        output = SimpleNamespace(
            sequences=torch.nn.functional.pad(ids, (0, 1)), logits=[0] * (ids.shape[1] - width + 1)
        )
        ids = torch.cat([ids, masked(model, output, prompt, 0, trace, later=True)[-1:].argmax(-1, keepdim=True)], 1)
    return str(processor.tokenizer.decode(ids[0, width:], skip_special_tokens=True)).strip()


def test_first_turns_vanilla_and_methods_that_are_blind_answer_as_if_asked_alone(
    alone: pd.DataFrame, dialogues: Run
) -> None:
    found = dialogues.samples()
    assert sorted(found["turn"].unique()) == [1, 2]
    same = (found["turn"] == 1) | found["strategy"].isin(["vanilla", "divprune"])
    columns = [name for name in ANSWERS if name != "turn"]
    pd.testing.assert_frame_equal(found.loc[same, columns], alone.loc[same, columns])
    costs = ["visual_tokens", "text_tokens", "realised_tokens", "flops", "cache_bytes", "tokens_per_layer"]
    pd.testing.assert_frame_equal(found[costs], alone[costs])


@pytest.mark.parametrize("size", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_batches_of_any_size_answer_alike(tmp_path: Path, dialogues: Run, size: int) -> None:
    found = tokenbench.run(output=tmp_path / "run", turns=2, batch_size=size, **BASE).samples()
    pd.testing.assert_frame_equal(found[ANSWERS], dialogues.samples()[ANSWERS])


@pytest.mark.slow
def test_little_memory_divides_dialogues(tmp_path: Path, dialogues: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(1, monkeypatch)
    found = tokenbench.run(output=tmp_path / "run", turns=2, **BASE).samples()
    pd.testing.assert_frame_equal(found[ANSWERS], dialogues.samples()[ANSWERS])


@pytest.mark.slow
def test_the_short_report_says_what_changes_after_the_first_turn(dialogues: Run) -> None:
    comparison = dialogues.compare()
    if comparison.turns is None or comparison.turns["retention_first"].isna().all():
        pytest.fail("the run has no accuracy kept by turn")
    rows = comparison.turns.set_index("strategy").drop("vanilla")
    best = rows["retention_first"].idxmax()
    said = describe_change(comparison, "toy-llava", "1/9")
    assert said.startswith(
        f"Turns at budget 1/9: {best} keeps {100 * rows['retention_first'][best]:.1f} % at turn 1 and "
    )
    assert f"{100 * rows['retention'][best]:.1f} % at turn 2" in said
    out = io.StringIO()
    TerminalReport().write(comparison, dialogues, dialogues.folder, out)
    assert said in " ".join(out.getvalue().split())


def test_a_run_with_turns_grows(tmp_path: Path, dialogues: Run) -> None:
    """Also by second questions whose first ones were answered before."""
    for limit in (5, 6):
        run = tokenbench.run(output=tmp_path / "run", turns=2, **{**BASE, "limit": limit})
    pd.testing.assert_frame_equal(run.samples()[ANSWERS], dialogues.samples()[ANSWERS])
    with pytest.raises(tokenbench.UsageError, match="turns: 2 -> 1"):
        tokenbench.run(output=tmp_path / "run", **BASE)


def test_a_worker_of_another_process_asks_the_same_dialogues(
    tmp_path: Path, dialogues: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(tokenbench.Executor):
        """Does the units in workers made from the folder alone, as Slurm and Ray do."""

        def run(self, job: Any, bar: Any) -> None:
            for start in range(len(job.left["toy-llava"])):
                worker = Worker.of_run(str(job.store.folder), job.plugin_files, job.device)
                worker.run_unit(WorkUnit("toy-llava", start, start + 1), bar)

    found = tokenbench.run(output=tmp_path / "run", turns=2, batch_size=6, executor=Elsewhere(), **BASE).samples()
    pd.testing.assert_frame_equal(found[ANSWERS], dialogues.samples()[ANSWERS])


def test_without_a_second_question_turns_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--strategies", "fastv", "--tasks", "existence", "--limit", "2", "--turns", "2"]
    assert call("run", *options, "-o", str(tmp_path / "run")) == 2
    assert "no image has a second one among the samples of existence" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


class Named(Task):
    """Two questions about each of two pictures; one first question cannot be asked."""

    name = "named"
    max_new_tokens = 1

    def samples(self) -> list[Sample]:
        _, (task,) = resolve_suite("image", ["existence"], registry(), (), ())
        shown = {cluster: task.samples()[at].load for at, cluster in enumerate("ab")}
        questions = {"a0": "Is <image> red?", "a1": "Is it red?", "b0": "Is it red?", "b1": "Is it blue?"}
        return [Sample(key, key[0], text, "yes", shown[key[0]]) for key, text in questions.items()]

    def score(self, answer: str, sample: Sample) -> float:
        return float(answer == sample.target)


def test_without_its_first_question_a_dialogue_is_left_out(tmp_path: Path) -> None:
    suite = tokenbench.Suite("mine", "", (Named(),), model="toy-llava")
    run = tokenbench.run("fastv", tmp_path / "run", suite=suite, turns=2, budgets="1/9", floors=False)
    assert sorted(run.samples()["sample"].unique()) == ["b0", "b1"]
    assert any("the first question of its dialogue, a0, is left out" in note for note in run.left_out()), run.left_out()

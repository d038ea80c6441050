"""`tokenbench merge`: runs of several machines and days as one run directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.answered import answered
from tests.tokenbench.commands.test_running import call
from tokenbench import Run, UsageError
from tokenbench.store.joined import JoinedRuns
from tokenbench.store.merging import merge_runs

LOSES = {"fastv": 0.3, "clse": 0.2, "divprune": 0.5, "random": 0.6}
TABLES = ("summary.csv", "pairs.csv", "summary.md")


def merged(tmp_path: Path, *folders: Path, name: str = "merged") -> Path:
    merge_runs([Run.open(folder) for folder in folders], tmp_path / name)
    return tmp_path / name


def reports(folder: Path) -> dict[str, bytes]:
    assert call("report", str(folder), "--format", "csv,markdown") == 0
    return {name: (folder / "report" / name).read_bytes() for name in TABLES}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def parts_of(kind: str, tmp_path: Path) -> tuple[Path, list[Path]]:
    """One run of everything, and three runs that it can be merged from."""
    whole = answered(tmp_path / "whole", LOSES, seeds=(0, 1, 2))
    if kind == "strategies":
        own: list[dict[str, Any]] = [
            {"loses": {"fastv": 0.3}},
            {"loses": {"clse": 0.2, "random": 0.6}},
            {"loses": {"divprune": 0.5}},
        ]
    elif kind == "budgets and seeds":
        own = [{"budgets": ("1/3",)}, {"budgets": ("1/9",), "seeds": (0,)}, {"budgets": ("1/9",), "seeds": (1, 2)}]
    elif kind == "tasks":
        own = [{"tasks": ("counting",)}, {"tasks": ("attribute",)}, {"tasks": ("counting",), "loses": {"clse": 0.2}}]
    else:
        own = [{"limit": 40}, {"limit": 24, "loses": {"fastv": 0.3}}, {"limit": 30, "loses": {"divprune": 0.5}}]
    return whole, [
        answered(tmp_path / str(at), **{"loses": LOSES, "seeds": (0, 1, 2), **one}) for at, one in enumerate(own)
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("strategies", marks=pytest.mark.slow),
        pytest.param("budgets and seeds", marks=pytest.mark.slow),
        pytest.param("tasks", marks=pytest.mark.slow),
        "samples",
    ],
)
def test_three_runs_merged_report_what_one_run_of_everything_does(kind: str, tmp_path: Path) -> None:
    whole, parts = parts_of(kind, tmp_path)
    run = merged(tmp_path, *parts)
    assert reports(run) == reports(whole)
    assert Run.open(run).manifest["notes"] == []


def test_merging_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    parts = parts_of("samples", tmp_path)[1]
    assert contents(merged(tmp_path, *parts)) == contents(merged(tmp_path, *parts, name="again"))


def test_runs_compared_together_have_the_numbers_of_the_merged_run(tmp_path: Path) -> None:
    other = {"numerics": {"dtype": "bfloat16"}}
    a = answered(tmp_path / "a", LOSES)
    b = answered(tmp_path / "b", {"fastv": 0.3, "clse": 0.7}, parts=other, limit=20)
    c = answered(tmp_path / "c", {"clse": 0.2, "attention": 0.4})
    runs = [Run.open(folder) for folder in (a, b, c)]
    found, run = JoinedRuns(*runs).compare(), merged(tmp_path, a, b, c)
    again = Run.open(run).compare()
    assert found.summary.equals(again.summary)
    columns = list(again.pairs.columns)
    assert found.pairs[columns].astype({"verdict": str}).equals(again.pairs.astype({"verdict": str}))
    assert set(again.summary["strategy"]) == {"vanilla", "fastv", "clse#A", "clse#B", "divprune", "random", "attention"}


def test_what_the_runs_were_not_made_with_alike_is_said(tmp_path: Path) -> None:
    parts = {
        "numerics": {"dtype": "bfloat16"},
        "libraries": {"torch": "2.14.1"},
        "model": {"prompt": "another prompt that is long" * 3},
    }
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"clse": 0.7}, parts=parts)
    notes = Run.open(merged(tmp_path, a, b)).about()["notes"]
    assert notes[0] == "A is a, B is b."
    assert (
        "A and B differ in the dtype: float32 in A, bfloat16 in B. KV cache sizes are counted in each run's own dtype, so compare them within a run only."
        in notes
    )
    assert "A and B differ in the version of torch: 2.13.0 in A, 2.14.1 in B." in notes
    assert "A and B differ in the prompt of toy-llava." in notes
    assert any(note.startswith("A name that ends in #A, #B and so on says which run") for note in notes)


def test_seeds_of_other_code_are_not_seeds_of_one_strategy(tmp_path: Path) -> None:
    other = {"strategy": {"source": {"random": "1"}}}
    a, b = answered(tmp_path / "a", {"random": 0.6}), answered(tmp_path / "b", {"random": 0.6}, seeds=(1,))
    c = answered(tmp_path / "c", {"random": 0.6}, seeds=(1,), parts=other)
    alike, apart = (Run.open(merged(tmp_path, a, other, name=f"with-{other.name}")) for other in (b, c))
    assert set(alike.compare().summary["seeds"]) == {1, 2}
    assert set(apart.compare().summary["strategy"]) == {"vanilla", "random#A", "random#B"}
    assert "A and B differ in the code of random." in apart.manifest["notes"]


def test_a_strategy_that_answered_otherwise_at_one_budget_is_held_apart_at_all(tmp_path: Path) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"clse": 0.7}, budgets=("1/3",))
    found = Run.open(merged(tmp_path, a, b)).compare().summary
    assert set(zip(found["strategy"], found["budget"], strict=True)) == {
        ("vanilla", "all"),
        ("clse#A", "1/3"),
        ("clse#A", "1/9"),
        ("clse#B", "1/3"),
    }


def other_mistakes(record: dict[str, Any]) -> dict[str, Any]:
    wrong = record["strategy"] == "clse" and record["score"] == 0
    return {**record, "answer": "another mistake"} if wrong else record


def other_tokens(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "realised_tokens": 50.0} if record["strategy"] == "clse" else record


@pytest.mark.parametrize("change", [other_mistakes, other_tokens])
def test_equal_scores_with_other_answers_or_tokens_are_held_apart(
    change: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    a = answered(tmp_path / "a", {"clse": 0.2, "fastv": 0.3})
    b = answered(tmp_path / "b", {"clse": 0.2, "fastv": 0.3}, change=change)
    assert set(Run.open(merged(tmp_path, a, b)).compare().summary["strategy"]) == {
        "vanilla",
        "fastv",
        "clse#A",
        "clse#B",
    }


def test_another_vanilla_is_held_apart_with_a_check(tmp_path: Path) -> None:
    def flip(record: dict[str, Any]) -> dict[str, Any]:
        first = (record["strategy"], record["task"], record["sample"]) == ("vanilla", "attribute", wrong)
        return {**record, "answer": "nothing", "score": 0.0} if first else record

    a = answered(tmp_path / "a", {"clse": 0.2})
    right = Run.open(a).samples(["sample", "score"])
    right = right[(right["strategy"] == "vanilla") & (right["task"] == "attribute") & (right["score"] == 1)]
    wrong = right["sample"].iloc[0]
    b = answered(tmp_path / "b", {"fastv": 0.3}, change=flip)
    run = Run.open(merged(tmp_path, a, b))
    assert set(run.compare().summary["strategy"]) == {"vanilla", "vanilla#B", "clse", "fastv"}
    assert any(
        "A/A check, toy-llava: vanilla's scores differ between A and B on 1 of 48 samples" in n
        for n in run.about()["notes"]
    )


def scored_otherwise(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "score": record["score"] / 2}


def asked_otherwise(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "asked": "0123456789abcdef"}


def on_other_images(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "cluster": record["cluster"] + "'"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scored_otherwise, "the runs score it differently"),
        (asked_otherwise, "has different content in A and B"),
        (on_other_images, "has different content in A and B"),
    ],
)
def test_a_task_that_is_not_the_same_is_left_out_and_without_any_nothing_is_written(
    change: Callable[[dict[str, Any]], dict[str, Any]], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_task(record: dict[str, Any]) -> dict[str, Any]:
        return change(record) if record["task"] == "counting" else record

    a = answered(tmp_path / "a", {"clse": 0.2})
    run = Run.open(merged(tmp_path, a, answered(tmp_path / "b", {"fastv": 0.3}, change=one_task)))
    assert list(run.manifest["tasks"]) == ["attribute"]
    assert any(message in note for note in run.about()["notes"])
    answered(tmp_path / "c", {"fastv": 0.3}, change=change)
    assert call("merge", str(a), str(tmp_path / "c"), "-o", str(tmp_path / "none")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_task_whose_units_are_scored_by_another_rule_is_left_out(tmp_path: Path) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"fastv": 0.3})
    manifest = json.loads((b / "run.json").read_text())
    manifest["tasks"]["counting"]["unit_rule"] = "all"
    (b / "run.json").write_text(json.dumps(manifest))
    run = Run.open(merged(tmp_path, a, b))
    assert list(run.manifest["tasks"]) == ["attribute"]
    assert (
        "Task 'counting' is left out: its units are scored by different rules (mean in A, all in B)."
        in run.manifest["notes"]
    )


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"match": "tokens"}, "the same budget means a different amount of work in each (match: nominal in "),
        ({"turns": 2}, "the same question was asked of different tokens (turns: 1 in "),
        ({"until": "decided", "looks": 3, "spending": "pocock"}, "their looks were planned for each of them alone"),
    ],
)
def test_runs_with_other_settings_are_not_one_run(settings: dict[str, Any], why: str, tmp_path: Path) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"fastv": 0.3}, spec=settings)
    with pytest.raises(UsageError) as error:
        merged(tmp_path, a, b)
    assert why in str(error.value)
    assert error.value.hint.startswith("compare them instead")


@pytest.mark.slow
def test_a_merged_run_has_a_status_and_an_export_and_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"fastv": 0.3})
    run = merged(tmp_path, a, b)
    assert call("status", str(run)) == 0
    assert "10 done" in capsys.readouterr().out
    assert call("export", str(run), "--to", str(tmp_path / "set")) == 0
    before = contents(run)
    for command in (("resume", str(run)), ("run", "--strategies", "clse", "--limit", "24", "-o", str(run))):
        assert call(*command) == 2
        assert "was merged from a and b, and holds no answers of its own" in capsys.readouterr().err
    assert contents(run) == before


def test_a_merged_run_names_its_parents(tmp_path: Path) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"fastv": 0.3})
    parents = json.loads((merged(tmp_path, a, b) / "run.json").read_text())["merged"]
    assert [(parent["mark"], parent["name"], parent["cells"]) for parent in parents] == [("A", "a", 6), ("B", "b", 6)]
    assert parents[0]["answers"] != parents[1]["answers"]
    assert str(tmp_path) not in json.dumps(parents)


def test_an_error_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = answered(tmp_path / "a", {"clse": 0.2}), answered(tmp_path / "b", {"fastv": 0.3})
    monkeypatch.setattr("tokenbench.store.merging.write_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merged(tmp_path, a, b)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_run_is_not_merged_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = answered(tmp_path / "run", {"fastv": 0.3}, tasks=("attribute",), budgets=("1/3",))
    for command in (["merge", str(run), str(run / "." / ".." / "run")], ["publish", str(run), str(run)]):
        assert call(*command, "-o", str(tmp_path / "new")) == 2
        assert "is given twice" in capsys.readouterr().err


def test_runs_without_a_common_model_are_neither_compared_nor_merged(
    tmp_path: Path,
) -> None:
    a, b = (answered(tmp_path / name, {"fastv": 0.3}, tasks=("attribute",), budgets=("1/3",)) for name in "ab")
    content = json.loads((b / "run.json").read_text())
    for cell in content["cells"]:
        cell["model"] = "other"
        path = b / "cells" / f"{cell['id']}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "model": "other"}))
    content["models"] = {"other": content["models"]["toy-llava"]}
    (b / "run.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="share no samples of any model"):
        JoinedRuns(Run.open(a), Run.open(b)).compare()
    with pytest.raises(UsageError, match="share no samples of any model"):
        merged(tmp_path, a, b)


def test_a_strategy_that_is_held_apart_is_not_said_to_have_answered_alike(tmp_path: Path) -> None:
    def spoil(record: dict[str, Any]) -> dict[str, Any]:
        wrong = record["strategy"] == "fastv" and len(record["kept"]) < 20
        return {**record, "answer": "else", "score": 0.0} if wrong else record

    a, b = (
        answered(tmp_path / name, {"fastv": 0.3}, tasks=("attribute",), change=change)
        for name, change in (("a", dict), ("b", spoil))
    )
    notes = JoinedRuns(Run.open(a), Run.open(b)).about()["notes"]
    assert any("gave the same answers for vanilla: shown once" in note for note in notes)

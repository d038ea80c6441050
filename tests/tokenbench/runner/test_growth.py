"""A run grows in its folder: nothing is computed twice, and it ends as if it had been run at once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.processes import count_questions
from tests.tokenbench.commands.test_running import call, killed, table
from tests.tokenbench.commands.test_status import SUITE, made_suite
from tokenbench.errors import UsageError
from tokenbench.runner.growth import describe_growth, grow, with_seeds
from tokenbench.store.directory import Store
from tokenbench.store.spec import Spec

# What depends on how often verdicts were looked at.
OF_LOOKS = ["low", "high", "p", "p_unadjusted", "verdict", "mde", "smallest_margin", "samples_needed", "look"]
OF_LOOKS += ["retention_low", "retention_high"]  # over all tasks they are those of the verdict
BASE = {"tasks": "attribute", "strategies": "fastv", "budgets": "1/9", "seeds": "1", "limit": 3, "batch_size": 4}


def words(**changes: Any) -> list[str]:
    """As the command line has them."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in {**BASE, **changes}.items()]


@pytest.fixture
def colours(tmp_path: Path) -> list[str]:
    return made_suite(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    return count_questions(monkeypatch)


def run(folder: Path, **changes: Any) -> None:
    """Without reports, and so without a look."""
    tokenbench.run(output=folder, **{**BASE, **changes})


def equal(folder: Path, fresh: Path) -> None:
    """The tables of both, but for what depends on looks."""
    order = ["strategy", "budget", "seed", "task"]
    ours, theirs = (table(f).sort_values(order, kind="stable", ignore_index=True) for f in (folder, fresh))
    pd.testing.assert_frame_equal(ours, theirs)
    compared = [tokenbench.Run.open(f).compare() for f in (folder, fresh)]
    for name in ("summary", "pairs"):
        ours, theirs = (getattr(found, name).drop(columns=OF_LOOKS, errors="ignore") for found in compared)
        pd.testing.assert_frame_equal(ours, theirs)


def looks(folder: Path) -> list[dict[str, int]]:
    return [look["samples"] for look in json.loads((folder / "run.json").read_text())["looks"]]


def test_more_samples_then_one_more_strategy(
    tmp_path: Path, asked: Counter[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, fresh = tmp_path / "run", tmp_path / "fresh"
    assert call("run", *words(), "-o", str(folder), "-q") == 0
    assert "This is look" not in (folder / "report" / "summary.md").read_text()
    assert call("run", *words(limit=7), "-o", str(folder), "-q") == 0
    assert f"{folder} is extended (limit: 3 -> 7)" in capsys.readouterr().err
    assert "This is look 2 at this run" in (folder / "report" / "summary.md").read_text()
    assert call("run", *words(limit=7, strategies="fastv,clse"), "-o", str(folder), "-q") == 0
    assert "is extended (strategies: + clse)" in capsys.readouterr().err
    assert set(asked.values()) == {1}
    assert len(asked) == 7 * 5  # vanilla, fastv, clse, random, downsample
    assert looks(folder) == [{"attribute": 3}, {"attribute": 7}]  # another strategy on the same samples is no look
    assert not list((folder / "journal").iterdir())
    run(fresh, limit=7, strategies="fastv,clse")
    equal(folder, fresh)


@pytest.mark.slow
def test_more_of_anything(tmp_path: Path, asked: Counter[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fresh = tmp_path / "run", tmp_path / "fresh"
    order: list[str] = []
    finish = Store.finish
    monkeypatch.setattr(Store, "finish", lambda *a: (order.append(a[3]["strategy"]), finish(*a)))
    run(folder)
    assert order.index("vanilla") == len(order) - 1  # as far as vanilla goes, all others do
    run(folder, budgets="1/3,1/9")
    tokenbench.Run.open(folder).compare()
    run(folder, budgets="1/3,1/9", seeds="0,1")
    run(folder, tasks="counting,attribute", budgets="1/3,1/9", seeds="0,1")
    assert set(asked.values()) == {1}
    tokenbench.Run.open(folder).compare()
    assert looks(folder) == [{"attribute": 3}, {"attribute": 3, "counting": 3}]
    run(fresh, tasks="counting,attribute", budgets="1/3,1/9", seeds="0,1")
    equal(folder, fresh)


def test_another_suite_joins(colours: list[str], tmp_path: Path, asked: Counter[Any]) -> None:
    (tmp_path / "bad-1.png").write_bytes((tmp_path / "bad-0.png").read_bytes())
    folder, plugins = tmp_path / "run", [tmp_path / "plug.py"]
    run(folder, plugins=plugins, suite="colours", tasks="good", floors=False)
    run(folder, plugins=plugins, suite="image", floors=False)
    assert set(asked.values()) == {1}
    assert table(folder).groupby("task").size().to_dict() == {"good": 6, "attribute": 6}


def test_what_a_command_does_not_name_stays(tmp_path: Path, asked: Counter[Any]) -> None:
    folder = tmp_path / "run"
    run(folder)
    run(folder, floors=False, strategies="uniform", budgets="1/3")
    assert {(name, budget) for name, budget, *_ in asked} == {
        ("vanilla", "all"),
        *((name, budget) for name in ("fastv", "uniform", "random", "downsample") for budget in ("1/9", "1/3")),
    }
    assert set(asked.values()) == {1}
    assert set(table(folder)["strategy"]) == {"vanilla", "fastv", "uniform", "random", "downsample"}


def test_a_command_that_cannot_be_done_leaves_the_run_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a model takes is only seen when it is shown to it."""
    folder = tmp_path / "run"
    run(folder, floors=False)
    before = (folder / "run.json").read_bytes()
    more = words(suite="video", tasks="motion", models="toy-llava")
    assert call("run", *more, "--no-floors", "-o", str(folder), "-q") == 2
    assert "does not accept videos" in capsys.readouterr().err
    assert (folder / "run.json").read_bytes() == before


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fresh"
    run(folder, limit=7)
    return folder


SLOW = [pytest.param(moment, marks=pytest.mark.slow) for moment in (0, 2, "torn", "published", "publish")]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["journals", *SLOW])
def test_killed_while_it_grows_it_loses_nothing(
    fresh: Path, tmp_path: Path, asked: Counter[Any], moment: int | str
) -> None:
    folder = tmp_path / "run"
    run(folder)
    before = table(folder)
    asked.clear()
    killed(moment, ("run", *words(limit=7), "-o", str(folder), "-q"))
    there = table(folder)  # what was published before is there all the time
    assert len(there.merge(before[["strategy", "seed", "sample"]])) == len(before)
    assert call("resume", str(folder), "-q") == 0
    assert not set(before["sample"]) & {key.partition("/")[2] for *_, key in asked}
    equal(folder, fresh)
    assert not list((folder / "journal").iterdir())


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ((), {"limit": 2}, "limit: 3 -> 2"),
        (("--match", "tokens"), {}, "match: nominal -> tokens"),
        (("--margin", "2"), {}, "margin: 1.0 -> 2.0"),
        (("--until", "decided"), {}, "until: none -> decided"),
    ],
)
def test_what_cannot_grow_is_refused(
    tmp_path: Path, more: tuple[str, ...], changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    spec = spec_of(limit=3)
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(manifest(spec)))
    before = (folder / "run.json").read_bytes()
    assert call("run", *words(**changes), *more, "-o", str(folder), "-q") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert "choose another folder with -o" in line
    assert (folder / "run.json").read_bytes() == before


def spec_of(**changes: Any) -> Spec:
    settings: dict[str, Any] = {
        "suite": "image", "tasks": ("attribute",), "models": ("toy-llava",), "strategies": ("fastv",), "floors": ("random", "downsample"),
        "budgets": ("1/9",), "seeds": (1,), "limit": 40, "batch_size": 4, "device": "auto", "dtype": "float32", "attention": "sdpa",
    }  # fmt: skip
    return Spec(**{**settings, **changes})


def manifest(spec: Spec) -> dict[str, Any]:
    from tokenbench.store.run_json import SCHEMA_VERSION

    parts = {"cells": [], "parts": {}, "tasks": {}, "models": {}, "plugin_files": []}
    return {"schema_version": SCHEMA_VERSION, "spec": spec.to_json(), **parts}


def test_a_run_becomes_what_both_commands_say() -> None:
    there = spec_of(strategies=("fastv", "clse"), data=("gqa=/a",))
    asked = spec_of(
        strategies=("random", "fastv"), floors=(), seeds=(0, 1), limit=None, suite="lmms:gqa", data=("mme=/b",)
    )
    now = grow(there, asked, Path("run"))
    assert now.strategies == ("fastv", "clse", "random")
    assert now.floors == ("downsample",)
    assert now.seeds == (0, 1)
    assert now.limit is None
    assert now.suite == "image,lmms:gqa"
    assert now.data == ("gqa=/a", "mme=/b")
    assert describe_growth(there, now) == "strategies: + random; seeds: + 0; limit: 40 -> none"
    assert grow(now, now, Path("run")) == now
    assert describe_growth(now, now) == ""


def test_seeds_that_nobody_asked_for_are_not_lost() -> None:
    """Unless they are asked for, seeds follow from what a strategy draws."""
    cells = [{"strategy": "random", "seed": 0}, {"strategy": "mine", "seed": 4}, {"strategy": "fastv", "seed": 9}]
    about = {"seed_scopes": {"random": "sample", "mine": "run"}, "cells": cells}
    default, asked = spec_of(seeds=()), spec_of(seeds=(7, 0))
    assert grow(with_seeds(default, about), asked, Path("run")).seeds == (0, 4, 7)
    assert describe_growth(with_seeds(default, about), spec_of(seeds=(0, 4, 7))) == "seeds: + 7"
    assert grow(default, default, Path("run")).seeds == ()
    assert grow(with_seeds(asked, about), default, Path("run")).seeds == (7, 0)


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ({"limit": None}, {"limit": 40}),
        ({"data": ("gqa=/a",)}, {"data": ("gqa=/b",)}),
        ({}, {"dtype": "float16"}),
        ({"until": "decided", "looks": 5}, {"until": "decided", "looks": 4}),
        ({"until": "decided", "looks": 5}, {"until": "decided", "looks": 5, "limit": 50}),
        ({"until": "decided", "looks": 5}, {"until": "decided", "looks": 5, "tasks": ("attribute", "counting")}),
    ],
)
def test_a_run_never_shrinks_and_keeps_its_plan(there: dict[str, Any], asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="holds a run with other settings"):
        grow(spec_of(**there), spec_of(**asked), Path("run"))
    grow(spec_of(**there), spec_of(**there, strategies=("clse",), budgets=("1/3",), seeds=(7,)), Path("run"))


def test_a_question_that_changed_is_asked_again_and_no_other(
    colours: list[str],
    tmp_path: Path,
    asked: Counter[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad-1.png").write_bytes((tmp_path / "bad-0.png").read_bytes())
    plug, folder = tmp_path / "plug.py", tmp_path / "run"
    words = tmp_path / "words"
    words.write_text("What color?")
    plug.write_text(SUITE.replace('"What color?"', '(FOLDER / "words").read_text() if i == 2 else "What color?"'))
    assert call("run", *colours, "-o", str(folder)) == 0
    words.write_text("Which color?")
    asked.clear()
    capsys.readouterr()
    assert call("status", str(folder), "--plugin", str(plug), "--thorough") == 0
    assert "stale: task: samples changed" in capsys.readouterr().out
    assert call("resume", str(folder), "--plugin", str(plug), "-q") == 0
    assert asked == Counter(
        (name, budget, 0, f"{task}/{task}-2")
        for name, budget in (("vanilla", "all"), ("fastv", "1/9"))
        for task in ("good", "bad")
    )
    assert len(table(folder)) == 16


def test_what_fails_while_a_run_grows_has_no_numbers_until_it_is_mended(
    colours: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second picture of a task is broken: as in a fresh run, the task has no numbers, though its first sample has."""
    folder, few = tmp_path / "run", [*colours, "--strict", "--limit", "1"]
    assert call("run", *few, "-o", str(folder)) == 0
    assert call("run", *colours, "--strict", "-o", str(folder)) == 3
    assert "sample bad-1 cannot be loaded" in capsys.readouterr().err
    assert set(tokenbench.Run.open(folder).whole()["task"]) == {"good"}
    assert call("status", str(folder)) == 0
    assert "failed 1/4" in capsys.readouterr().out
    (tmp_path / "bad-1.png").write_bytes((tmp_path / "bad-0.png").read_bytes())
    plug = str(tmp_path / "plug.py")
    assert call("resume", str(folder), "--plugin", plug, "-q", "--retry-failed") == 0
    assert table(folder).groupby("task").size().to_dict() == {"good": 8, "bad": 8}
    assert not list((folder / "cells").glob("*.failed.json"))


def test_to_look_again_at_the_same_is_no_look_and_to_peek_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(folder, floors=False)
    assert call("compare", str(folder), "--peek") == 0
    assert call("status", str(folder), "--peek") == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("toy-llava")]
    assert len(lines) == 2 * 2  # a row for every cell, twice
    assert all(line.split()[-1] == "3" for line in lines)  # samples
    assert not any(word in out for word in ("[", " p ", "better", "worse", "decided"))
    assert looks(folder) == []
    assert call("compare", str(folder)) == 0
    assert call("report", str(folder)) == 0
    tokenbench.Run.open(folder).compare()
    assert looks(folder) == [{"attribute": 3}]
    assert call("compare", str(folder), "--peek", "--fail-if", "fastv<vanilla@1/9") == 2


def test_peeked_scores_are_those_of_the_report(fresh: Path) -> None:
    there = tokenbench.Run.open(fresh)
    cell = ["strategy", "budget", "task"]
    scores, summary = (
        found.set_index(cell)["score"].sort_index() for found in (there.scores(), there.compare().summary)
    )
    pd.testing.assert_series_equal(scores, summary.drop(index="mean", level="task"))

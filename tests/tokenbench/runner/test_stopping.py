"""A run that stops when it is decided: whole images at random, look by look, and the same decisions after kill -9."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenbench
from tests.processes import count_questions
from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call, die, kill_at, table
from tokenbench.comparison.looks import find_frozen
from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench.contract.suite import Sample
from tokenbench.runner import stopping, work
from tokenbench.runner.order import image_of, look_sizes, shuffle_images
from tokenbench.store.directory import Store
from tokenbench.store.looking import assign_looks, describe_looks, merge_looks
from tokenbench.store.run import Run

SETTINGS = {
    "strategies": "fastv", "tasks": "attribute", "budgets": "1/9", "seeds": "1", "limit": 36, "batch_size": 12, "until": "decided", "looks": 3,
}  # fmt: skip
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    return count_questions(monkeypatch)


def sample(at: int, image: int, unit: str = "") -> Sample:
    return Sample(f"s{at}", f"image-{image}", "What?", "red", list, unit=unit)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=40), st.integers(1, 7))
def test_a_look_sees_whole_images_and_whole_units(made: list[tuple[int, int]], looks: int) -> None:
    """A unit is a question; some are asked with two pictures, whose first one counts."""
    units = sorted({(unit, image) for image, unit in made})
    samples = [sample(at, image, f"u{unit}") for at, (unit, image) in enumerate(units)]
    order, sizes = shuffle_images(samples, 0), look_sizes(shuffle_images(samples, 0), looks)
    assert Counter(order) == Counter(samples)
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(samples)
    images = set(image_of(samples))
    for look, size in enumerate(sizes, 1):
        seen, rest = order[:size], order[size:]
        assert not {one.unit for one in seen} & {one.unit for one in rest}
        assert len(set(image_of(seen))) == -(-look * len(images) // looks)


def test_tasks_on_the_same_images_take_them_up_in_the_same_order_and_at_random() -> None:
    one, other = [sample(i, i) for i in range(200)], [sample(i, 199 - i) for i in range(150)]
    orders = [[s.cluster for s in shuffle_images(samples, 0)] for samples in (one, other)]
    shared = set(orders[0]) & set(orders[1])
    assert [image for image in orders[0] if image in shared] == orders[1]
    places = [int(image.rpartition("-")[2]) for image in orders[0][:100]]
    assert 80 < sum(places) / 100 < 120  # the first half of the order is no half of the data set
    assert orders[0] != [s.cluster for s in shuffle_images(one, 1)]


def scripted(monkeypatch: pytest.MonkeyPatch, decided: dict[str, int]) -> None:
    """Verdicts as if these strategies were decided at these looks."""

    def verdicts(folder: Path, look: int) -> dict[Any, Verdict]:
        rows = tokenbench.Run.open(folder).whole()[["model", "strategy", "budget"]].drop_duplicates()
        return {
            tuple(row): Verdict(Kind.LOSES_MORE, 1.0) if decided.get(row[1], 99) <= look else Verdict(Kind.WORSE)
            for row in rows.itertuples(index=False)
            if row[1] != "vanilla"
        }

    monkeypatch.setattr(stopping, "_verdicts", verdicts)


def sizes(folder: Path) -> dict[str, int]:
    return dict(table(folder).groupby("strategy").size())


def test_what_is_decided_is_not_run_further_and_vanilla_goes_on_while_anyone_does(
    tmp_path: Path,
    asked: Counter[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, {"random": 1, "downsample": 2})
    prints, own = [], work.fingerprint_of
    monkeypatch.setattr(work, "fingerprint_of", lambda samples: prints.append(samples) or own(samples))
    run = tokenbench.run(output=tmp_path / "run", **{**SETTINGS, "limit": 9})
    one, two, three = run.manifest["plan"]["samples"]["attribute"]
    assert 0 < one < two < three == 9
    assert sizes(tmp_path / "run") == {"vanilla": three, "fastv": three, "random": one, "downsample": two}
    assert set(asked.values()) == {1}
    assert len(prints) == 1  # of one task; each of the three looks writes the manifest
    taken = run.samples().groupby("strategy")["sample"].agg(list)
    assert taken["vanilla"][:two] == taken["downsample"]
    assert taken["downsample"][:one] == taken["random"]
    (note,) = [text for text in run.about()["notes"] if "look" in text]
    saved = 4 * three - 2 * three - one - two
    assert "look 3 of at most 3, planned before the run" in note
    assert f"{saved} of {4 * three} answers ({100 * saved / (4 * three):.0f} %) were not computed" in note
    status = {cell["strategy"]: (cell["state"], cell["answers"]) for cell in states(tmp_path / "run")}
    assert status == {name: ("done", number) for name, number in sizes(tmp_path / "run").items()}


def states(folder: Path) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from tokenbench.commands.status import status_of

    return [asdict(cell) for cell in status_of(tokenbench.Run.open(folder)).cells]


def test_when_all_is_decided_vanilla_stops_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {"random": 1, "downsample": 2, "fastv": 1})
    run = tokenbench.run(output=tmp_path / "run", **{**SETTINGS, "limit": 9})
    one, two, _ = run.manifest["plan"]["samples"]["attribute"]
    assert sizes(tmp_path / "run") == {"vanilla": two, "fastv": one, "random": one, "downsample": two}
    comparison = run.compare()
    assert comparison is not None


def test_a_strategy_that_joins_later_is_looked_at_from_the_beginning(
    tmp_path: Path,
    asked: Counter[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, {"random": 1, "downsample": 1, "fastv": 1, "uniform": 2})
    few = {**SETTINGS, "limit": 9}
    tokenbench.run(output=tmp_path / "run", **few)
    run = tokenbench.run(output=tmp_path / "run", **{**few, "strategies": "fastv,uniform"})
    one, two, _ = run.manifest["plan"]["samples"]["attribute"]
    assert sizes(tmp_path / "run") == {"vanilla": two, "fastv": one, "random": one, "downsample": one, "uniform": two}
    assert set(asked.values()) == {1}


def test_what_failed_keeps_nobody_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy without numbers is never decided; vanilla does not wait for it."""
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN)
    scripted(monkeypatch, {"fastv": 1})
    few = {**SETTINGS, "limit": 9, "strategies": "fastv,broken", "floors": False, "plugins": [plugin]}
    run = tokenbench.run(output=tmp_path / "run", **few)
    one, *_ = run.manifest["plan"]["samples"]["attribute"]
    assert sizes(tmp_path / "run") == {"vanilla": one, "fastv": one}


BROKEN = """
import tokenbench
from tokenbench import Strategy


class Broken(Strategy):
    def schedule(self, depth, budget):
        return [(1, budget.keep)]

    def score(self, view):
        raise ValueError("broken")


@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("broken", Broken)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing broke off; both floors are decided before its last look."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert call("run", *WORDS, "-o", str(folder), "-q") == 0
    plan = json.loads((folder / "run.json").read_text())["plan"]["samples"]["attribute"]
    assert sizes(folder)["vanilla"] == plan[2]
    assert sizes(folder)["random"] in plan[:2]
    return folder


def decisions(folder: Path) -> tuple[Any, ...]:
    manifest = json.loads((folder / "run.json").read_text())
    cells = {(cell["strategy"], cell["seed"]): cell["samples"] for cell in manifest["cells"]}
    return cells, [look["samples"] for look in manifest["looks"]], manifest["plan"]


def victim(moment: tuple[str, int], arguments: list[str]) -> None:
    """Dies at the n-th append to a journal, publication of a cell, or look."""
    what, number = moment
    if what == "append":
        kill_at(number)
    elif what == "finish":
        Store.finish = dying(Store.finish, number)  # type: ignore[method-assign]
    else:
        stopping._verdicts = dying(stopping._verdicts, number)
    call(*arguments)


def dying(own: Callable[..., Any], number: int) -> Callable[..., Any]:
    calls = iter(range(1, 10**6))

    def once(*arguments: Any) -> Any:
        found = own(*arguments)
        return die() if next(calls) == number else found

    return once


QUICK = [("finish", 6)]
SLOW = [("append", 11), ("look", 2)]
REST = [("append", 3), ("append", 13), ("finish", 1), ("finish", 2), ("finish", 9), ("look", 1)]
MOMENTS = [
    *QUICK,
    *(pytest.param(moment, marks=pytest.mark.slow) for moment in SLOW),
    *(pytest.param(moment, marks=pytest.mark.exhaustive) for moment in REST),
]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_killed_and_resumed_it_takes_the_same_decisions(whole: Path, tmp_path: Path, moment: tuple[str, int]) -> None:
    folder = tmp_path / "run"
    arguments = ["run", *WORDS, "-o", str(folder), "-q"]
    only_posix("a process that has loaded everything is forked, and kills itself")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tokenbench.runner.execute", "transformers.models.llava", "tests.tokenbench.runner.test_stopping"]
    )
    process = context.Process(target=victim, args=(moment, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    tokenbench.Run.open(folder).failures()
    tokenbench.run(output=folder, **SETTINGS)
    tokenbench.Run.open(folder).compare()
    assert decisions(folder) == decisions(whole)
    pd.testing.assert_frame_equal(table(folder), table(whole))
    assert not list((folder / "journal").iterdir())


def test_a_finished_run_takes_its_decisions_again_and_asks_nothing(
    whole: Path,
    asked: Counter[Any],
) -> None:
    before = decisions(whole)
    tokenbench.run(output=whole, **SETTINGS)
    assert not asked
    assert decisions(whole) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--looks", "3"], "--looks requires --until decided"),
        (["--spending", "pocock"], "--spending requires --until decided"),
        (["--until", "decided", "--looks", "1"], "--looks"),
        (["--until", "bored"], "--until"),
        (["--until", "decided", "--limit", "4", "--looks", "5"], "the largest task has only"),
    ],
)
def test_a_plan_that_is_none_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "--strategies", "fastv", "--tasks", "attribute", *options, "-o", str(tmp_path / "run")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def rows(ends: dict[str, dict[str, int]]) -> pd.DataFrame:
    """By strategy and task, so many samples of images of two."""
    return pd.DataFrame([
        {
            "model": "m", "strategy": strategy, "budget": "all" if strategy == "vanilla" else "1/9", "seed": 0, "task": task,
            "sample": f"{task}{at}", "cluster": f"image-{at // 2}",
        }
        for strategy, tasks in ends.items() for task, end in tasks.items() for at in range(end)
    ])  # fmt: skip


PLAN = {
    "looks": 3, "spending": "pocock", "maximum": {"large": 9, "small": 2}, "samples": {"large": [6, 12, 18], "small": [2, 4, 4]},
}  # fmt: skip


def test_a_cell_that_stopped_is_frozen_at_the_last_look_of_which_it_has_all() -> None:
    samples = rows({
        "vanilla": {"large": 18, "small": 4},
        "early": {"large": 6, "small": 2},
        "later": {"large": 12, "small": 4},
        "on": {"large": 18, "small": 4},
    })  # fmt: skip
    seen, looks = assign_looks(samples, {"plan": PLAN, "spec": {"limit": None}, "tasks": {}})
    assert looks.frozen == {("m", "early", "1/9"): 1, ("m", "later", "1/9"): 2}
    assert looks.fractions == (1 / 3, 2 / 3, 1.0)
    assert looks.images == ({"large": 3, "small": 1}, {"large": 6, "small": 2}, {"large": 9, "small": 2})
    assert (looks.declared, looks.planned, looks.spending, looks.maximum) == (True, 3, "pocock", PLAN["maximum"])
    assert dict(seen[seen["strategy"] == "vanilla"].groupby("look").size()) == {1: 8, 2: 8, 3: 6}
    then = looks.until(2)
    assert (then.fractions, then.frozen) == ((1 / 3, 2 / 3), {("m", "early", "1/9"): 1})
    assert find_frozen(seen[seen["look"] <= 2]) == then.frozen


def test_what_nobody_has_seen_is_left_out() -> None:
    """Broken off while cells were published: vanilla comes last, so that a look counts when all of it is there."""
    samples = rows({"vanilla": {"large": 6}, "ahead": {"large": 12}})
    seen, looks = assign_looks(samples, {"plan": PLAN, "spec": {"limit": None}, "tasks": {}})
    assert len(looks) == 1
    assert not looks.frozen
    assert seen.groupby("strategy").size().to_dict() == {"vanilla": 6, "ahead": 6}


@pytest.mark.parametrize("lacks", ["vanilla", "on"])
def test_a_sample_that_one_cell_lacks_is_seen_in_the_others(lacks: str) -> None:
    """It is for the comparison to say that it is missing."""
    samples = rows({"vanilla": {"large": 18}, "on": {"large": 18}})
    samples = samples[(samples["strategy"] != lacks) | (samples["sample"] != "large7")]
    for manifest in (
        {"spec": {"limit": 20}, "looks": [{"samples": {"large": 8}}]},
        {"plan": PLAN, "spec": {"limit": None}},
    ):
        seen, looks = assign_looks(samples, manifest)
        assert len(seen) == 35
        assert len(looks) == (3 if "plan" in manifest else 2)
        assert not looks.frozen
        first = seen[(seen["strategy"] != lacks) & (seen["look"] == 1)]["sample"]
        assert list(first) == [f"large{i}" for i in range(6 if "plan" in manifest else 8)]


def test_looks_by_hand_are_counted_and_what_they_saw_is_known() -> None:
    samples = rows({"vanilla": {"large": 18, "small": 4}, "on": {"large": 18, "small": 4}})
    manifest = {"spec": {"limit": 40}, "looks": [{"samples": {"large": 4}}, {"samples": {"large": 8, "small": 4}}]}
    seen, looks = assign_looks(samples, manifest)
    assert len(looks) == 3
    assert (looks.declared, looks.maximum, looks.spending, looks.planned) == (False, None, "counted", None)
    assert looks.images == ({"large": 2}, {"large": 4, "small": 2}, {"large": 9, "small": 2})
    assert looks.fractions == (2 / 9 / 2, (4 / 9 + 1) / 2, 1.0)
    assert looks.until(2).fractions == pytest.approx((2 / 9 / (4 / 9 + 1), 1.0))
    assert seen[seen["sample"] == "small0"]["look"].tolist() == [2, 2]
    assert "look 3 at this run" in describe_looks(looks, 0, 0)
    again = {**manifest, "looks": [*manifest["looks"], {"samples": {"large": 18, "small": 4}}]}
    assert assign_looks(samples, again)[1] == looks
    (_, once) = assign_looks(samples, {"spec": {"limit": None}})
    assert (once.declared, once.fractions, once.maximum) == (True, (1.0,), {"large": 9, "small": 2})
    assert describe_looks(once, 0, 0) == ""


def test_two_runs_were_seen_as_often_as_both_were() -> None:
    samples = rows({"vanilla": {"large": 6}, "on#B": {"large": 6}})
    own = samples.assign(look=[1, 1, 2, 2, 3, 3, 1, 1, 1, 1, 1, 1])
    many, once = (assign_looks(rows({"vanilla": {"large": 6}}), {"spec": {"limit": limit}})[1] for limit in (6, None))
    seen, looks = merge_looks(own, [many, once])
    assert seen["look"].tolist() == [1, 1, 2, 2, 3, 3] * 2
    assert (len(looks), looks.declared, looks.frozen) == (3, False, {})
    assert merge_looks(own.assign(look=1), [once, once])[1].declared
    assert not merge_looks(own.assign(look=1), [many, once])[1].declared


def test_what_fails_later_had_not_failed_at_an_earlier_look(tmp_path: Path) -> None:
    """Otherwise a run that is broken off would decide otherwise than before: the family would be another one."""
    names = {"model": "m", "strategy": "late", "budget": "1/9", "seed": 0, "task": "large"}

    class Told(Run):
        def __init__(self) -> None:
            self.manifest = {"plan": PLAN, "spec": {"limit": None}, "tasks": {}}
            self._store = SimpleNamespace(left_out=SimpleNamespace(all=list))  # type: ignore[assignment]

        def _numbers(self) -> pd.DataFrame:
            return rows({"vanilla": {"large": 12}, "late": {"large": 6}, "on": {"large": 12}})

        def failures(self) -> list[dict[str, Any]]:
            return [{**names, "samples": 12}]

    assert set(Told()._seen_at(1)[0]["strategy"]) == {"vanilla", "late", "on"}
    assert set(Told()._seen_at(2)[0]["strategy"]) == {"vanilla", "on"}

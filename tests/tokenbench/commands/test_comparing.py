"""Gates, and two runs as one."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from tests.fuzz.made import SPEC
from tests.reports.made_up import bench
from tokenbench.comparison import compare
from tokenbench.comparison.gates import check_names, explain_failure, parse_gate
from tokenbench.contract.cells import IDENTITY
from tokenbench.errors import MachineError, UsageError
from tokenbench.store.frames import select
from tokenbench.store.joined import JoinedRuns
from tokenbench.store.resuming import describe_unfinished
from tokenbench.store.run import Run
from tokenbench.store.run_json import SCHEMA_VERSION
from tokenbench_reports.details import DetailsReport


def rows(loses, images=60, seed=0, tasks=("count", "read"), budgets=("1/3",), target="x"):
    rng, found = np.random.default_rng(seed), []
    for task in tasks:
        right = np.random.default_rng(len(task)).uniform(size=2 * images) < 0.8
        for strategy, spoils in {"vanilla": 0.0, **loses}.items():
            for budget in ("all",) if strategy == "vanilla" else budgets:
                for at, score in enumerate(right & (rng.uniform(size=2 * images) >= spoils)):
                    found.append({
                        "model": "toy", "strategy": strategy, "budget": budget, "seed": 0, "task": task,
                        "sample": f"{task}-{at}", "cluster": f"image-{at // 2}", "answer": "x" if score else "y", "target": target,
                        "score": float(score), "kept": [0], "visual_tokens": 9, "realised_tokens": 3.0, "flops": 1.0,
                        "cache_bytes": 1.0, "evidence_recall": 0.5, "seconds": 0.1,
                    })  # fmt: skip
    return pd.DataFrame(found)


MANIFEST = {
    "schema_version": SCHEMA_VERSION, "spec": SPEC, "notes": [], "cells": [], "parts": {}, "tasks": {}, "models": {},
    "plugin_files": [],
}  # fmt: skip


class Held(Run):
    """A run that is only its rows."""

    def __init__(self, folder, samples):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(MANIFEST))
        super().__init__(folder)
        self.samples = lambda columns=None, of=None: select(samples, columns, of)


@pytest.fixture
def joined(tmp_path):
    return lambda a, b: JoinedRuns(Held(tmp_path / "first", a), Held(tmp_path / "second", b))


@pytest.fixture(scope="module")
def comparison():
    loses = {"good": 0.0, "twin": 0.0, "bad": 0.5, "fastv@pdrop": 0.3}
    return compare(rows(loses).assign(kept=1), resamples=499)


@pytest.mark.parametrize(
    ("text", "low", "high", "budget"),
    [
        ("clse<fastv@1/9", "clse", "fastv", "1/9"),
        ("fastv@pdrop<clse@1/9", "fastv@pdrop", "clse", "1/9"),
        ("clse < fastv@pdrop+tome@64", "clse", "fastv@pdrop+tome", "64"),
        ("clse>fastv@33.3%", "fastv", "clse", "33.3%"),
        ("clse:temp=0.2#A<clse#B@1/3", "clse:temp=0.2#A", "clse#B", "1/3"),
        ("blind<vanilla@none", "blind", "vanilla", "none"),
    ],
)
def test_the_budget_follows_the_last_at(text, low, high, budget):
    gate = parse_gate(text)
    assert (gate.low, gate.high, str(gate.budget), gate.margin) == (low, high, budget, None)


@pytest.mark.parametrize("text", ["clse<fastv", "clse@1/9", "clse<fastv@pdrop", "", "vanilla<clse@1/9", "a=b@1/3"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError):
        parse_gate(text)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("bad<good@1/3", True),
        ("good<bad@1/3", False),
        ("good>bad@1/3", True),
        ("twin<good@1/3", False),
        ("twin<=good@1/3", True),
        ("good<=bad@1/3", False),
        ("bad<vanilla@1/3", True),
        ("bad<vanilla-1@1/3", True),
        ("good<vanilla@1/3", False),
        ("good<vanilla-1@1/3", False),
        ("bad<=vanilla-1@1/3", True),
        ("fastv@pdrop<good@1/3", True),
    ],
)
def test_a_gate_fails_on_what_has_been_shown(comparison, text, fails):
    reasons = explain_failure(parse_gate(text), comparison)
    assert bool(reasons) == fails
    assert all("points of accuracy kept" in reason for reason in reasons)


def test_non_inferiority_can_be_demanded():
    many = compare(rows({"same": 0.0}, images=800).assign(kept=1), resamples=499)
    assert explain_failure(parse_gate("same<=vanilla-1@1/3"), many) == []


@pytest.mark.parametrize(("text", "message"), [("god<bad@1/3", "did you mean good"), ("good<bad@1/9", "budget '1/9'")])
def test_a_gate_on_what_did_not_run_is_an_error(comparison, text, message):
    with pytest.raises(UsageError, match=message):
        explain_failure(parse_gate(text), comparison)


def test_two_runs_are_compared_in_pairs_on_what_they_share(joined):
    a, b = rows({"clse": 0.0, "random": 0.6}, seed=1), rows({"clse": 0.3, "random": 0.6}, seed=2)
    b = pd.concat([b[b["strategy"] != "random"], a[a["strategy"] == "random"]])
    b = b[b["task"] == "count"]
    run = joined(a, b)
    found = run.compare()
    assert set(found.summary["strategy"]) == {"vanilla", "clse#A", "clse#B", "random"}
    assert found.tasks == ("count",)
    [row] = found.pairs[
        (found.pairs["a"] == "clse#A") & (found.pairs["b"] == "clse#B") & (found.pairs["task"] == "mean")
    ].to_dict("records")
    assert row["verdict"].text == "better"
    notes = " ".join(run.about()["notes"])
    assert "120 samples that both hold (A has 240, B 120)" in notes
    assert "same answers for vanilla, random" in notes or "same answers for random, vanilla" in notes


def test_a_vanilla_that_answers_otherwise_is_a_cell_of_its_own(joined):
    a, b = rows({"clse": 0.0}), rows({"clse": 0.0})
    b.loc[(b["strategy"] == "vanilla") & (b["sample"] == "count-0"), ["answer", "score"]] = ["z", 0.0]
    assert {"vanilla", "vanilla#B", "clse"} <= set(joined(a, b).compare().summary["strategy"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_without_a_finished_cell_cannot_be_joined(joined, order):
    nothing = pd.DataFrame(columns=list(IDENTITY))  # what `Run.samples` returns then
    run = joined(*[rows({"clse": 0.1}), nothing][::order])
    empty = "second" if order == 1 else "first"
    for read in (run.compare, run.scores, run.about):
        with pytest.raises(UsageError, match=f"{empty} has no finished cell yet") as error:
            read()
        assert "run it first: tokenbench resume " in error.value.hint


def test_a_run_holds_what_was_measured_of_time_and_memory(tmp_path):
    run = Held(tmp_path / "run", rows({"clse": 0.0}))
    assert run.about()["bench"] == []
    measured = [bench("toy")]
    (run.folder / "bench.json").write_text(json.dumps({"schema_version": 1, "models": measured}))
    assert run.about()["bench"] == measured
    (run.folder / "bench.json").write_text('{"schema_version": 1, "models": [{"model": "toy"}]}')
    with pytest.raises(MachineError, match=r"models\.0\.rows: Field required"):
        run.bench()
    (run.folder / "bench.json").write_text('{"schema_version": 2, "models": []}')
    with pytest.raises(UsageError, match="another version of TokenBench"):
        run.bench()
    (run.folder / "bench.json").write_text("{")
    with pytest.raises(MachineError, match="cannot be read"):
        run.bench()


def test_two_vanillas_are_an_a_a_check(joined):
    a, b = rows({"clse": 0.0, "fastv": 0.4}), rows({"clse": 0.0, "fastv": 0.4})
    vanilla = (b["strategy"] == "vanilla") & (b["task"] == "count")
    right = b[vanilla & (b["score"] == 1)].index[:3]
    wrong = b[vanilla & (b["score"] == 0)].index[:1]
    b.loc[right, ["answer", "score"]], b.loc[wrong, ["answer", "score"]] = ["y", 0.0], ["x", 1.0]
    run = joined(a, b)
    pairs = run.compare().pairs
    [note] = [note for note in run.about()["notes"] if "A/A check" in note]
    assert "on 4 of 240 samples (1.7 %; higher in A : in B = 3:1)" in note
    mean = pairs[(pairs["task"] == "mean") & (pairs["b"] == "vanilla")].set_index("a")["at_noise_floor"]
    assert mean.to_dict() == {"vanilla#B": True, "clse": True, "fastv": False}
    told = io.StringIO()
    DetailsReport().write(run.compare(), run, run.folder, told)
    assert "A/A check, toy" in told.getvalue()
    marked = [line.strip() for line in told.getvalue().splitlines() if ", at the noise floor" in line]
    assert any(line.startswith("vanilla#B") for line in marked)
    assert not any("fastv" in line and "vanilla" in line for line in marked)


def test_without_a_second_vanilla_there_is_no_a_a_check(joined):
    a, b = rows({"clse": 0.0}), rows({"clse": 0.2})
    run = joined(a, b[b["strategy"] != "vanilla"])
    assert "at_noise_floor" not in run.compare().pairs
    assert not any("A/A" in note for note in run.about()["notes"])


@pytest.mark.parametrize(
    ("change", "message"), [({"model": "other"}, "share no samples"), ({"target": "q"}, "different content")]
)
def test_runs_that_cannot_be_paired_are_refused(joined, change, message):
    a = rows({"clse": 0.0})
    with pytest.raises(UsageError, match=message):
        joined(a, a.assign(**change)).compare()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good<bda@1/3", "unknown strategy at budget 1/3 'bda': did you mean bad"),
        ("good<late@1/3", "unknown strategy at budget 1/3 'late'"),
        ("good<bad@1/2", "unknown budget '1/2'"),
        ("good<bad@2/6", ""),
        ("late<vanilla@1/9", ""),
    ],
)
def test_the_names_of_a_gate_are_checked_without_a_verdict(text, message):
    cells = [("vanilla", "all"), ("good", "1/3"), ("bad", "1/3"), ("late", "1/9")]
    if message:
        with pytest.raises(UsageError, match=message):
            check_names(parse_gate(text), cells)
    else:
        check_names(parse_gate(text), cells)


@pytest.mark.parametrize("margin", [-3, -0.1, float("nan"), float("inf"), "1"])
def test_a_margin_is_what_the_command_line_takes(margin):
    with pytest.raises(UsageError, match="margin: "):
        compare(rows({"bad": 0.5}, images=4).assign(kept=1), margin=margin, resamples=9)


def test_a_wrong_argument_is_no_look_and_an_unknown_column_is_refused(joined, monkeypatch):
    run, looks = joined(rows({"bad": 0.5}, images=4), rows({"worse": 0.7}, images=4)), []
    monkeypatch.setattr(run, "_record_look", looks.append)
    with pytest.raises(UsageError, match="unknown strategy 'bda'"):
        run.compare(strategies=["bda"])
    assert not looks
    run.compare()
    assert len(looks) == 1
    with pytest.raises(UsageError, match="unknown column 'scor': did you mean score"):
        Run(run.folder).samples(["scor"])


def test_a_strategy_without_any_answer_on_a_task_is_compared_on_the_others():
    samples = rows({"good": 0.0, "bad": 0.5}).assign(kept=1)
    lacking = samples[~((samples["strategy"] == "bad") & (samples["task"] == "read"))]
    compared = compare(lacking, resamples=99)
    assert compared.tasks == ("count",)
    assert any("answers are missing in bad at 1/3 (120)" in text for text in compared.warnings)


def test_unfinished_cells_are_named(tmp_path):
    run = Held(tmp_path / "run", rows({"bad": 0.5}, images=4))
    cells = [
        {"id": f"{at:08}", "model": "toy", "strategy": "bad", "budget": "1/3", "seed": 0, "task": f"t{at}"}
        for at in range(5)
    ]
    text = json.dumps(MANIFEST | {"cells": [cell | {"samples": 1, "parts": {}} for cell in cells]})
    (run.folder / "run.json").write_text(text)
    (run.folder / "cells").mkdir()
    for at in range(4):
        (run.folder / "cells" / f"{at:08}.parquet").touch()
    (sentence,) = describe_unfinished([run.folder])
    assert "1 of 5 cells is not finished: bad at 1/3 (t4). tokenbench resume" in sentence

"""Logs that lmms-eval wrote, imported: the verdicts of the run that gave the same answers. The numbers are those of the recorded run."""

import csv
import json

import pandas as pd
import pytest

from tests.tools.importing.changed import DETERMINISTIC, call, imported, table, take
from tokenbench.comparison import compare
from tokenbench.store.run import Run

PAIR = ["budget", "task", "a", "b", "family"]
COUNTS = ("discordant", "a_better", "b_better")
NUMBERS = ("difference", "low", "high", "p", "p_unadjusted", "mde", "samples_needed")


@pytest.fixture(scope="module")
def native(logs):
    """The recorded answers by cell, task and row."""
    rows = csv.DictReader((logs / "native" / "answers.csv").open())
    return {(row["strategy"], row["budget"], row["task"], row["doc_id"]): row for row in rows}


@pytest.fixture(scope="module")
def run(logs, native, tmp_path_factory):
    """The five deterministic cells on three tasks, with the images of the native run."""
    folder = tmp_path_factory.mktemp("recorded")
    for stamp in DETERMINISTIC:
        take(logs / "lmms-eval-0.7.3" / "cells", stamp, folder / "logs")
    rows = {(row["task"], row["doc_id"]): row["cluster"] for row in native.values()}
    images = [{"task": task, "sample": number, "image": image} for (task, number), image in rows.items()]
    imported([folder / "logs"], folder / "run", images=table(folder / "images.csv", images))
    return Run.open(folder / "run")


def test_every_answer_and_score_is_that_of_the_native_run(run, native):
    samples = run.samples()
    ours = {
        (row["strategy"], row["budget"], row["task"], row["sample"].partition("-")[0]): (
            row["answer"],
            row["score"],
            row["target"],
        )
        for row in samples.to_dict("records")
    }
    assert ours == {key: (row["answer"], float(row["score"]), row["target"]) for key, row in native.items()}
    assert len(ours) == 540


def test_every_verdict_is_that_which_was_recorded_for_the_native_run(run, logs):
    recorded = list(csv.DictReader((logs / "native" / "pairs.csv").open()))
    ours = {tuple(row[name] for name in PAIR): row for row in run.compare(margin=1).pairs.to_dict("records")}
    assert len(recorded) == len(ours) == 24
    for row in recorded:
        found = ours[tuple(row[name] for name in PAIR)]
        assert found["verdict"].text == row["verdict"]
        assert [found[name] for name in COUNTS] == [int(row[name]) for name in COUNTS]
        assert found["difference"] == pytest.approx(float(row["difference"]), abs=5e-7)  # recorded with six digits


def test_every_number_is_that_of_the_native_answers(run, native):
    frame = (
        pd.DataFrame(native.values())
        .assign(kept=1, seed=0)
        .astype({"score": float, "realised_tokens": float, "visual_tokens": int})
    )
    ours, theirs = run.compare(margin=1).pairs, compare(frame, margin=1).pairs
    both = ours.merge(theirs, on=PAIR, suffixes=("", "_native"))
    assert len(both) == 24
    for name in NUMBERS:
        assert both[name].tolist() == pytest.approx(both[f"{name}_native"].tolist(), abs=1e-12, rel=1e-12, nan_ok=True)


def test_what_the_logs_do_not_hold_is_unknown(run):
    samples = run.samples()
    assert samples["kept"].isna().all()
    assert (
        samples[["visual_tokens", "realised_tokens", "flops", "cache_bytes", "text_tokens", "seconds"]]
        .isna()
        .all(axis=None)
    )
    assert run.manifest["versions"] == {}


def test_the_run_says_where_its_answers_are_from_without_a_path(run, logs):
    about = (run.folder / "run.json").read_text()
    sources = json.loads(about)["imported"]["sources"]
    assert [source["arguments"] for source in sources][:2] == [
        "backbone=toy-llava,strategy=vanilla",
        "backbone=toy-llava,strategy=fastv,budget=1/3",
    ]
    assert all(len(digest) == 64 for source in sources for digest in source["files"].values())
    assert {source["tool"] for source in sources} == {"lmms-eval (logs as of 0.7)"}
    assert str(logs) not in about
    assert str(run.folder.parent) not in about


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("status",), "15 done\n540 of 540 answers"),
        (("compare",), "at unknown cost"),
        (("report", "--format", "terminal,markdown,csv,html,latex,json"), "report.html"),
        (("claims",), "Published numbers of these methods, on other models"),
        (("plan", "--pilot"), "the hours are unknown"),
    ],
)
def test_commands_work_on_it_as_on_any_run(run, command, said):
    name, *more = command
    done = call(name, *more, run.folder)
    assert done.exit_code == 0, done.output
    assert said in done.output
    assert "nan" not in done.output.split()


def test_it_is_exported(run, tmp_path):
    assert call("export", run.folder, "--to", tmp_path / "data").exit_code == 0
    assert (tmp_path / "data" / "samples.parquet").is_file()


def test_two_cells_with_the_same_answers_are_noted(run):
    assert (
        "fastv@1/3 and vanilla gave the same answer to every question: was fastv switched on?" in run.manifest["notes"]
    )


@pytest.mark.parametrize("layout", ["v0.1-0.2.1", "v0.3.0", "v0.6.1"])
def test_older_layouts_hold_the_same_rows(logs, native, tmp_path, layout):
    folder = logs / "lmms-eval-rebuilt" / layout
    if layout == "v0.1-0.2.1":
        base, fastv = sorted(folder.iterdir())
    else:
        base, fastv = sorted(folder.rglob("*_results.json"))
    imported([f"vanilla={base}", f"fastv@1/9={fastv}"], tmp_path / "run")
    samples = Run.open(tmp_path / "run").samples()
    assert len(samples) == 48
    assert set(samples["model"]) == {"llava-1.5-7b"}
    for row in samples.to_dict("records"):
        known = native[row["strategy"], row["budget"], row["task"], row["sample"].partition("-")[0]]
        assert (row["answer"], row["score"], row["target"]) == (known["answer"], float(known["score"]), known["target"])
    assert samples[samples["task"] == "tb_mme"]["cluster"].nunique() == 6  # pairs of questions name their picture

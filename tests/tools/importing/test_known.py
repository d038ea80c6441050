"""Logs whose data is there: imported and native runs share their questions, and can be compared in pairs."""

import pandas as pd
import pytest
import yaml

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

from tests.suites.lmms.command import evaluate_here
from tests.suites.lmms.logged_data import make_tasks
from tests.tools.importing.changed import FASTV_NINTH, VANILLA, call, change, take
from tokenbench.store.run import Run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data behind the recorded logs, and the folder of the definitions of its tasks."""
    folder = tmp_path_factory.mktemp("data")
    return folder, make_tasks(folder)


@pytest.fixture
def base(logs, tmp_path):
    return take(logs / "lmms-eval-0.7.3" / "cells", VANILLA, tmp_path / "base", "tb_words")


@pytest.fixture
def fastv(logs, tmp_path):
    return take(logs / "lmms-eval-0.7.3" / "cells", FASTV_NINTH, tmp_path / "fastv", "tb_words")


def known(data):
    return "--tasks-dir", data[1], "--data", "tb_words"


def log(data, out):
    """Have lmms-eval's command line log vanilla and fastv on tb_words, one after the other."""
    folder, definitions = data
    about = {"model": "tokenbench", "tasks": "tb_words", "include_path": str(definitions), "output_path": str(out)}
    models = ("strategy=vanilla,model_name=base", "strategy=fastv,budget=1/9,model_name=fastv")
    runs = [
        {**about, "model_args": f"backbone=toy-llava,{model}", "log_samples": True, "device": "cpu"} for model in models
    ]
    (folder / "runs.yaml").write_text(yaml.safe_dump(runs))
    assert evaluate_here(folder / "cache", "--config", str(folder / "runs.yaml")) == 0


@pytest.mark.slow
def test_logs_made_now_are_imported_with_the_answers_and_verdicts_of_a_native_run_and_joined_with_it(data, tmp_path):
    log(data, tmp_path / "logs")
    done = call("import", tmp_path / "logs", *known(data), "-o", tmp_path / "imported")
    assert done.exit_code == 0, done.output
    strategies = ("--strategies", "fastv", "--budgets", "1/9", "--no-floors", "-q")
    words = ("--suite", "lmms:tb_words", "--tasks-dir", data[1], *strategies, "-o", tmp_path / "native")
    assert call("run", *words).exit_code == 0

    runs = [Run.open(tmp_path / name) for name in ("imported", "native")]
    same = runs[0].samples().merge(runs[1].samples(), on=["strategy", "budget", "sample"], suffixes=("", "_native"))
    assert len(same) == 80  # every key, of both cells
    for name in ("answer", "score", "target", "cluster", "unit", "stratum"):
        assert (same[name] == same[f"{name}_native"]).all(), name
    ours, theirs = (run.compare().pairs.drop(columns="cost_ratio") for run in runs)
    pd.testing.assert_frame_equal(ours, theirs)

    joined = call("compare", tmp_path / "imported", tmp_path / "native", "--details")
    assert joined.exit_code == 0, joined.output
    assert "40 samples" in " ".join(joined.output.split())


def test_questions_and_pictures_are_found_in_the_data(data, base, fastv, tmp_path):
    done = call("import", base, fastv, *known(data), "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "mages unknown" not in done.output
    run = Run.open(tmp_path / "run", definitions=[str(data[1])])
    samples, questions = run.samples(), run.questions()
    assert samples["cluster"].nunique() == 22
    assert {("tb_words", key) for key in samples["sample"]} == questions.keys()
    assert len(next(iter(questions.values())).load()) == 1


def test_logs_of_other_data_are_refused(data, base, fastv, tmp_path):
    for folder in (base, fastv):
        change(folder, lambda rows: [{**row, "input": row["input"].replace("color", "colour")} for row in rows])
    done = call("import", base, fastv, *known(data), "-o", tmp_path / "run")
    assert "rows of tb_words are not those of the data: row 0 of the log asks 'What colour is the circle?'" in str(
        done.exception
    )
    done = call("import", base, fastv, *known(data)[:2], "--data", "pope", "-o", tmp_path / "run")
    assert "--data names pope, of which there is no log" in str(done.exception)


def test_answers_without_a_score_are_scored_by_tokenbench(data, base, tmp_path):
    change(base, lambda rows: [{name: value for name, value in row.items() if name != "exact_match"} for row in rows])
    done = call("import", base, *known(data), "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert Run.open(tmp_path / "run").samples()["score"].mean() == 0.925  # what lmms-eval reported


def test_without_the_data_a_run_says_why_it_has_no_pictures(base, fastv, tmp_path):
    assert call("import", base, fastv, "-o", tmp_path / "run").exit_code == 0
    for words in (("resume", tmp_path / "run"), ("status", tmp_path / "run", "--thorough")):
        done = call(*words)
        assert "its logs hold no pictures" in done.output + str(done.exception), words
    assert call("report", tmp_path / "run", "--format", "html").exit_code == 0
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "tokenbench import base fastv -o RUN" in page
    assert "What color is the circle?" in page  # the log holds the questions

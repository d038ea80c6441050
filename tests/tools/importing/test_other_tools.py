"""Files of VLMEvalKit, which were made by hand after its source, and plain tables."""

import shlex
import shutil

import pytest

from tests.tools.importing.changed import call, imported, table
from tokenbench.errors import UsageError
from tokenbench.store.joined import JoinedRuns
from tokenbench.store.run import Run
from tokenbench_tools.importing.cells import read_cell
from tokenbench_tools.importing.files import read_table

pytest.importorskip("openpyxl", reason='needs openpyxl: pip install "tokenbench[xlsx]"')

MODELS = ("llava_v1.5_7b", "llava_v1.5_7b_fastv_0.33")


@pytest.fixture
def evaluations(logs, tmp_path):
    """Vanilla's and a method's folders of VLMEvalKit, without DocVQA."""
    folder = tmp_path / "work"
    shutil.copytree(logs / "vlmevalkit", folder)
    for path in folder.rglob("*DocVQA*"):
        path.unlink()
    base, fastv = (folder / name for name in MODELS)
    return [f"vanilla={base}", f"fastv@1/3={fastv}"]


def test_distances_are_refused_where_a_score_is_meant(logs, tmp_path):
    what = [f"vanilla={logs / 'vlmevalkit' / MODELS[0]}"]
    with pytest.raises(UsageError, match="the eval_score of DocVQA is a mean distance, where lower is better"):
        imported(what, tmp_path / "run", model="llava")
    imported(what, tmp_path / "run", model="llava", tasks=("TextVQA_VAL", "MMBench_DEV_EN"))
    assert Run.open(tmp_path / "run").samples()["task"].nunique() == 2


def test_rows_that_are_no_answers_are_refused_counted_or_dropped(evaluations, tmp_path):
    with pytest.raises(
        UsageError,
        match="1 row is without an answer: it has no score, or says that there was none; the first is sample 5 of POPE in fastv",
    ):
        imported(evaluations, tmp_path / "run", model="llava")
    imported(evaluations, tmp_path / "wrong", model="llava", failed="wrong")
    imported(evaluations, tmp_path / "drop", model="llava", failed="drop")
    wrong, drop = (Run.open(tmp_path / name).samples() for name in ("wrong", "drop"))
    assert len(wrong) > len(drop)
    assert drop.groupby(["strategy", "task"])["sample"].apply(frozenset).groupby("task").nunique().eq(1).all()
    assert not drop["answer"].str.startswith("Failed to obtain").any()


def test_scores_are_those_that_the_kit_reports(evaluations, tmp_path):
    imported(evaluations, tmp_path / "run", model="llava", failed="wrong")
    run = Run.open(tmp_path / "run")
    vanilla = run.scores().query("strategy == 'vanilla'").set_index("task")
    assert 100 * vanilla.loc["TextVQA_VAL", "score"] == pytest.approx(81.66666666666667)  # of its _acc.csv
    assert vanilla.loc["MMBench_DEV_EN", "score"] == 0.875  # of its _acc.csv: a row stands for all rotations
    assert vanilla.loc["MMBench_DEV_EN", "samples"] == 8
    assert 100 * vanilla.loc["POPE", "score"] == pytest.approx(
        79.16666666666666
    )  # of its rows; Overall counts categories
    pope = run.samples().query("task == 'POPE' and strategy == 'vanilla'")
    assert pope["cluster"].str.startswith("POPE-COCO_val2014").all()
    assert pope["cluster"].nunique() < len(pope)


def test_answers_that_look_like_gaps_or_numbers_stay_texts(evaluations, tmp_path):
    imported(evaluations, tmp_path / "run", model="llava", failed="wrong")
    answers = set(Run.open(tmp_path / "run").samples().query("task == 'TextVQA_VAL'")["answer"])
    assert {"None", "NA", "007", "12.50", "1e5", "TRUE"} & answers >= {"None", "007"}


def test_pickles_are_never_opened(evaluations, tmp_path, monkeypatch):
    monkeypatch.setattr("pickle.loads", lambda *_: pytest.fail("a pickle was loaded"))
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("a pickle was loaded"))
    for path in (tmp_path / "work").rglob("*.xlsx"):
        if path.stem.endswith("result"):
            path.with_suffix(".pkl").write_bytes(b"not a pickle")
    imported(evaluations, tmp_path / "run", model="llava", failed="wrong")


def test_the_model_is_asked_for_where_folders_are_named_after_methods(evaluations, tmp_path):
    with pytest.raises(UsageError, match=r"models with different names: llava_v1\.5_7b, llava_v1\.5_7b_fastv_0\.33"):
        imported(evaluations, tmp_path / "run", failed="wrong")


ROWS = [
    {
        "strategy": strategy,
        "budget": budget,
        "task": "t",
        "sample": str(at),
        "score": score,
        "answer": str(at % 3),
        "image": f"i{at // 2}",
    }
    for strategy, budget, wrong in (("vanilla", "", 0), ("mine", "64", 10), ("other", "64", 2))
    for at in range(60)
    for score in ["0" if at < wrong else "1"]
]


def test_a_table_is_a_run(tmp_path):
    done = call("import", table(tmp_path / "scores.csv", ROWS), "--model-name", "my-model", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "mine@64 on t: 60 rows, not reported, mean of the rows 0.8333" in done.output
    run = Run.open(tmp_path / "run")
    assert run.scores().set_index("strategy")["score"].to_dict() == pytest.approx(
        {"vanilla": 1, "mine": 50 / 60, "other": 58 / 60}
    )
    assert run.samples()["cluster"].nunique() == 30
    assert not [note for note in run.manifest["notes"] if "mages unknown" in note]


UNANSWERED = [{name: text for name, text in row.items() if name != "answer"} for row in ROWS]


@pytest.mark.parametrize("rows", [UNANSWERED, [{**row, "answer": ""} for row in ROWS]])
def test_answers_that_a_table_does_not_hold_are_unknown_and_not_equal(tmp_path, rows):
    imported([table(tmp_path / "scores.csv", rows)], tmp_path / "run", model="m")
    run = Run.open(tmp_path / "run")
    assert run.samples()["answer"].isna().all()
    measures = set(run.compare().where["measure"])
    assert {"right to wrong", "change"} <= measures
    assert "same answer" not in measures
    assert call("report", tmp_path / "run", "--format", "html").exit_code == 0
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "right answer unknown</small>" in page
    assert "(answer unknown)</span>" in page


def test_samples_of_a_table_keep_their_names_and_other_questions_are_told_apart_in_joins(tmp_path):
    for name, word in (("a", "What"), ("b", "Who"), ("c", "What")):
        rows = [{**row, "question": f"{word} is {row['sample']}?"} for row in UNANSWERED]
        imported([table(tmp_path / f"{name}.csv", rows)], tmp_path / name, model="m")
    a, b, c = (Run.open(tmp_path / name) for name in "abc")
    assert set(a.samples()["sample"]) == {str(at) for at in range(60)}
    assert len(JoinedRuns(a, c).compare().summary)
    with pytest.raises(UsageError, match="different content in A and B"):
        JoinedRuns(a, b).compare()


def test_one_name_is_one_picture_in_all_tasks_of_a_table(tmp_path):
    rows = [{**row, "task": task} for task in ("gqa", "pope") for row in ROWS]
    imported([table(tmp_path / "scores.csv", rows)], tmp_path / "run", model="m")
    samples = Run.open(tmp_path / "run").samples()
    assert set(samples["cluster"]) == {f"i{number}" for number in range(30)}
    assert len(samples[["task", "sample"]].drop_duplicates()) == 120


def test_times_of_another_model_are_not_stored_in_a_run(tmp_path):
    imported([table(tmp_path / "scores.csv", ROWS)], tmp_path / "run", model="llava-1.5-7b")
    done = call("bench", "--models", "toy-llava", "--strategies", "fastv", "--budgets", "1/3", "-o", tmp_path / "run")
    assert isinstance(done.exception, UsageError)
    assert "is not a run of toy-llava: its model is llava-1.5-7b" in str(done.exception)
    assert not (tmp_path / "run" / "bench.json").exists()


def test_a_model_that_answers_nothing_to_some_questions_has_answered(tmp_path):
    rows = [{**row, "answer": "" if row["sample"] == "3" else row["answer"]} for row in ROWS]
    imported([table(tmp_path / "scores.csv", rows)], tmp_path / "run", model="m")
    assert Run.open(tmp_path / "run").samples().query("sample == '3'")["answer"].eq("").sum() == 3
    assert set(Run.open(tmp_path / "run").compare().where.query("measure == 'same answer'")["value"]) == {1.0}


def test_scores_alone_decide_whether_cells_without_answers_are_alike(tmp_path):
    other = [
        {**row, "score": "0"} if (row["strategy"], row["sample"]) == ("vanilla", "7") else row for row in UNANSWERED
    ]
    for name, rows in (("a", UNANSWERED), ("b", other), ("c", UNANSWERED)):
        imported([table(tmp_path / f"{name}.csv", rows)], tmp_path / name, model="m")
    a, b, c = (Run.open(tmp_path / name) for name in "abc")
    assert set(JoinedRuns(a, c).compare().summary["strategy"]) == {"vanilla", "mine", "other"}
    assert set(JoinedRuns(a, b).compare().summary["strategy"]) == {"vanilla", "vanilla#B", "mine", "other"}


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda rows: [{k: v for k, v in row.items() if k != "score"} for row in rows], "lacks the column score"),
        (lambda rows: [*rows[:-1], {**rows[-1], "score": "good"}], "line 181: the score 'good' is no number"),
        (
            lambda rows: [*rows[:-1], {**rows[-1], "score": "7"}],
            "the score of sample 59 of t is 7 by score, and scores must be from 0 to 1$",
        ),
        (lambda rows: [*rows[:-1], {**rows[-1], "score": ""}], "1 row is without an answer"),
        (
            lambda rows: [*rows[:-1], {**rows[-1], "score": "-1"}],
            "1 row is without an answer",
        ),  # how judges say that they did not
        (lambda rows: [*rows, rows[-1]], "sample 59 of t occurs twice"),
        (lambda rows: rows[:-1], "the cells have different rows of t"),
        (lambda rows: [*rows[:-1], {**rows[-1], "budget": ""}], "other has no budget"),
        (lambda rows: [*rows[:-1], {**rows[-1], "budget": "abc"}], "other: budget 'abc' is neither a number of tokens"),
        (lambda rows: [*rows[:-1], {**rows[-1], "budget": "-5"}], "other: budget '-5' is neither a number of tokens"),
        (lambda rows: [{**rows[0], "budget": "1/3"}, *rows[1:]], "vanilla has the budget '1/3', but it keeps all"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(tmp_path, edit, why):
    with pytest.raises(UsageError, match=why):
        imported([table(tmp_path / "scores.csv", edit(ROWS))], tmp_path / "run", model="m")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("vanilla", ("vanilla", "all", 0)),
        ("fastv@1/3", ("fastv", "1/3", 0)),
        ("clse:temp=0.2@64#2", ("clse:temp=0.2", "64", 2)),
        ("fastv@pdrop@33%", ("fastv@pdrop", "33%", 0)),
        ("blind", ("blind", "none", 0)),
    ],
)
def test_cells_are_written_as_in_gates(text, cell):
    found = read_cell(text)
    assert (found.strategy, found.budget, found.seed) == cell


def test_vanilla_has_no_budget():
    assert read_cell("vanilla@all") == read_cell("vanilla")
    with pytest.raises(UsageError, match="vanilla has the budget '1/3'"):
        read_cell("vanilla@1/3")


def test_paths_that_hold_nothing_say_so(tmp_path):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        imported(["vanilla=nowhere"], tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no sample logs of lmms-eval and no scores of VLMEvalKit"):
        imported([tmp_path / "empty"], tmp_path / "run")


@pytest.mark.parametrize(
    "words", [("scores.xlsx",), ("mine=logs",), ("scores.csv", "--model-name", "m", "--images", "nope.csv")]
)
def test_a_path_that_does_not_exist_is_wrong_usage(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "scores.csv", ROWS)
    error = call("import", *words, "-o", "run").exception
    assert "does not exist" in str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("mine", "m\u00fcller").encode("latin-1"), "line 62 is not UTF-8 text"),
        (lambda text: text.encode("utf-16"), "line 1 is not UTF-8 text"),
        (lambda text: text.replace("mine", "mi\0ne", 1).encode(), "line 62 holds a NUL character"),
        (lambda text: text.replace("mine", '"mine', 1).encode(), "line 62 cannot be read: unexpected end of data"),
        (lambda text: text.replace("mine", "mine,x", 1).encode(), "line 62: "),
    ],
)
def test_a_table_that_is_no_clean_text_is_refused_with_its_line(tmp_path, change, why):
    path = table(tmp_path / "scores.csv", ROWS)
    path.write_bytes(change(path.read_text()))
    with pytest.raises(UsageError, match=f"scores.csv, {why}") as error:
        imported([path], tmp_path / "run", model="m")
    assert len(str(error.value)) < 300


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    path = table(tmp_path / "scores.csv", ROWS)
    imported([path], tmp_path / "run", model="m")
    rows = [line.split(",") for line in path.read_text().splitlines()]
    at = rows[0].index("score")
    path.write_text("\n".join(";".join([*row[:at], row[at].replace("1", "1,0"), *row[at + 1 :]]) for row in rows))
    imported([path], tmp_path / "other", model="m")
    assert Run.open(tmp_path / "run").scores().equals(Run.open(tmp_path / "other").scores())


def test_pictures_with_other_names_in_another_cell_are_refused(tmp_path):
    path = table(tmp_path / "scores.csv", [*ROWS[:-1], {**ROWS[-1], "image": "elsewhere"}])
    with pytest.raises(
        UsageError, match="other@64 was asked about other pictures than vanilla on t: 1 of 60 rows, first row 59"
    ):
        imported([path], tmp_path / "run", model="m")


def test_the_command_of_a_run_repeats_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(
        tmp_path / "my scores.csv",
        [{**row, "image": ""} for row in ROWS[:-1]] + [{**ROWS[-1], "score": "", "image": ""}],
    )
    images = table(
        tmp_path / "images.csv", [{"task": "u", "sample": row["sample"], "image": row["sample"]} for row in ROWS[:60]]
    )
    done = call(
        "import",
        "my scores.csv",
        "--model-name",
        "m",
        "--failed",
        "drop",
        "--images",
        images,
        "--as",
        "t=u",
        "--tasks",
        "t",
        "--latest",
        "-o",
        "RUN",
    )
    assert done.exit_code == 0, done.output
    command = Run.open(tmp_path / "RUN").manifest["imported"]["command"]
    assert str(tmp_path) not in command
    (tmp_path / "RUN").rename(tmp_path / "first")
    again = call(*shlex.split(command)[1:])
    assert again.exit_code == 0, again.output
    assert Run.open(tmp_path / "RUN").samples().equals(Run.open(tmp_path / "first").samples())


def test_every_value_of_a_table_is_the_text_that_stands_there(tmp_path):
    path = tmp_path / "values.tsv"
    path.write_text("index\tprediction\n007\tNA\n1e5\tNone\n3\n")
    assert read_table(path) == [
        {"index": "007", "prediction": "NA"},
        {"index": "1e5", "prediction": "None"},
        {"index": "3", "prediction": ""},
    ]

"""What cannot be compared is refused in words, and what is let through on request is noted in the run."""

import json
import shlex
from pathlib import Path

import pytest

from tests.tools.importing.changed import FASTV_NINTH, VANILLA, call, change, change_results, imported, table, take
from tokenbench.errors import TokenBenchError, UsageError
from tokenbench.store.run import Run


def swap(rows):
    """The answers of two rows with different targets in each other's place, as after a shuffle of the data."""
    first, second = (dict(rows[at]) for at in (0, 2))
    assert first["target"] != second["target"]
    rows[0], rows[2] = {**second, "doc_id": first["doc_id"]}, {**first, "doc_id": second["doc_id"]}
    return rows


def refused(two, tmp_path, **choices):
    """The error of an import, after which there is no folder."""
    with pytest.raises(UsageError) as error:
        imported(two, tmp_path / "run", **choices)
    assert not (tmp_path / "run").exists()
    return f"{error.value} ({error.value.hint})"


def notes(two, tmp_path, **choices):
    imported(two, tmp_path / "run", **choices)
    return Run.open(tmp_path / "run").about()["notes"]


def test_rows_in_another_order_of_the_data_are_refused(two, tmp_path):
    change(two[1], swap)
    said = refused(two, tmp_path)
    assert "the rows of fastv@1/9 on tb_words are in another order than those of vanilla" in said
    assert "2 of 40 rows with the same number differ, first row 0: 'red' and 'triangle'" in said


def test_the_order_of_lines_in_the_file_is_of_no_importance(two, tmp_path):
    imported(two, tmp_path / "run")
    change(two[1], lambda rows: rows[::-1])
    imported(two, tmp_path / "other")
    pairs = [Run.open(tmp_path / name).compare().pairs.drop(columns="verdict") for name in ("run", "other")]
    assert pairs[0].equals(pairs[1])


def test_other_prompts_are_refused_or_noted(two, tmp_path):
    change(two[1], lambda rows: [{**row, "input": row["input"] + " Answer briefly."} for row in rows])
    said = refused(two, tmp_path)
    assert "fastv@1/9 was asked with other prompts than vanilla on tb_words: 40 of 40 rows" in said
    assert "--other-prompts" in said
    assert any("a difference may come from the prompts" in note for note in notes(two, tmp_path, other_prompts=True))


def test_cells_with_fewer_rows_are_refused_or_noted(two, tmp_path):
    change(two[1], lambda rows: rows[:12])
    change_results(two[1], lambda results: results["n-samples"]["tb_words"].update(effective=12))
    said = refused(two, tmp_path)
    assert "the cells have different rows of tb_words: vanilla 40, and all of them share 12" in said
    assert "--common" in said
    assert any("the 12 rows that all of them have are compared" in note for note in notes(two, tmp_path, common=True))
    assert len(Run.open(tmp_path / "run").samples()) == 24


def test_a_log_with_fewer_rows_than_its_results_is_refused(two, tmp_path):
    change(two[1], lambda rows: rows[:12])
    assert "has 12 rows where the results are of 40 (run it again)" in refused(two, tmp_path)


def test_an_empty_log_is_refused(two, tmp_path):
    change(two[1], lambda rows: [])
    assert "has no rows: the run that wrote it did not end (run it again)" in refused(two, tmp_path)


def test_a_named_folder_without_answers_is_refused(two, tmp_path):
    (results,) = two[1].glob("*_results.json")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / results.name).write_bytes(results.read_bytes())
    (tmp_path / "other" / "20260101_000000_samples_tb_words.jsonl").write_text("{}\n")
    assert f"{tmp_path / 'other'} holds no answers" in refused([*two, f"dart@64={tmp_path / 'other'}"], tmp_path)


def test_a_torn_line_is_refused(two, tmp_path):
    (path,) = two[1].glob("*.jsonl")
    path.write_text(path.read_text()[:-30])
    assert "line 40 of" in refused(two, tmp_path)


def test_two_runs_in_one_file_are_refused(logs, tmp_path):
    said = refused([f"vanilla={logs / 'lmms-eval-0.7.3' / 'same'}"], tmp_path)
    assert "two runs that began in the same second wrote into one file" in said


def test_a_cell_that_was_logged_twice_counts_once_if_the_answers_are_the_same(logs, two, tmp_path):
    source = logs / "lmms-eval-0.7.3"
    base = take(source / "cells", VANILLA, tmp_path / "pope", "tb_pope")
    said = notes([base, source / "cached"], tmp_path, common=True)
    assert any("fastv@1/3 on tb_pope was logged twice, with the same answers" in note for note in said)


def test_a_cell_that_was_logged_twice_with_different_answers_is_refused_unless_the_last_is_wanted(two, tmp_path):
    again = take(two[1], "20261126_101814", tmp_path / "again")
    change(again, lambda rows: [{**row, "filtered_resps": "no"} for row in rows])
    said = refused([*two, again], tmp_path)
    assert "both hold fastv@1/9 on tb_words, with different answers" in said
    assert any("does not" in note for note in notes([*two, again], tmp_path, latest=True))
    samples = Run.open(tmp_path / "run").samples()
    assert set(samples[samples["strategy"] == "fastv"]["answer"]) == {"no"}


@pytest.mark.parametrize(("name", "share"), [("whole", 0.0), ("word", 0.25)])
def test_a_filter_has_to_be_chosen_and_gives_the_number_that_was_reported(logs, tmp_path, name, share):
    what = [f"vanilla={logs / 'lmms-eval-0.7.3' / 'filters'}"]
    said = refused(what, tmp_path, model="dummy")
    assert "once for each of its filters, whole, word (choose one with --filter whole)" in said
    imported(what, tmp_path / "run", model="dummy", filters={"": name})
    assert Run.open(tmp_path / "run").samples()["score"].mean() == share


def test_repeats_are_noted(logs, tmp_path):
    base = take(logs / "lmms-eval-0.7.3" / "repeats", "20261126_101928", tmp_path / "repeats", "tb_words")
    said = notes([f"vanilla={base}"], tmp_path)
    assert "tb_words was asked 3 times, and one of the answers is logged." in said


def test_a_log_without_scores_is_refused(logs, tmp_path):
    said = refused([f"vanilla={logs / 'lmms-eval-0.7.3' / 'predict'}"], tmp_path)
    assert "no score for single answers of tb_pope (--data tb_pope=FOLDER has them scored by TokenBench)" in said


def test_other_settings_of_generation_are_refused(two, tmp_path):
    change_results(
        two[1], lambda results: results["configs"]["tb_words"]["generation_kwargs"].update(max_new_tokens=64)
    )
    assert "vanilla and fastv@1/9 cannot be compared on tb_words: their generation differs" in refused(two, tmp_path)


def test_a_task_that_a_cell_lacks_is_refused(logs, two, tmp_path):
    base = take(logs / "lmms-eval-0.7.3" / "cells", VANILLA, tmp_path / "more", "tb_words", "tb_pope")
    assert "fastv@1/9 has no log of tb_pope, which vanilla has" in refused([base, two[1]], tmp_path)
    imported([base, two[1]], tmp_path / "run", tasks=("tb_words",))
    assert set(Run.open(tmp_path / "run").samples()["task"]) == {"tb_words"}
    assert "none of the tasks tb_gqa" in refused([base, two[1]], tmp_path / "other", tasks=("tb_gqa",))


def test_without_vanilla_nothing_is_imported(two, tmp_path):
    assert "there is no vanilla of toy-llava" in refused(two[1:], tmp_path)


def test_unknown_cells_are_asked_for_with_the_command_to_fill_in(logs, tmp_path):
    base, fastv = sorted((logs / "lmms-eval-rebuilt" / "v0.1-0.2.1").iterdir())
    said = refused([base, fastv], tmp_path)
    assert "do not say which strategy and budget they are of" in said
    assert "(use_fast_v=True,fast_v_attention_rank=64)" in said or "use_fast_v=True" in said
    assert f"tokenbench import vanilla={base} STRATEGY@BUDGET={fastv} -o RUN" in said


def test_several_unknown_commands_in_one_folder_are_named_one_by_one_by_files_that_exist(logs, tmp_path):
    source = logs / "lmms-eval-rebuilt" / "v0.6.1"
    for name, stamp in (("base", VANILLA), ("fastv a", FASTV_NINTH)):
        for path in source.rglob(f"{stamp}_*"):
            target = tmp_path / "logs" / name / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    said = refused([tmp_path / "logs"], tmp_path)
    words = shlex.split(said.partition("for example: ")[2].rstrip(")"))
    places = [word.partition("=")[2] for word in words if "=" in word]
    assert len(places) == 2
    assert all(Path(place).is_file() for place in places)
    assert "nothing that the others" not in said
    imported([f"vanilla={places[0]}", f"fastv@1/9={places[1]}"], tmp_path / "run", each_its_own=True)


def test_a_score_that_is_no_number_is_a_row_without_an_answer(two, tmp_path):
    change(two[1], lambda rows: [{**rows[0], "exact_match": float("nan")}, *rows[1:]])
    assert "1 row is without an answer" in refused(two, tmp_path)


def test_a_task_that_shares_pictures_needs_them(logs, tmp_path):
    base = take(logs / "lmms-eval-0.7.3" / "cells", VANILLA, tmp_path / "pope", "tb_pope")
    named = {"names": {"tb_pope": "pope"}}
    assert "the log does not say which questions of pope are about the same picture" in refused(
        [base], tmp_path, **named
    )
    said = notes([base], tmp_path, each_its_own=True, **named)
    assert said[0].startswith("Images unknown (pope): tests take every question as an image of its own.")


def test_unknown_images_are_said_in_every_report(two, tmp_path):
    imported(two, tmp_path / "run")
    done = call("report", tmp_path / "run", "--format", "details,markdown,html,json")
    assert "Images unknown (tb_words)" in " ".join(done.output.split())
    for name in ("summary.md", "report.html", "report.json"):
        assert "Images unknown (tb" in (tmp_path / "run" / "report" / name).read_text().replace("\\", "")


def test_images_that_are_named_in_part_are_refused(two, tmp_path):
    images = table(tmp_path / "images.csv", [{"task": "tb_words", "sample": "0", "image": "a"}])
    assert "--images names the images of 1 of the 40 rows of tb_words, but not that of row 1" in refused(
        two, tmp_path, images=images
    )


def test_scores_that_are_no_shares_are_refused(two, tmp_path):
    change(two[1], lambda rows: [{**row, "exact_match": 100 * row["exact_match"]} for row in rows])
    assert "is 100 by exact_match, and scores must be from 0 to 1" in refused(two, tmp_path)


def test_mme_counts_pairs_of_questions_and_its_categories_alike(logs, tmp_path):
    base = take(logs / "lmms-eval-0.7.3" / "cells", VANILLA, tmp_path / "base", "tb_mme")
    clse = take(logs / "lmms-eval-0.7.3" / "cells", "20261126_101657", tmp_path / "clse", "tb_mme")
    imported([base, clse], tmp_path / "run", names={"tb_mme": "mme"})
    run = Run.open(tmp_path / "run")
    scores = run.scores().set_index("strategy")["score"]
    for folder, name in ((base, "vanilla"), (clse, "clse")):
        (path,) = folder.glob("*_results.json")
        reported = json.loads(path.read_text())["results"]["tb_mme"]
        total = reported["mme_perception_score,none"] + reported["mme_cognition_score,none"]
        assert 200 * 3 * scores[name] == pytest.approx(total)  # three categories of 200 points each
    assert (run.measured.groupby("strategy", observed=True)["unit"].nunique() == 14).all()


def test_the_folder_of_an_import_must_be_new(two, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="already exists and is not empty"):
        imported(two, tmp_path / "run")
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"


def test_two_models_are_refused_unless_they_are_said_to_be_one(two, tmp_path):
    change_results(
        two[1], lambda results: results["config"].update(model_args="backbone=other,strategy=fastv,budget=1/9")
    )
    assert "models with different names: other, toy-llava" in refused(two, tmp_path)
    imported(two, tmp_path / "run", model="toy-llava")


@pytest.mark.parametrize(
    "edit", [lambda results: results.update(config=[1]), lambda results: results.update(configs={"tb_words": 7})]
)
def test_files_that_hold_something_else_are_refused(two, tmp_path, edit):
    change_results(two[1], edit)
    assert "does not hold valid logs" in refused(two, tmp_path)


def test_names_that_no_report_can_show_are_refused_before_there_is_a_run(two, tmp_path):
    with pytest.raises(TokenBenchError):
        imported(two, tmp_path / "run", model="a\nb")
    assert not (tmp_path / "run").exists()


def test_a_limit_is_noted_and_what_is_unknown_is_said_in_the_notes(logs, tmp_path):
    source = logs / "lmms-eval-0.7.3" / "limit"
    said = notes([f"vanilla={source}", f"fastv@1/3={source}"], tmp_path)
    assert "10 of the 40 rows of tb_pope were asked (--limit or --offset)." in said
    done = call("report", tmp_path / "run", "--format", "details")
    assert "a budget is what was asked for, and was not checked" in " ".join(done.output.split())

"""`tokenbench publish --check`: every number of a run is recomputed, and what does not add up is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.answered import answered
from tests.tokenbench.commands.test_running import call
from tokenbench import Run
from tokenbench_reports.publish.checking import check_run

LOSES = {"fastv": 0.3, "random": 0.6}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = answered(tmp_path / "submission", LOSES, tasks=("attribute",), budgets=("1/3",))
    assert call("report", str(folder), "--format", "csv,json") == 0
    return folder


def cell_of(run: Path, strategy: str) -> dict[str, Any]:
    cells = json.loads((run / "run.json").read_text())["cells"]
    return next(cell for cell in cells if cell["strategy"] == strategy)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_record(run: Path, strategy: str, change: Callable[[dict[str, Any]], object], at: int = 0) -> str:
    """Change the record of a right answer, and return the name of its sample."""
    path = run / "cells" / f"{cell_of(run, strategy)['id']}.parquet"
    table = pq.read_table(path)
    records = table.to_pylist()
    record = [record for record in records if record["score"] == 1][at]
    change(record)
    pq.write_table(pa.Table.from_pylist(records, schema=table.schema), path)
    return str(record["sample"])


def test_a_run_that_adds_up_is_said_to_and_is_not_looked_at(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert call("publish", "--check", str(run)) == 0
    assert "numbers recomputed from 72 answers; all add up" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_nobody_has_looked_at_stays_so(tmp_path: Path) -> None:
    folder = answered(tmp_path / "run", LOSES, tasks=("attribute",))
    assert check_run(Run.open(folder)).wrong == []
    assert json.loads((folder / "run.json").read_text())["looks"] == []


def refused(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert call("publish", "--check", str(run)) == 1
    said = capsys.readouterr()
    assert "error: the numbers of these runs do not add up" in said.err
    return said.out


def test_a_changed_answer_is_named_with_its_sample_and_cell(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = edit_record(run, "fastv", lambda record: record.update(answer="something else"))
    said = refused(run, capsys)
    assert f"the score of sample {sample} of fastv at 1/3, seed 0, task attribute on toy-llava is 1" in said
    assert "the answer 'something else' scores 0 against" in said


def test_a_changed_score_is_named_with_its_sample_and_cell(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = edit_record(run, "fastv", lambda record: record.update(score=0.5))
    said = refused(run, capsys)
    assert (
        f"the score of sample {sample} of fastv at 1/3, seed 0, task attribute on toy-llava is 0.5, and the answer"
        in said
    )
    assert "the mean score of fastv at 1/3" in said


def test_a_changed_target_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = edit_record(run, "fastv", lambda record: record.update(target="anything", answer="anything"))
    assert (
        f"the question of sample {sample} of fastv at 1/3, seed 0, task attribute on toy-llava is not that of the suite"
        in refused(run, capsys)
    )


def test_a_changed_number_of_tokens_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = edit_record(run, "fastv", lambda record: record.update(realised_tokens=10.0))
    assert (
        f"the number of realised tokens of sample {sample} of fastv at 1/3, seed 0, task attribute on toy-llava is 10, and the answers give 57.6"
        in refused(run, capsys)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flops": 1.0}, "the number of FLOPs of sample"),
        ({"cache_bytes": 1.0}, "the number of bytes of the KV cache of sample"),
        ({"evidence_recall": 0.987}, "the share of the evidence that is kept of sample"),
        ({"kept": [0, 1]}, "names 2 kept tokens, and the last layer is said to compute 48"),
        ({"leaves": [-1] * 144}, "names other kept tokens than those that leave at no layer"),
        ({"leaves": [-1] * 48 + [3] * 96}, "by what leaves 144 144 144 48"),
        ({"leaves": None, "tokens_per_layer": [48] * 10, "realised_tokens": 48.0}, "in layer 0, before which nothing"),
        ({"visual_tokens": 150, "leaves": None}, "says that its layers compute 144"),
        ({"tokens_per_layer": [144, 48], "leaves": None, "realised_tokens": 96.0}, "decoder layers of sample"),
    ],
)
def test_a_forged_cost_is_named_where_no_report_was_written(
    change: dict[str, Any], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "report")
    edit_record(run, "fastv", lambda record: record.update(change))
    assert said in refused(run, capsys)


def test_costs_of_a_model_whose_size_is_unknown_are_said_to_be_taken_from_the_submission(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenbench_reports.publish.costs.registered_size", lambda *_: None)
    edit_record(run, "fastv", lambda record: record.update(seconds=0.02))
    assert call("publish", "--check", str(run)) == 0
    said = capsys.readouterr().out
    assert "taken from the submission: FLOPs, KV cache of vanilla on toy-llava, fastv on toy-llava" in said
    assert "all add up" not in said


def test_changed_counts_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cell_of(run, "random")
    edit_json(run / "cells" / f"{cell['id']}.json", lambda summary: summary.update(samples=30))
    edit_json(run / "run.json", lambda manifest: manifest["cells"][-1].update(samples=25))
    said = refused(run, capsys)
    assert (
        f"cells/{cell['id']}.json: the number of samples of random at 1/3, seed 0, task attribute on toy-llava is 30, and the answers give 24"
        in said
    )
    assert (
        "run.json: the number of samples of random at 1/3, seed 0, task attribute on toy-llava is 25, and the answers give 24"
        in said
    )


def test_a_left_out_answer_is_missed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "cells" / f"{cell_of(run, 'fastv')['id']}.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    assert (
        "the number of samples of fastv at 1/3, seed 0, task attribute on toy-llava is 24, and the answers give 23"
        in refused(run, capsys)
    )


def test_a_renamed_strategy_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rename(manifest: Any) -> None:
        next(cell for cell in manifest["cells"] if cell["strategy"] == "fastv")["strategy"] = "mine"

    edit_json(run / "run.json", rename)
    assert "the strategy of the cell" in refused(run, capsys)


def test_a_changed_version_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def upgrade(manifest: Any) -> None:
        next(part for part in manifest["parts"].values() if "torch" in part)["torch"] = "9.9"

    edit_json(run / "run.json", upgrade)
    assert "run.json: the id of vanilla at all, seed 0, task attribute on toy-llava is " in refused(run, capsys)


@pytest.mark.parametrize(
    ("table", "column"), [("summary", "retention"), ("summary", "score_low"), ("pairs", "p"), ("pairs", "verdict")]
)
def test_a_changed_number_in_a_table_is_named(
    table: str, column: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(content: Any) -> None:
        row = next(row for row in content[table] if row.get("strategy", row.get("a")) == "fastv")
        row[column] = "better" if column == "verdict" else row[column] / 2

    edit_json(run / "report" / "report.json", change)
    said = refused(run, capsys)
    assert f"report/report.json: {table}: {column} of " in said
    assert said.count("and the answers give") == 1


def test_a_changed_number_in_a_csv_file_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "report" / "summary.csv"
    head, first, *rest = path.read_text().splitlines()
    values = dict(zip(head.split(","), rest[0].split(","), strict=True))
    changed = rest[0].replace(values["score"], "0.987654")
    path.write_text("\n".join([head, first, changed, *rest[1:]]) + "\n")
    assert (
        f"report/summary.csv: score of toy-llava, {values['strategy']}, {values['budget']}, {values['task']} is 0.987654"
        in refused(run, capsys)
    )


def test_a_row_that_no_answer_gives_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "report" / "summary.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("random", "mine") + "\n")
    assert "report/summary.csv has a row that the answers do not give: toy-llava, mine, 1/3, " in refused(run, capsys)


def test_a_damaged_file_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_record(run, "fastv", lambda record: record.update(score=7.0))
    assert "a score is not from 0 to 1" in refused(run, capsys)


def test_what_cannot_be_recomputed_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(run / "run.json", lambda manifest: manifest["spec"].update(suite="elsewhere"))
    assert call("publish", "--check", str(run)) == 0
    assert (
        "scores are not recomputed, since the questions are not known here: unknown suite 'elsewhere'"
        in capsys.readouterr().out
    )


def test_nothing_is_written_if_a_run_does_not_add_up(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_record(run, "fastv", lambda record: record.update(answer="something else"))
    assert call("publish", str(run), "-o", str(tmp_path / "site")) == 1
    assert not (tmp_path / "site").exists()
    assert call("publish", str(run)) == 2
    assert call("publish", "--check", str(run), "-o", str(tmp_path / "site")) == 2

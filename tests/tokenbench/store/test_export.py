"""`tokenbench export`: a run as a data set that others can read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.answered import answered
from tests.tokenbench.commands.test_running import call
from tokenbench import Run, UsageError
from tokenbench.store.export import export_run
from tokenbench.testing.made_up import HOSTILE, MadeUp, made_up


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_up(tmp_path / "run", MadeUp(failed=True, limit=24))[1]


def front(folder: Path) -> dict[str, object]:
    _, head, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    content: dict[str, object] = yaml.safe_load(head)
    return content


def test_the_tables_are_the_runs(run: Run, tmp_path: Path) -> None:
    assert call("export", str(run.folder), "--to", str(tmp_path / "set")) == 0
    samples = pd.read_parquet(tmp_path / "set" / "samples.parquet")
    pd.testing.assert_frame_equal(samples, run.samples(), check_dtype=False)
    summary = pd.read_parquet(tmp_path / "set" / "summary.parquet")
    assert set(summary["strategy"]) == {"vanilla", "careful"}
    assert json.loads((tmp_path / "set" / "run.json").read_text())["failures"]


def test_the_card_says_what_is_there_and_what_is_missing(run: Run, tmp_path: Path) -> None:
    export_run(run, tmp_path / "set")
    names = [config["config_name"] for config in front(tmp_path / "set")["configs"]]  # type: ignore[attr-defined]
    assert names == ["samples", "summary", "pairs"]
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert "Only the first 24 samples" in card
    assert "2 of 6 cells have no numbers" in card


def test_the_card_has_intervals_and_verdicts(tmp_path: Path) -> None:
    export_run(Run.open(answered(tmp_path / "run", {"fastv": 0.3}, budgets=("1/3",))), tmp_path / "set")
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    pairs = pd.read_parquet(tmp_path / "set" / "pairs.parquet").query("family == 'F1'")
    summary = pd.read_parquet(tmp_path / "set" / "summary.parquet").query("task == 'mean' and strategy == 'fastv'")
    [row], [against] = summary.to_dict("records"), pairs.to_dict("records")
    kept, low, high = (f"{100 * row[name]:.1f}" for name in ("retention", "retention_low", "retention_high"))
    line = next(line for line in card.splitlines() if line.startswith("| toy-llava | fastv"))
    cells = [cell.strip().replace("\\", "") for cell in line.strip("|").split("|")]
    assert cells == ["toy-llava", "fastv", "1/3", kept, f"[{low}, {high}]", against["verdict"]]
    assert "The margin is 1 point of accuracy kept." in card


def test_the_library_datasets_reads_every_table(run: Run, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export_run(run, tmp_path / "set")
    for name in ("samples", "summary", "pairs"):
        rows = datasets.load_dataset(str(tmp_path / "set"), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(rows) == len(pd.read_parquet(tmp_path / "set" / f"{name}.parquet"))


def test_hostile_names_do_not_break_the_card(tmp_path: Path) -> None:
    _, hostile = made_up(tmp_path / "run", MadeUp(tasks=(HOSTILE,), models=(HOSTILE,), text=HOSTILE))
    export_run(hostile, tmp_path / "set")
    assert front(tmp_path / "set").keys() == {"pretty_name", "tags", "size_categories", "configs"}
    assert "<script>" not in (tmp_path / "set" / "README.md").read_text("utf-8").replace("\\<", "")


def test_a_folder_that_holds_something_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    export_run(run, tmp_path / "set")  # an empty one is taken
    with pytest.raises(UsageError, match="already exists and is not empty"):
        export_run(run, tmp_path / "set")


def test_an_export_that_breaks_off_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenbench.store.export._card", lambda *_: 1 / 0)
    before = set(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        export_run(run, tmp_path / "set")
    assert set(tmp_path.iterdir()) == before

"""What a run writes down of its workers on other machines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import SMALL, call
from tokenbench.store.workers import WorkerState, forget_workers, read_workers, write_workers

WAITS = WorkerState("12_1", "PENDING", "Priority")
RUNS = WorkerState("12_0", "RUNNING", place="n1", log="run/logs/slurm/12_0.err")


def test_workers_are_read_as_they_were_written_until_they_are_forgotten(tmp_path: Path) -> None:
    assert read_workers(tmp_path) == (0.0, [])
    write_workers(tmp_path, [RUNS, WAITS])
    when, workers = read_workers(tmp_path)
    assert workers == [RUNS, WAITS]
    assert abs(when - time.time()) < 60
    forget_workers(tmp_path)
    assert read_workers(tmp_path) == (0.0, [])


@pytest.mark.parametrize("text", ["", "[]", '{"time": 1.0}', '{"time": 1.0, "workers": [{"name": 1}]}'])
def test_what_no_run_wrote_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "workers.json").write_text(text)
    assert read_workers(tmp_path) == (0.0, [])


def test_status_names_workers_with_their_states_and_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_reports: None
) -> None:
    folder = tmp_path / "run"
    assert call("run", *SMALL, "-q", "-o", str(folder)) == 0
    write_workers(folder, [RUNS, WAITS, *(WorkerState(f"12_{i}", "PENDING", "Priority") for i in range(2, 12))])
    capsys.readouterr()
    assert call("status", str(folder)) == 0
    out = capsys.readouterr().out
    assert "workers RUNNING: 12_0 on n1\n" in out
    assert "workers PENDING (Priority): 12_1, 12_2, 12_3, 12_4, 12_5, 12_6, 12_7, 12_8 and 3 more\n" in out
    assert "the process that ran it is gone" in out

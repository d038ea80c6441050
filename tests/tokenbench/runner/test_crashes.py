"""What is computed is never lost and never counted twice, whatever happens to process, disk and folder."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.processes import SMALL, started
from tests.systems import only_linux, only_posix, small_disk
from tests.tokenbench.commands.test_running import call, table

pytestmark = pytest.mark.usefixtures(
    "module_without_reports"
)  # those of a resumed run are compared by tests of the command
KILLS = int(os.environ.get("TOKENBENCH_TEST_KILLS", "10"))


@pytest.fixture(scope="module")
def seconds(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the run takes, start of the process included."""
    start = time.monotonic()
    process = started(["run", *SMALL, "-o", str(tmp_path_factory.mktemp("timed") / "run")])
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, module_without_reports: None) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert call("run", *SMALL, "-o", str(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed as soon as it had journaled anything."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    process = started(["run", *SMALL, "-o", str(folder)])
    while process.is_alive() and not list(folder.glob("journal/*")):
        time.sleep(0.001)
    process.kill()
    process.join()
    assert list(folder.glob("journal/*"))
    assert not list(folder.glob("cells/*.parquet"))
    return folder


def equal(folder: Path, finished: Path) -> None:
    pd.testing.assert_frame_equal(table(folder), table(finished))
    assert not list((folder / "journal").iterdir())


@pytest.mark.exhaustive
@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_at_any_moment_it_ends_with_the_same_table(
    finished: Path, seconds: float, tmp_path: Path, kill: int
) -> None:
    """10 random moments; TOKENBENCH_TEST_KILLS=100 for as many as one likes. It is killed until it gets through."""
    arguments = ["run", *SMALL, "-o", str(tmp_path / "run")]
    process = started(arguments)
    process.join(random.random() * seconds)
    process.kill()
    process.join()
    assert call(*arguments) == 0
    equal(tmp_path / "run", finished)


@pytest.mark.slow
@pytest.mark.parametrize("year", [1980, 2050])
def test_clocks_that_are_wrong_change_nothing(finished: Path, killed: Path, tmp_path: Path, year: int) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    moment = (year - 1970) * 365.25 * 86400
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))
    assert call("status", str(folder)) == 0
    assert call("resume", str(folder), "-q") == 0
    equal(folder, finished)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_copied_to(finished: Path, killed: Path, tmp_path: Path) -> None:
    there = shutil.copytree(killed, tmp_path / "there")
    away = killed.rename(tmp_path / "away")
    assert call("resume", str(there), "-q") == 0
    away.rename(killed)
    equal(there, finished)


@pytest.mark.slow
def test_a_damaged_journal_costs_the_damaged_records(finished: Path, killed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    first, *others = sorted((folder / "journal").iterdir())
    first.write_bytes(first.read_bytes()[:-30])
    for path in others[:2]:
        path.write_bytes(b"\0\xff{}\n[1]\nnull\n" + path.read_bytes() + b'{"sample": 3}\n\x80')
    assert call("resume", str(folder), "-q") == 0
    equal(folder, finished)


@pytest.mark.parametrize(
    "damage", [None, *(pytest.param(damage, marks=pytest.mark.slow) for damage in (b"", b"PAR1 no more"))]
)
def test_a_damaged_cell_is_set_aside_and_run_again(
    finished: Path, tmp_path: Path, damage: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    path = sorted((folder / "cells").glob("*.parquet"))[0]
    broken = path.with_name(path.name + ".broken")
    broken.write_bytes(b"of an earlier accident")
    damaged = path.read_bytes()[:-100] if damage is None else damage
    path.write_bytes(damaged)
    assert call("report", str(folder)) == 4
    capsys.readouterr()
    assert call("resume", str(folder), "-q") == 0
    assert (
        f"warning: damaged cell files were set aside, and their cells are run again: {broken}"
        in capsys.readouterr().err
    )
    equal(folder, finished)
    assert broken.read_bytes() == b"of an earlier accident"
    assert broken.with_name(f"{broken.name}.2").read_bytes() == damaged
    assert "run again" in (folder / "logs" / f"{path.stem}.log").read_text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with small_disk(tmp_path / "disk", "1m"):
        yield tmp_path / "disk"


def remount(folder: Path, options: str) -> None:
    only_linux("a small file system is mounted")
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(
    finished: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", *SMALL, "-o", str(disk / "run")]
    ballast = disk / "ballast"
    ballast.write_bytes(b"0" * (2**20 - 160 * 1024))
    assert call(*arguments) == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "No space left on device" in line
    assert list((disk / "run" / "journal").iterdir())
    ballast.unlink()
    remount(disk, "size=16m")
    assert call(*arguments) == 0
    equal(disk / "run", finished)


def test_a_read_only_folder_is_one_line(finished: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remount(disk, "size=16m")
    folder = shutil.copytree(finished, disk / "run")
    remount(disk, "ro")
    assert call("resume", str(folder), "-q") == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Read-only file system" in line
    assert call("status", str(folder)) == 0


@pytest.mark.slow
def test_a_second_process_is_told_who_runs_it(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_posix("a process is stopped, and continued")
    arguments = ["run", *SMALL, "-o", str(tmp_path / "run")]
    process = started(arguments)
    while not all((tmp_path / "run" / name).exists() for name in ("running.json", "run.json")):
        time.sleep(0.01)
    assert call("status", str(tmp_path / "run"), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["holder"]["pid"] == process.pid
    os.kill(process.pid, signal.SIGSTOP)  # it holds the run as long as this takes
    assert call(*arguments) == 4
    assert f"is being run by process {process.pid} on " in capsys.readouterr().err
    os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0
    equal(tmp_path / "run", finished)


@pytest.mark.slow
def test_two_processes_that_start_together_count_nothing_twice(finished: Path, tmp_path: Path) -> None:
    arguments = ["run", *SMALL, "-o", str(tmp_path / "run")]
    both = [started(arguments) for _ in range(2)]
    for process in both:
        process.join()
    assert {process.exitcode for process in both} <= {0, 4}
    assert call(*arguments) == 0
    equal(tmp_path / "run", finished)

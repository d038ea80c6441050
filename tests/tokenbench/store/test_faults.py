"""A run that ends, or a disk that fails, at any system call there is: the same command, run again, resumes it, and nothing was lost.

The quick tests try a part of the points; all of them are tried by `python -m pytest -m exhaustive tests/tokenbench/store/test_faults.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.faults import CHANGES, READS, Dead, Killed, Points, watched
from tests.processes import SMALL, started
from tests.tokenbench.commands.test_running import call, table
from tokenbench import MachineError
from tokenbench.cli import cli
from tokenbench.registry.plugins import registry
from tokenbench.runner import execute as running
from tokenbench.runner.progress import progress
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve
from tokenbench.store.directory import Store
from tokenbench.store.journals import Journals

OPTIONS = {
    "strategies": ["fastv", "clse"], "budgets": ["1/9"], "tasks": ["attribute", "counting"], "limit": 2, "seeds": [0],
    "batch_size": 2, "floors": False,
}  # fmt: skip
PARTS = 80
"""One point of so many is tried in the quick tests."""
PASSING = [OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE)]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
Execute = Callable[[Path], None]


@pytest.fixture(scope="module")
def execute() -> Iterator[Execute]:
    """`tokenbench run` but for the reports. Models are made and loaded once, so that a run takes a fifth of a second."""
    run = resolve(Request.of(OPTIONS), registry())
    works = running.works_of(run, registry(), "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "works_of", lambda *arguments: works)
        yield lambda folder: running.execute(run, folder, registry(), lambda total: progress(total, sys.stderr, True))


@pytest.fixture(scope="module")
def whole(execute: Execute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    execute(folder)
    return folder


@pytest.fixture(scope="module")
def half(execute: Execute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended while it published: some cells are final, some are journals, of one the publication is half done."""
    folder = tmp_path_factory.mktemp("runs") / "half"
    counted = Points(CHANGES)
    with watched(folder, counted):
        execute(folder)
    shutil.rmtree(folder)
    third = [at for at, seen in enumerate(counted.seen) if seen.startswith("replace") and ".parquet" in seen][2]
    with watched(folder, Dead(CHANGES, third)), pytest.raises(Killed):
        execute(folder)
    return folder


def points(execute: Execute, folder: Path, names: tuple[str, ...], part: int) -> list[int]:
    """The calls of these names that a run makes in the folder; every so many of them."""
    counted = Points(names)
    with watched(folder, counted):
        execute(folder)
    assert len(counted.seen) > 60
    return list(range(0, len(counted.seen), part))


@lru_cache
def right(whole: Path) -> pd.DataFrame:
    return table(whole)


def check(folder: Path, whole: Path) -> None:
    """The table is right, and nothing else is left of what happened."""
    pd.testing.assert_frame_equal(table(folder), right(whole))
    left = [
        path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".broken", ".jsonl", "running.json"))
    ]
    assert not left


def finals(folder: Path) -> dict[str, tuple[int, int]]:
    """The published files, with what tells one from its successor."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "cells").glob("*.parquet")}


class Kept:
    """What is added to journals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[tuple[str, str]] = []
        append = Journals.append

        def counted(journals: Journals, records: Any) -> None:
            records = list(records)
            self.answers += [(cell, record["sample"]) for cell, record in records]
            append(journals, records)

        monkeypatch.setattr(Journals, "append", counted)


def killed_everywhere(execute: Execute, whole: Path, tmp_path: Path, part: int) -> int:
    every = points(execute, tmp_path / "counted", CHANGES, part)
    for at in every:
        folder = tmp_path / str(at)
        with watched(folder, Dead(CHANGES, at)), pytest.raises(Killed):
            execute(folder)
        before = finals(folder)
        execute(folder)
        check(folder, whole)
        assert finals(folder).items() >= before.items(), f"killed at point {at}, a finished cell was run again"
        shutil.rmtree(folder)
    return len(every)


@pytest.mark.slow
def test_killed_between_two_system_calls_the_same_command_goes_on(
    execute: Execute, whole: Path, tmp_path: Path
) -> None:
    killed_everywhere(execute, whole, tmp_path, PARTS)


@pytest.mark.exhaustive
def test_killed_between_any_two_system_calls_the_same_command_goes_on(
    execute: Execute, whole: Path, tmp_path: Path
) -> None:
    assert killed_everywhere(execute, whole, tmp_path, 1) > 150


def outcome(execute: Execute, folder: Path) -> BaseException | None:
    try:
        execute(folder)
    except (OSError, MachineError, MemoryError) as error:
        return error
    return None


def failed_everywhere(
    execute: Execute, whole: Path, half: Path, tmp_path: Path, names: tuple[str, ...], errors: list[Any], part: int
) -> int:
    """An error at every point of a resumed run. Either it does not matter, or it is told; no final cell is touched."""
    every = points(execute, shutil.copytree(half, tmp_path / "counted"), names, part)
    wanted = Store(half)
    cells = {path.stem for path in (whole / "cells").glob("*.parquet")}
    there = {(cell, sample) for cell in cells for sample in wanted.answered_questions(cell)}
    for at in every:
        folder = shutil.copytree(half, tmp_path / str(at))
        error = errors[at % len(errors)]

        def fail(path: str, error: Any = error) -> None:
            raise error if isinstance(error, MemoryError) else type(error)(error.errno, error.strerror, path)

        before = finals(folder)
        with pytest.MonkeyPatch.context() as patch, watched(folder, Points(names, at, fail)):
            kept = Kept(patch)
            said = outcome(execute, folder)
            assert not isinstance(said, OSError) or said.filename, f"point {at}: {said!r} names no file"
        assert finals(folder).items() >= before.items(), f"point {at}: a finished cell was run again"
        assert not there.intersection(kept.answers), f"point {at}: an answer was computed again"
        assert not Store(folder).broken_files(), f"point {at}: a sound cell was set aside"
        execute(folder)
        check(folder, whole)
        shutil.rmtree(folder)
    return len(every)


@pytest.mark.slow
def test_a_read_error_that_passes_costs_the_same_command_once_more(
    execute: Execute, whole: Path, half: Path, tmp_path: Path
) -> None:
    failed_everywhere(execute, whole, half, tmp_path, READS, [*PASSING, MemoryError()], PARTS - 17)


@pytest.mark.exhaustive
@pytest.mark.parametrize("error", [*PASSING, MemoryError()], ids=repr)
def test_a_read_error_at_any_point_costs_the_same_command_once_more(
    execute: Execute, whole: Path, half: Path, tmp_path: Path, error: BaseException
) -> None:
    assert failed_everywhere(execute, whole, half, tmp_path, READS, [error], 1) > 100


def test_a_disk_that_is_full_for_a_moment_costs_the_same_command_once_more(
    execute: Execute, whole: Path, half: Path, tmp_path: Path
) -> None:
    failed_everywhere(execute, whole, half, tmp_path, CHANGES, [FULL], PARTS)


@pytest.mark.exhaustive
def test_a_disk_that_is_full_at_any_point_costs_the_same_command_once_more(
    execute: Execute, whole: Path, half: Path, tmp_path: Path
) -> None:
    assert failed_everywhere(execute, whole, half, tmp_path, CHANGES, [FULL], 1) > 60


def test_no_file_of_a_run_is_opened_past_the_calls_that_are_watched(execute: Execute, tmp_path: Path) -> None:
    """Python itself tells of every file that is opened: as many as the tests above know of."""
    folder, watching, told = tmp_path / "run", [True], []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and str(arguments[0]).startswith(str(folder)):
            told.append(str(arguments[0]))

    sys.addaudithook(audit)
    counted = Points(("create", "open", "truncate"))
    with watched(folder, counted):
        execute(folder)
    watching.clear()
    assert sorted(Path(path).name for path in told) == sorted(seen.split(" ", 1)[1] for seen in counted.seen)


@pytest.mark.parametrize(
    "part", [pytest.param(9, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_a_report_killed_between_two_system_calls_is_written_whole_by_the_next(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """All formats that need no other library, and those for papers."""
    monkeypatch.delattr(type(cli), "invoke")  # a process that is killed reports nothing
    command = ["report", str(shutil.copytree(whole, tmp_path / "run")), "--format", "markdown,csv,html,json,latex"]
    for _ in range(2):  # the second one finds what the first has left, as those below do
        counted = Points(CHANGES)
        with watched(tmp_path / "run", counted):
            assert call(*command) == 0
    right = {path.name: path.read_bytes() for path in (tmp_path / "run" / "report").iterdir()}
    for at in range(0, len(counted.seen), part):
        with watched(tmp_path / "run", Dead(CHANGES, at)), pytest.raises(Killed):
            call(*command)
        for path in (tmp_path / "run" / "report").iterdir():
            assert path.name not in right or path.read_bytes() == right[path.name]
    assert call(*command) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "report").iterdir()} == right


@pytest.mark.slow
def test_a_run_that_is_really_killed_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_reports: None
) -> None:
    """The same with a process and SIGKILL, between the making of run.json and its renaming, the command line and all."""
    folder = tmp_path / "run"
    arguments = ["run", *SMALL, "-o", str(folder)]
    process = started(arguments, fault=("replace run.json", folder))
    process.join()
    assert process.exitcode == -9
    assert [path.name for path in folder.iterdir() if path.name.startswith(".run.json.")]
    assert not (folder / "run.json").exists()
    assert call(*arguments) == 0
    assert not [path for path in folder.rglob(".*")]

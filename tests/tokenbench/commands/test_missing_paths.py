"""A name of a file, folder or model that a user has mistyped is wrong usage, said in one line before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call

RUN = ("run", "--strategies", "fastv", "--limit", "2")


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--suite", "gone.csv"), "the table gone.csv does not exist"),
        (("--suite", "./gone"), "suite './gone': there is no such file or folder"),
        (("--suite", "gone/mine.csv"), "the table gone/mine.csv does not exist"),
        (("--spec", "gone.toml"), "run spec gone.toml: No such file"),
        (("--plugin", "gone.py"), "gone.py failed to load: FileNotFoundError: no such file"),
        (("--models", "./gone"), "the model folder ./gone does not exist"),
        (("--models", "gone/"), "the model folder gone/ does not exist"),
        (("--models", "empty/"), "the model folder empty/ holds no config.json"),
        (("--models", "llva-1.5-7b"), "unknown model 'llva-1.5-7b': did you mean llava-1.5-7b"),
        (("--models", "toy-llava,llva-1.5-7b"), "unknown model 'llva-1.5-7b'"),
        (("--data", "reading=gone"), "the data folder gone of task 'reading' does not exist"),
        (("--suite", "lmms:gqa", "--tasks-dir", "gone"), "the folder gone does not exist"),
    ],
)
def test_a_run_of_what_does_not_exist_is_refused_with_and_without_dry_run(
    options: tuple[str, ...],
    message: str,
    dry: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert call(*RUN, *options, *(["--dry-run"] if dry else ["-o", "made"])) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert message in line
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("plan", "--pilot", "gone"), "gone is not a run directory"),
        (("compare", "gone"), "gone is not a run directory"),
        (("compare", "gone", "--data", "reading=gone"), "the data folder gone of task 'reading' does not exist"),
        (("check", "gone.py"), "the plug-in file gone.py does not exist"),
        (("show", "gone.csv"), "the table gone.csv does not exist"),
        (("cost", "--models", "./gone", "--strategies", "fastv"), "the model folder ./gone does not exist"),
        (("new", "suite", "mine", "--from", "gone.csv"), "the table gone.csv does not exist"),
    ],
)
def test_other_commands_refuse_what_does_not_exist(
    command: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())

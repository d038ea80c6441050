"""500 bad inputs, a hundred a door: each is one line with its exit code, and touches no file. The quick tests try one in eight."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from PIL import ImageFile

from tests.fuzz.bad import Bad, snapshot
from tests.fuzz.doors import DOORS
from tests.fuzz.image_door import IN_A_RUN, OPEN, in_a_run
from tests.fuzz.made import made_run
from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call
from tokenbench import cli
from tokenbench.contract.sampling import DEFAULT_SAMPLING
from tokenbench.store.run import Run
from tokenbench_suites.lmms.benchmark import open_media

only_posix("whatever hangs is ended by an alarm")

SEED, EACH, LONGEST = 2026, 100, 20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made_run(tmp_path_factory.mktemp("good") / "run")
    Run.open(folder).compare()  # looked at once: a look that comes before an error changes nothing then
    return folder


@pytest.fixture(autouse=True)
def _open_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that opens an image as the suites do, so that its errors go the way of all others.

    lmms-eval lets Pillow open truncated images as soon as it is imported, which tests before these may have done.
    """
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    command = click.command(OPEN)(click.argument("path")(lambda path: open_media(path, None, DEFAULT_SAMPLING)))
    monkeypatch.setitem(cli.cli.commands, OPEN, command)


@pytest.mark.parametrize("part", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("door", DOORS)
def test_bad_inputs_are_one_line_and_touch_no_file(
    door: str, part: int, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = DOORS[door](random.Random(SEED), run)
    assert len(inputs) == EACH
    before = content(run)
    wrong = []
    for number, bad in list(enumerate(inputs))[::part]:
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        problem = refused(bad, folder, capsys)
        if problem:
            wrong.append(f"{number} {bad.what}: {problem}")
    assert content(run) == before
    assert not wrong, f"{len(wrong)} of {EACH}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("part", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bad_image_in_a_run_is_named_in_one_line(
    part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, bad in enumerate(map(in_a_run, IN_A_RUN(random.Random(SEED))[::part])):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert call(*bad.prepare(folder)) == bad.code
        where, said = capsys.readouterr().err.splitlines()
        assert where == "run: out"
        assert said.startswith("error: some cells failed: vanilla, fastv: task 'tb_bad_images'")
        assert "0.png" in said


def content(run: Path) -> dict[str, Any]:
    """All of a run but the looks: a command may show verdicts before it finds a condition that it cannot meet."""
    files: dict[str, Any] = snapshot(run)
    manifest = json.loads(files.pop("run.json"))
    return {**files, "run": {name: value for name, value in manifest.items() if name != "looks"}}


def refused(bad: Bad, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with the way an input is refused; empty if nothing is."""
    arguments = bad.prepare(folder)
    before = snapshot(folder)
    capsys.readouterr()
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST)
    try:
        code = call(*arguments)
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:150]!r} {[a[:60] for a in arguments]}"
    finally:
        signal.alarm(0)
    said = capsys.readouterr().err
    lines = [line for line in said.split("\n") if line]
    if code != bad.code:
        return f"exit code {code} instead of {bad.code}: {said[-300:]!r} {[a[:60] for a in arguments]}"
    if "Traceback" in said or len(lines) != 1 or not lines[0].startswith("error: "):
        return f"not one line: {said[:300]!r}"
    if not all(sign.isprintable() for sign in lines[0]):
        return f"signs that a terminal obeys: {lines[0][:200]!r}"
    if snapshot(folder) != before:
        return f"files changed: {sorted(set(snapshot(folder)) ^ set(before))}"
    return ""


def _hangs(*_: object) -> NoReturn:
    raise TimeoutError("no answer")

"""Nothing that a run directory, a plug-in or a file says reaches the terminal as more than text on its own line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fuzz.made import BENCH, IDS, made_run
from tests.tokenbench.commands.test_running import call
from tests.tokenbench.registry.test_plugins import GOOD, installed

EVIL = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b31m\u202e\r\nFAKE LINE 20 of 20 answers\x7f"
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
FAILURE = {
    "model": "toy-llava", "strategy": "bad", "budget": "1/2", "seed": 0, "task": "attribute", "kind": "failed", "reason": "why",
}  # fmt: skip
NOTE = {"host": "here", "pid": 1, "started": 1.0, "done": 0}
WORKERS = {
    "time": 1.0,
    "workers": [{"name": "7_0", "state": "PENDING", "reason": "Priority", "place": "n", "log": "f"}],
}
COMMANDS = (
    ("status", "RUN", "-v"),
    ("status", "RUN", "--format", "json"),
    ("compare", "RUN", "--format", "terminal"),
    ("report", "RUN", "--format", "terminal,markdown,csv"),
)
Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one failed cell, of which somebody says that it is running."""
    run = made_run(tmp_path_factory.mktemp("good") / "run")
    (run / "cells" / f"{IDS[2]}.parquet").unlink()
    (run / "cells" / f"{IDS[2]}.failed.json").write_text(json.dumps(FAILURE))
    (run / "running.json").write_text(json.dumps(NOTE))
    return run


def texts(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where a value holds text: the last step is None for the names of a dict."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        yield from ((*place, key, None) for key in value)  # type: ignore[misc]
        for key, part in value.items():
            yield from texts(part, (*place, key))
    elif isinstance(value, list):
        for at, part in enumerate(value[:1]):  # the others are alike
            yield from texts(part, (*place, at))


def spoiled(value: Any, place: Sequence[Any]) -> Any:
    """The value with escapes in the text, or the name, at a place."""
    if not place:
        return f"{value}{EVIL}"
    step, *further = place
    if further == [None]:
        return {(f"{key}{EVIL}" if key == step else key): part for key, part in value.items()}
    copy = value.copy()
    copy[step] = spoiled(value[step], further)
    return copy


def is_harmless(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call(*arguments)
    told = capsys.readouterr()
    said = told.out + told.err
    assert said
    assert not OBEYED.findall(said), said
    assert "Traceback" not in said
    assert not [line for line in said.splitlines() if line.lstrip().startswith("FAKE LINE")]


def everywhere(run: Path, folder: Path, name: str, content: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One copy with escapes in every text at once, which is read as far as it is not refused; and one for each of some."""
    places = list(texts(content))
    assert places
    copy = shutil.copytree(run, folder / "copy")
    for place in places:
        (copy / name).write_text(json.dumps(spoiled(content, place)))
        is_harmless(["status", str(copy), "-v"], capsys)
    free = [place for place in places if not refused(copy, name, spoiled(content, place))]
    whole = content
    for place in sorted(free, key=lambda place: (place[-1] is None, -len(place))):  # names last, the innermost first
        whole = spoiled(whole, place)
    (copy / name).write_text(json.dumps(whole))
    for command in COMMANDS:
        is_harmless([str(copy) if part == "RUN" else part for part in command], capsys)
    for path in (copy / "report").glob("*.[cm][sd][v]*"):
        assert not OBEYED.findall(path.read_text(encoding="utf-8")), path


def refused(run: Path, name: str, content: Any) -> bool:
    from tokenbench.errors import TokenBenchError
    from tokenbench.store.run import Run

    (run / name).write_text(json.dumps(content))
    try:
        Run.open(run).about()
    except TokenBenchError:
        return True
    return False


def test_no_text_of_run_json(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everywhere(good, tmp_path, "run.json", json.loads((good / "run.json").read_text()), capsys)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"cells/{IDS[2]}.failed.json", FAILURE),
        ("running.json", NOTE),
        ("workers.json", WORKERS),
        ("bench.json", BENCH),
        (f"cells/{IDS[1]}.json", {"samples": 6, "official": {"accuracy": 0.5}, "model": "m"}),
    ],
)
def test_no_text_beside_it(
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: Any,
) -> None:
    from filelock import FileLock

    with FileLock(good / "lock"):  # so that `status` says who runs it
        everywhere(good, tmp_path, name, content, capsys)


@pytest.mark.parametrize("column", ["sample", "cluster", "unit", "stratum", "answer", "target"])
def test_no_text_of_the_records(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str) -> None:
    copy = shutil.copytree(good, tmp_path / "run")
    for cell in IDS[:2]:
        path = copy / "cells" / f"{cell}.parquet"
        table = pq.read_table(path)
        values = pa.array([f"{text}{EVIL}" for text in table[column].to_pylist()])
        pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)
    for command in (*COMMANDS, ("judge", "RUN", "--model", "m", "--url", "http://127.0.0.1:9/v1")):
        is_harmless([str(copy) if part == "RUN" else part for part in command], capsys)


def test_no_name_of_a_folder(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(good, tmp_path / f"run{EVIL}".replace("/", ""))
    for command in COMMANDS:
        is_harmless([str(copy) if part == "RUN" else part for part in command], capsys)


def test_no_text_of_a_plug_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = repr(EVIL)[1:-1].replace("\\n", " ")  # a docstring may have several lines
    installed(tmp_path, "tb_broken", f"raise RuntimeError('{evil}')")
    installed(tmp_path, "tb_mine", GOOD.replace("Keeps what", f"Keeps {evil} what").replace('"mine"', f'"mine{evil}"'))
    (tmp_path / "mine.py").write_text(
        GOOD.replace("Keeps what", f"Keeps {evil} what").replace("layer: int = 1", f"layer: str = '{evil}'")
    )
    monkeypatch.syspath_prepend(tmp_path)
    for command in (
        ("list", "plugins"),
        ("list", "strategies"),
        ("show", "mine", "--plugin", str(tmp_path / "mine.py")),
        ("show", f"mine{EVIL}"),
    ):
        is_harmless(command, capsys)


def test_no_text_of_a_spec_or_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.toml").write_text(f"strategies = [{json.dumps('fastv' + EVIL)}]\n")
    is_harmless(["run", "--spec", str(tmp_path / "spec.toml")], capsys)
    (tmp_path / "spec.toml").write_text(f"{json.dumps(EVIL)} = 1\n")
    is_harmless(["run", "--spec", str(tmp_path / "spec.toml")], capsys)
    for command in (["run", f"--{EVIL}"], [EVIL], ["list", EVIL], ["cost", "--models", EVIL], ["status", EVIL]):
        is_harmless(command, capsys)

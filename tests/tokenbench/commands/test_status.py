"""How far a run is, what failed in it, and what a change has made stale; failed cells are tried again when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.tokenbench.commands.test_running import call, table
from tokenbench.runner import identity

SUITE = """
from pathlib import Path

import tokenbench
from tokenbench import Sample, Suite, Task
from PIL import Image

FOLDER = Path(__file__).parent


class Colours(Task):
    description = "What colour is it?"

    def __init__(self, name):
        self.name = name

    def samples(self):
        return [Sample(f"{self.name}-{i}", f"{self.name}-{i}", "What color?", "red", lambda i=i: [self.picture(i)]) for i in range(4)]

    def picture(self, i):
        return Image.open(FOLDER / f"{self.name}-{i}.png").convert("RGB")

    def score(self, answer, sample):
        if (FOLDER / "unscored").exists() and self.name == "good" and sample.key == "good-2":
            raise ZeroDivisionError("no words")
        return float(answer == sample.target)


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("colours", lambda: Suite("colours", "", (Colours("good"), Colours("bad")), "toy-llava"))
"""


def made_suite(folder: Path) -> list[str]:
    """A suite of two tasks; a picture of one of them is broken. The options that run it."""
    from PIL import Image

    for name in ("good", "bad"):
        for i in range(4):
            Image.new("RGB", (40, 40), (200, 10 * i, 0)).save(folder / f"{name}-{i}.png")
    (folder / "bad-1.png").write_bytes(b"no picture")
    (folder / "plug.py").write_text(SUITE)
    options = ["--suite", "colours", "--strategies", "fastv", "--budgets", "1/9", "--batch-size", "3", "--no-floors"]
    return [*options, "--plugin", str(folder / "plug.py"), "-q"]


pytestmark = pytest.mark.usefixtures("without_reports")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return made_suite(tmp_path)


def states(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert call("status", str(folder), "--format", "json", *options) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_strictly_a_broken_picture_loses_the_cells_of_its_task_until_it_is_mended(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug, folder = ["--plugin", str(tmp_path / "plug.py")], tmp_path / "run"
    assert call("run", *arguments, "--strict", "-o", str(folder)) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "task 'bad': sample bad-1 cannot be loaded: UnidentifiedImageError" in line
    assert f"tokenbench resume {folder} --retry-failed" in line
    frame = table(folder)
    assert frame.groupby(["strategy", "task"]).size().to_dict() == {("fastv", "good"): 4, ("vanilla", "good"): 4}
    assert {f["task"] for f in tokenbench.Run.open(folder).failures()} == {"bad"}

    found = states(folder, capsys, *plug)
    assert found["counts"] == {"done": 2, "failed": 2}
    failed = next(cell for cell in found["cells"] if cell["state"] == "failed")
    assert "Traceback" in (folder / "logs" / f"{failed['id']}.log").read_text()

    (tmp_path / "bad-1.png").write_bytes((tmp_path / "bad-0.png").read_bytes())
    assert call("resume", str(folder), *plug, "-q") == 3  # failed cells are left alone
    assert call("resume", str(folder), *plug, "-q", "--retry-failed") == 0
    assert states(folder, capsys, *plug)["counts"] == {"done": 4}
    whole = tmp_path / "whole"
    assert call("run", *arguments, "-o", str(whole)) == 0
    pd.testing.assert_frame_equal(table(folder), table(whole))


def test_a_scorer_that_fails_loses_its_own_cells(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad-1.png").write_bytes((tmp_path / "bad-0.png").read_bytes())
    (tmp_path / "unscored").touch()
    assert call("run", *arguments, "-o", str(tmp_path / "run")) == 3
    assert "task 'good' cannot score sample good-2: ZeroDivisionError: no words" in capsys.readouterr().err
    assert set(table(tmp_path / "run")["task"]) == {"bad"}


def test_a_run_that_lacks_its_plug_in_is_told_so(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", *arguments, "-o", str(tmp_path / "run")) == 0
    found = states(tmp_path / "run", capsys)
    assert f"must be named again (--plugin {tmp_path / 'plug.py'})" in found["unknown"]
    assert call("resume", str(tmp_path / "run"), "-q") == 2
    assert f"--plugin {tmp_path / 'plug.py'}" in capsys.readouterr().err


MINE = """
import tokenbench
from tokenbench import Stage, Strategy


class Mine(Strategy):
    def schedule(self, depth, budget):
        return [(1, budget.keep)]

    def score(self, view):
        return view.alive.float()


@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("mine", Mine)
"""


def test_what_changed_makes_its_own_cells_stale_and_they_alone_are_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, folder = tmp_path / "mine.py", tmp_path / "run"
    plugin.write_text(MINE)
    few = [
        "--strategies",
        "mine,fastv",
        "--budgets",
        "1/9",
        "--tasks",
        "attribute",
        "--limit",
        "3",
        "--no-floors",
        "-q",
    ]
    arguments = ["run", *few, "--plugin", str(plugin), "-o", str(folder)]
    assert call(*arguments) == 0
    before = {cell["strategy"]: cell for cell in states(folder, capsys, "--plugin", str(plugin))["cells"]}
    assert not any(cell["stale"] for cell in before.values())

    plugin.write_text(MINE.replace(".float()", ".float() * -1"))
    stale = {cell["strategy"]: cell["stale"] for cell in states(folder, capsys, "--plugin", str(plugin))["cells"]}
    assert stale == {"vanilla": [], "fastv": [], "mine": ["strategy: source changed (tokenbench_plugin_mine)"]}
    assert call("status", str(folder), "--plugin", str(plugin)) == 0
    assert "stale: strategy: source changed" in capsys.readouterr().out

    published = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.parquet")}
    assert call("resume", str(folder), "--plugin", str(plugin), "-q") == 0
    found = states(folder, capsys, "--plugin", str(plugin))
    after = {cell["strategy"]: cell for cell in found["cells"]}
    assert {name for name in after if after[name]["id"] != before[name]["id"]} == {"mine"}
    assert found["orphans"] == [before["mine"]["id"]]
    assert all((folder / "cells" / name).stat().st_mtime_ns == time for name, time in published.items())
    kept = table(folder).set_index("strategy")["kept"]
    assert kept["mine"].iloc[0] == list(range(16))
    assert len(table(folder)) == 9  # the old answers stand in no table


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("model", "weights"),
        ("model", "adapter"),
        ("model", "prompt"),
        ("strategy", "source"),
        ("budget", "match"),
        ("seed", "number"),
        ("task", "source"),
        ("task", "samples"),
        ("generation", "new tokens"),
        ("numerics", "dtype"),
        ("numerics", "attention"),
        ("engine", "source"),
        ("libraries", "torch"),
    ],
)
def test_each_part_of_an_identity_makes_another_cell(part: str, name: str) -> None:
    parts = {
        "model": {"weights": "a" * 64, "adapter": "b" * 64, "prompt": "c"},
        "strategy": {"source": "d" * 64},
        "budget": {"match": "nominal"},
        "seed": {"number": 0},
        "task": {"source": "e" * 64, "samples": "f" * 64},
        "generation": {"new tokens": 4},
        "numerics": {"dtype": "float32", "attention": "sdpa"},
        "engine": {"source": "g" * 64},
        "libraries": {"torch": "2.14"},
    }
    changed = {**parts, part: {**parts[part], name: "h"}}  # type: ignore[dict-item]
    cells = [identity.Cell("m", "s", "1/3", 0, "t", some) for some in (parts, changed)]
    assert cells[0].id != cells[1].id
    (sentence,) = identity.differences(parts, changed)
    old = str(parts[part][name])  # type: ignore[index]
    assert sentence == (f"{part}: {name} {old} -> h" if len(old) < 40 else f"{part}: {name} changed")


def test_samples_are_part_of_an_identity() -> None:
    from tokenbench.registry.plugins import registry
    from tokenbench.registry.suites import resolve_suite

    _, (task, *_) = resolve_suite("image", (), registry())
    samples = list(task.samples()[:3])
    whole = identity.fingerprint_of(samples)
    assert whole == identity.fingerprint_of(list(task.samples()[:3]))
    assert whole != identity.fingerprint_of(samples[:2])
    assert whole != identity.fingerprint_of(samples[::-1])

"""Run directories, mutated: all that reports ask of them, or one line that says what is wrong.

For longer: `python -m pytest tests/fuzz --hypothesis-profile long`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.made import BENCH, IDS, made_run
from tests.fuzz.mutations import damaged, mutated
from tokenbench.errors import TokenBenchError
from tokenbench.store.run import Run

CELL = f"cells/{IDS[1]}"
FEWER = settings(max_examples=settings().max_examples // 5)
"""Each example copies and reads a run directory."""
Copy = Callable[[], Path]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("good") / "run")


@pytest.fixture(scope="module")
def copied(good: Path) -> Iterator[Copy]:
    """A fresh copy of the good run, every time."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "run"

        def copy() -> Path:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(good, target)
            return target

        yield copy


@pytest.fixture(scope="module")
def manifest(good: Path) -> Any:
    return json.loads((good / "run.json").read_text())


def read(folder: Path) -> None:
    """Ask for all that reports are handed. An error that a person can mend is right; anything else is a bug, and raised."""
    try:
        run = Run.open(folder)
        about = run.about()
        json.dumps(about, ensure_ascii=False).encode()
        samples = run.whole()
        run.official()
        assert not len(samples) or samples["score"].between(0, 1).all()
    except TokenBenchError:
        return


@FEWER
@given(data=st.data())
def test_a_mutated_manifest_is_read_or_refused(copied: Copy, manifest: Any, data: st.DataObject) -> None:
    folder = copied()
    (folder / "run.json").write_text(json.dumps(data.draw(mutated(manifest))))
    read(folder)


@FEWER
@given(data=st.data())
def test_a_mutated_measurement_is_read_or_refused(copied: Copy, data: st.DataObject) -> None:
    folder = copied()
    (folder / "bench.json").write_text(json.dumps(data.draw(mutated(BENCH))))
    read(folder)


@pytest.mark.parametrize("name", ["run.json", "bench.json", f"{CELL}.json", f"{CELL}.parquet"])
@FEWER
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(copied: Copy, name: str, data: st.DataObject) -> None:
    folder = copied()
    path = folder / name
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read(folder)

"""`tokenbench.run`: the run of the command, from Python."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tokenbench
from tests.tokenbench.test_run import call
from tokenbench import UsageError

FEW = {"tasks": ["attribute"], "budgets": ["1/9"], "limit": 2, "floors": False}


def test_it_is_the_same_run_as_the_commands(tmp_path: Path) -> None:
    run = tokenbench.run("fastv", tmp_path / "python", **FEW)
    options = ["--tasks", "attribute", "--budgets", "1/9", "--limit", "2", "--no-floors", "-q"]
    assert call("run", "--strategies", "fastv", *options, "-o", str(tmp_path / "command")) == 0
    there = tokenbench.Run.open(tmp_path / "command")
    assert run.spec() == there.spec()
    pd.testing.assert_frame_equal(run.samples().drop(columns="seconds"), there.samples().drop(columns="seconds"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": 2}, "No such option.*--limits"),
        ({"limit": 0}, "--limit"),
        ({"output_format": "x"}, "--output-format"),
        ({"dry_run": True}, "takes no option 'dry_run'"),
        ({"budgets": ["2"], "suite": "imag"}, "did you mean image"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        tokenbench.run(["fastv"], tmp_path / "run", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()

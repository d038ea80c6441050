"""The text reports of one made-up run, as a whole: `--snapshot-update` after a change that is meant."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.reports.made_up import bench, made_up
from tokenbench_reports.details import DetailsReport
from tokenbench_reports.markdown import MarkdownReport
from tokenbench_reports.terminal import TerminalReport

LOSES = {"good": 0.0, "fair": 0.1, "bad": 0.5, "random": 0.7}


@pytest.fixture(scope="module")
def finished() -> Any:
    return made_up(LOSES, about={"bench": [bench()], "notes": ["toy is made up."]})


def test_the_terminal_report(finished: Any, snapshot: SnapshotAssertion) -> None:
    out = io.StringIO()
    TerminalReport().write(*finished, Path("."), out)
    assert out.getvalue() == snapshot


def test_the_details_on_the_terminal(finished: Any, snapshot: SnapshotAssertion) -> None:
    out = io.StringIO()
    DetailsReport().write(*finished, Path("."), out)
    assert out.getvalue() == snapshot


def test_the_markdown_report(finished: Any, snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    (path,) = MarkdownReport().write(*finished, tmp_path, io.StringIO())
    assert path.read_text() == snapshot

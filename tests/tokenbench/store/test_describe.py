"""What a run shows at a prompt and in a notebook: how far it is, and scores; never a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenbench import Run
from tokenbench.testing.made_up import HOSTILE, MadeUp, made_up


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_up(tmp_path / "run", MadeUp(failed=True, limit=24))[1]


def test_a_run_says_what_it_is_and_how_far(run: Run, tmp_path: Path) -> None:
    text = repr(run)
    assert text.startswith(f"<_MadeUpRun {tmp_path / 'run'}: suite made-up on made-up, ")
    assert "24 samples a task; 4 of 6 cells finished, 2 failed" in text
    assert repr(Run.open(tmp_path / "run")) == text.replace("_MadeUpRun", "Run")


def test_a_notebook_shows_its_scores_and_spends_no_look(run: Run) -> None:
    before = (run.folder / "run.json").read_bytes()
    html = run._repr_html_()
    for score in run.scores().to_dict("records"):
        cells = (score["model"], score["strategy"], score["budget"], score["task"])
        assert all(f">{text}</td>" in html for text in (*cells, f"{100 * score['score']:.1f}", score["samples"]))
    assert not any(word in html for word in ("better", "worse", "decided", "CI"))
    assert (run.folder / "run.json").read_bytes() == before


def test_hostile_names_are_text(tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", MadeUp(models=(HOSTILE,), text=HOSTILE))[1]
    assert "<script" not in run._repr_html_()
    assert "\x1b" not in repr(run)
    assert "\n" not in repr(run)


def test_what_cannot_be_read_is_said(run: Run) -> None:
    (run.folder / "run.json").write_text("{")
    broken = Run.open(run.folder)
    assert "cannot be read" in repr(broken)
    assert "cannot be read" in broken._repr_html_()


def test_a_run_without_a_finished_cell_has_no_scores(run: Run) -> None:
    for path in (run.folder / "cells").iterdir():
        path.unlink()
    assert "0 of 6 cells finished" in repr(run)
    assert "<table" not in run._repr_html_()

"""Progress on plain lines, as a batch job's log has it."""

from __future__ import annotations

import io

import pytest

from tokenbench.runner import progress
from tokenbench.runner.progress import progress as make


def test_a_sentence_is_shown_at_once_and_answers_that_did_not_come_yet_need_no_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    out = io.StringIO()
    with make(10, out) as bar:
        bar.tell("job 12 waits\x1b[2J")
        bar.advance(0, "1 task PENDING")
        bar.advance(5, "1 task RUNNING")
    first, second, third = out.getvalue().splitlines()
    assert first == "job 12 waits\\x1b[2J"
    assert second == "0/10 answers, 1 task PENDING"
    assert third.startswith("5/10 answers, 1 task RUNNING, ")
    assert third.endswith(" s left")

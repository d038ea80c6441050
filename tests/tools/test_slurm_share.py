"""A task that Slurm sends away."""

from __future__ import annotations

import pytest

from tokenbench.errors import UsageError
from tokenbench.runner.worker import Worker
from tokenbench_tools.executors.slurm_share import ShareOfRun


def test_a_task_that_leaves_reports_no_error_that_its_leaving_caused(monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit ends a task with SystemExit, wherever it is; a plug-in that is being loaded then counts as broken."""
    share = ShareOfRun("run", (), "cpu")

    def load(*of: object) -> Worker:
        share.checkpoint([])
        raise UsageError("plug-in mine.py failed to load: SystemExit: -1")

    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setattr(Worker, "of_run", load)
    with pytest.raises(SystemExit):
        share([])


def test_a_task_that_stays_reports_what_a_person_can_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*of: object) -> Worker:
        raise UsageError("no")

    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setattr(Worker, "of_run", load)
    assert str(ShareOfRun("run", (), "cpu")([])) == "no"


def test_further_tasks_of_one_job_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_GLOBALID", "1")
    monkeypatch.setattr(Worker, "of_run", lambda *of: pytest.fail("it must not start"))
    assert ShareOfRun("run", (), "cpu")([]) is None

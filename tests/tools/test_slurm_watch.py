"""Which tasks are submitted again, how often, and when a run stops: on made-up jobs, whose every state the test decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tokenbench.errors import MachineError
from tokenbench_tools.executors import slurm_watch
from tokenbench_tools.executors.slurm_queue import Task
from tokenbench_tools.executors.slurm_share import Share
from tokenbench_tools.executors.slurm_watch import Watch


class Made:
    """Jobs that end as they are told, the first one first; and the run that they work for."""

    def __init__(self, folder: Path, endings: Mapping[int, Sequence[tuple[str, int]]]) -> None:
        """endings: for each share, the state in which each of its tasks ends, and the answers that are there by then; `DONE` for a result."""
        self.endings = {number: list(one) for number, one in endings.items()}
        self.store, self.folder = SimpleNamespace(folder=folder), folder
        self.settled = dict.fromkeys(endings, 0)
        self.said: list[str] = []
        self.submitted: list[list[int]] = []
        self.cancelled: list[str] = []
        self._tasks: dict[str, Task] = {}

    def submit(self, shares: Sequence[Share]) -> None:
        self.submitted.append([share.number for share in shares])
        for share in shares:
            share.job = f"{len(self.submitted)}_{share.number}"
            paths = SimpleNamespace(
                folder=self.folder, stderr=self.folder / "none", result_pickle=self.folder / share.job
            )
            share.handle = SimpleNamespace(job_id=share.job, paths=paths, result=lambda: None)
            state, answers = self.endings[share.number].pop(0)
            self.settled[share.number] = answers
            if state == "DONE":
                paths.result_pickle.touch()
            self._tasks[share.job] = Task(share.job, *(state.split(":") if ":" in state else (state,)))

    def tasks(self) -> Mapping[str, Task]:
        return self._tasks

    def look_up(self, job: str) -> Task:
        return self._tasks[job]

    def cancel(self, jobs: Sequence[str]) -> None:
        self.cancelled += jobs

    def count_settled(self, units: Sequence[Any]) -> int:
        return sum(self.settled[unit] for unit in units)

    def advance(self, answers: int, what: str) -> None:
        pass

    def tell(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs shares of ten answers whose tasks end as they are told."""
    for name in ("LAG", "SETTLED"):
        monkeypatch.setattr(slurm_watch, name, 0.0)
    monkeypatch.setattr(slurm_watch.time, "sleep", lambda seconds: None)

    def run(**endings: Sequence[tuple[str, int]]) -> Made:
        made = Made(tmp_path.resolve(), {int(name[1:]): one for name, one in endings.items()})
        shares = [Share(number, [number], 10) for number in made.endings]  # type: ignore[list-item]
        made.error = None  # type: ignore[attr-defined]
        try:
            Watch(made, made, made, shares).run()  # type: ignore[arg-type]
        except MachineError as error:
            made.error = error  # type: ignore[attr-defined]
        return made

    return run


def test_a_share_is_given_up_after_four_losses_without_a_new_answer(watch: Any) -> None:
    made = watch(s0=[("FAILED", 0)] * 4, s1=[("DONE", 10)])
    assert made.submitted == [[0, 1], [0], [0], [0]]
    assert "4 times in a row without a new answer" in str(made.error)


def test_a_share_with_new_answers_is_submitted_as_often_as_it_takes(watch: Any) -> None:
    made = watch(s0=[*(("FAILED", answers) for answers in (1, 2, 3, 4, 5, 6)), ("DONE", 10)])
    assert made.error is None
    assert len(made.submitted) == 7


def test_preemption_counts_as_no_loss(watch: Any) -> None:
    made = watch(s0=[*[("PREEMPTED", 0)] * 9, ("DONE", 10)])
    assert made.error is None


def test_what_memory_ended_is_not_tried_again_and_the_others_finish(watch: Any) -> None:
    made = watch(s0=[("OUT_OF_MEMORY", 0)], s1=[("FAILED", 0), ("DONE", 10)])
    assert made.submitted == [[0, 1], [1]]
    assert "ran out of memory" in str(made.error)


def test_a_task_whose_answers_are_all_there_needs_no_result(watch: Any) -> None:
    assert watch(s0=[("CANCELLED", 10)]).error is None


def test_cancelling_all_that_is_left_stops_the_run_and_one_of_several_does_not(watch: Any) -> None:
    made = watch(s0=[("CANCELLED", 0)], s1=[("CANCELLED", 5)])
    assert "jobs 1_0, 1_1 were cancelled, and nothing else is left" in str(made.error)
    assert made.submitted == [[0, 1]]
    made = watch(s0=[("CANCELLED", 0), ("DONE", 10)], s1=[("FAILED", 5), ("DONE", 10)])
    assert made.error is None
    assert made.submitted == [[0, 1], [0, 1]]


def test_a_job_without_hope_is_cancelled_and_named_with_its_reason(watch: Any) -> None:
    made = watch(s0=[("PENDING:PartitionTimeLimit", 0)])
    assert made.cancelled == ["1_0"]
    assert "job 1_0 can never start (PartitionTimeLimit)" in str(made.error)
    assert made.said[-1] == "job 1_0 waits in the queue: PENDING (PartitionTimeLimit)"

"""Watches the tasks of a run on Slurm, all of them at once: submits again what is lost while the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tokenbench.errors import AGAIN, MachineError, brief
from tokenbench.store import files
from tokenbench.store.workers import WorkerState, forget_workers, write_workers
from tokenbench_tools.executors.slurm_endings import Ending, explain
from tokenbench_tools.executors.slurm_queue import HOPELESS, Task
from tokenbench_tools.executors.slurm_share import Share

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress

__all__ = ["Jobs", "Watch"]

LOSSES = 3
"""How often in a row a share may be lost without a new answer and be submitted again."""
MOST_PAUSE = 15.0
"""Seconds between two questions to Slurm, at most; in the first minutes it is asked more often."""
LAG = 3.0
"""Seconds that a file may take to appear on another machine."""
SETTLED = 10.0
"""Seconds after which the reason why a job waits is taken to be final, if it is one that no other job's end removes."""
LOG_TAIL = 1 << 14
NAMED = 4


class Jobs(Protocol):
    """The jobs of this run: Slurm's, or processes of this machine."""

    def submit(self, shares: Sequence[Share]) -> None:
        """Submit shares, and note their jobs."""

    def tasks(self) -> Mapping[str, Task] | None:
        """Return all tasks by id; None if nobody answers."""

    def look_up(self, job: str) -> Task:
        """Return what is known of a task that has ended."""

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs."""


class Watch:
    """Has the shares of a run done.

    Args:
        job: The work.
        bar: Shows the progress.
        jobs: Where tasks run.
        shares: The shares that are not done. Those with a task of an earlier process have its id.
        memory: The memory that tasks ask for, in words.
    """

    def __init__(self, job: Job, bar: Progress, jobs: Jobs, shares: Sequence[Share], memory: str = "") -> None:
        self.shares = list(shares)
        self._job, self._bar, self._jobs, self._memory = job, bar, jobs, memory
        self._root = job.store.folder.resolve()
        self._failed: list[tuple[str, Ending, str]] = []
        self._told: set[str] = set()
        self._written: list[WorkerState] = []
        self._all = [unit for share in shares for unit in share.units]
        self._shown, self._next_count, self._began = 0, 0.0, time.monotonic()

    def run(self) -> None:
        """Have all shares done.

        Raises:
            TokenBenchError: What a task could not do, and a person can mend.
            MachineError: Tasks were lost for good, or all of them were cancelled.
        """
        total = sum(share.answers for share in self.shares)
        try:
            self._submit([share for share in self.shares if not share.job])
            while self.shares:
                self._collect()
                self._look()
                if self.shares:
                    self._count()
                    time.sleep(min(MOST_PAUSE, 1 + (time.monotonic() - self._began) / 20))
        finally:
            self._end()
        if self._failed:
            raise self._failure()
        self._bar.advance(total - self._shown, "all tasks have ended")

    def _submit(self, shares: Sequence[Share]) -> None:
        if not shares:
            return
        for share in shares:
            share.job, share.handle, share.since = "", None, 0.0
            share.settled = self._job.count_settled(share.units)
        self._jobs.submit(shares)
        logs = {str(share.handle.paths.folder) for share in shares}
        self._bar.tell(f"submitted {_name([share.job for share in shares])}; output in {', '.join(logs)}")

    def _collect(self) -> None:
        """Take the results of tasks that have one."""
        lost = []
        for share in list(self.shares):
            if share.handle is None or files.version(share.handle.paths.result_pickle, self._root) is None:
                continue
            try:
                error = share.handle.result()
            except Exception as trouble:  # of the task, or of its result
                lines = [line for line in str(trouble).splitlines() if line.strip()]
                why = next((line.strip() for line in reversed(lines[: _end_of_trace(lines)])), brief(trouble))
                lost.append((share, Ending(f"failed: {why}")))
                continue
            if error is not None:
                raise error
            self.shares.remove(share)
        self._lose(lost)

    def _look(self) -> None:
        """Ask for the states of tasks, and deal with those that have ended without a result or will never start."""
        tasks = self._jobs.tasks()
        if tasks is None:
            self._tell("Slurm does not answer and will be asked again; running jobs continue")
            return
        self._told.discard("Slurm does not answer and will be asked again; running jobs continue")
        now = time.monotonic()
        ended: list[Share] = []
        hopeless: list[Share] = []
        states = {share.number: _find(tasks, share.job) for share in self.shares}
        for share in self.shares:
            task = states[share.number]
            never = task is not None and task.active and HOPELESS.fullmatch(task.reason)
            if task is not None and task.active and not never:
                share.since = 0.0
                continue
            share.since = share.since or now
            if now - share.since >= (SETTLED if never else LAG):
                (hopeless if never else ended).append(share)
        self._write(states)
        for share in hopeless:
            self._give_up(share, Ending(f"can never start ({states[share.number].reason})", "change --slurm"))  # type: ignore[union-attr]
        if ended and not any(task is not None and task.state == "COMPLETING" for task in states.values()):
            self._settle(ended, states)

    def _settle(self, ended: Sequence[Share], states: Mapping[int, Task | None]) -> None:
        """Deal with tasks that have ended without a result."""
        left = []
        for share in ended:
            if self._job.count_settled(share.units) >= share.answers:  # its result is late, or was another process's
                self.shares.remove(share)
            else:
                left.append((share, self._jobs.look_up(share.job)))
        cancelled = [task for _, task in left if task.state.startswith("CANCELLED")]
        if cancelled and len(cancelled) == len(self.shares):
            jobs = [task.id for task in cancelled]
            raise MachineError(f"{_name(jobs)} {_were(jobs)} cancelled, and nothing else is left", f"{AGAIN} to resume")
        self._lose(
            [
                (share, explain(task, self._log(share), str(self._job.store.folder), self._memory))
                for share, task in left
            ]
        )

    def _lose(self, lost: Sequence[tuple[Share, Ending]]) -> None:
        """Submit lost shares again, except those that would be lost again."""
        again = []
        for share, ending in lost:
            progress = self._job.count_settled(share.units) > share.settled
            share.losses = (0 if progress else share.losses) + ending.counts
            if ending.again and share.losses <= LOSSES:
                self._bar.tell(f"{_name([share.job])} {ending.cause}; it is submitted again")
                again.append(share)
            else:
                self._give_up(share, ending)
        self._submit(again)

    def _give_up(self, share: Share, ending: Ending) -> None:
        times = f", {share.losses} times in a row without a new answer" if share.losses > LOSSES else ""
        log = share.handle.paths.stderr if share.handle is not None and self._log(share) else ""
        self._failed.append((share.job, Ending(ending.cause + times, ending.mend), str(log)))
        self._jobs.cancel([share.job])
        self.shares.remove(share)
        if self.shares:  # else it is the error that ends the run
            self._bar.tell(f"{_name([share.job])} {ending.cause}{times}; the other tasks go on")

    def _failure(self) -> MachineError:
        alike: dict[str, list[str]] = {}
        for job, ending, _ in self._failed:
            alike.setdefault(ending.cause, []).append(job)
        causes = [f"{_name(jobs)} {cause}" for cause, jobs in alike.items()]
        mends = dict.fromkeys(ending.mend for _, ending, _ in self._failed if ending.mend)
        logs = [f"output in {log}" for _, _, log in self._failed if log][:1]
        return MachineError("; ".join(causes), "; ".join([*logs, *mends, f"{AGAIN} to resume"]))

    def _count(self) -> None:
        """Show how many answers there are. That takes a while on large runs, and is then done seldom."""
        before = time.monotonic()
        if before < self._next_count:
            return
        settled = self._job.count_settled(self._all)
        self._bar.advance(max(0, settled - self._shown), _sum_up(self._written))
        self._shown = max(settled, self._shown)
        self._next_count = time.monotonic() + 20 * (time.monotonic() - before)

    def _write(self, states: Mapping[int, Task | None]) -> None:
        """Write down what tasks do, and say what they wait for."""
        workers = [
            WorkerState(
                share.job,
                task.state,
                task.reason,
                task.node,
                str(share.handle.paths.stderr) if self._log(share) else "",
            )
            for share in self.shares
            if (task := states[share.number]) is not None
        ]
        if workers == self._written:
            return
        self._written = workers
        write_workers(self._job.store.folder, workers)
        waiting: dict[str, list[str]] = {}
        for one in workers:
            if one.reason:
                waiting.setdefault(f"{one.state} ({one.reason})", []).append(one.name)
        for what, names in waiting.items():
            self._tell(f"{_name(names)} {'waits' if len(names) == 1 else 'wait'} in the queue: {what}")

    def _tell(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._bar.tell(sentence)

    def _log(self, share: Share) -> str | None:
        """Return the end of a task's output; None if it has not written any."""
        if share.handle is None:
            return None
        path = Path(share.handle.paths.stderr)
        found = files.version(path, self._root)
        if found is None:
            return None
        return files.read_since(path, self._root, max(0, found[2] - LOG_TAIL))[1].decode(errors="replace")

    def _end(self) -> None:
        """Cancel what still waits or runs."""
        if self.shares:
            jobs = [share.job for share in self.shares if share.job]
            self._jobs.cancel(jobs)
            self._bar.tell(f"{_name(jobs)} {_were(jobs)} cancelled" if jobs else "no job was submitted")
        forget_workers(self._job.store.folder)


def _find(tasks: Mapping[str, Task], job: str) -> Task | None:
    """Return a task. That of an array which ended before it began is listed under the array's id."""
    return tasks.get(job) or tasks.get(job.partition("_")[0])


def _name(jobs: Sequence[str]) -> str:
    """Name jobs, a few of them at most."""
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return f"{'job' if len(jobs) == 1 else 'jobs'} {', '.join(jobs[:NAMED])}{more}"


def _were(jobs: Sequence[str]) -> str:
    return "was" if len(jobs) == 1 else "were"


def _sum_up(workers: Sequence[WorkerState]) -> str:
    """Say how many tasks are in each state."""
    counts: dict[str, int] = {}
    for one in workers:
        what = f"{one.state} ({one.reason})" if one.reason else one.state
        counts[what] = counts.get(what, 0) + 1
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "waiting for Slurm"


def _end_of_trace(lines: Sequence[str]) -> int:
    """Return how many lines come before submitit's own words on a failed task."""
    return next((i for i, line in enumerate(lines) if i and set(line.strip()) == {"-"} and i > 1), len(lines))

"""Slurm's own words, as Slurm 22.05 wrote them, and what users are told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.systems import only_posix
from tokenbench_tools.executors.slurm_endings import explain
from tokenbench_tools.executors.slurm_queue import HOPELESS, Queue, Task, describe_refusal

REFUSED = "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified\n"
AWAY = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"


@pytest.mark.parametrize(
    ("task", "log", "cause", "again", "counts"),
    [
        (Task("7", "OUT_OF_MEMORY", node="n1"), "", "ran out of memory on n1 (mem=4096M)", False, True),
        (
            Task("7", "FAILED", node="n1", exit="0:9"),
            "slurmstepd-n1: error: Step 7.0 exceeded memory limit (170 > 161), being killed\n",
            "ran out of memory on n1 (mem=4096M)",
            False,
            True,
        ),
        (Task("7", "PREEMPTED", node="n2"), None, "was preempted on n2", True, False),
        (Task("7", "NODE_FAIL", node="n2"), None, "lost its node on n2", True, True),
        (Task("7", "TIMEOUT", node="n2"), "", "reached its time limit on n2", True, True),
        (Task("7", "CANCELLED", node="n2", exit="0:15"), "", "was cancelled on n2", True, True),
        (Task("7", "FAILED", node="n2", exit="0:53"), None, "could not write to RUN on n2", False, True),
        (Task("7", "FAILED", node="n2", exit="9:0"), "a\nb: no\n", "ended with exit code 9 on n2: b: no", True, True),
        (Task("7", "FAILED", node="n2", exit="0:9"), "", "was killed by signal 9 (SIGKILL) on n2", True, True),
        (Task("7", "FAILED", node="n2", exit="137:0"), "", "was killed by signal 9 (SIGKILL) on n2", True, True),
        (Task("7", "FAILED", "BadConstraints"), None, "asked for what no node has (BadConstraints)", False, True),
        (Task("7", ""), None, "ended without a result, and Slurm no longer knows why", True, True),
    ],
)
def test_the_end_of_a_task_has_a_cause(task: Task, log: str | None, cause: str, again: bool, counts: bool) -> None:
    ending = explain(task, log, "RUN", "mem=4096M")
    assert (ending.cause, ending.again, ending.counts) == (cause, again, counts)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (REFUSED, 2, "Slurm refuses the jobs: invalid partition specified: nope; Invalid partition name specified"),
        (AWAY, 4, "Slurm cannot take the jobs now: Unable to contact slurm controller (connect failure)"),
        ("sbatch: unrecognized option '--colour=red'\nTry \"sbatch --help\" for more information\n", 2, "--colour=red"),
        ("allocation failure: Requested nodes are busy\n", 4, "Requested nodes are busy"),
        ("", 2, "sbatch failed without a reason"),
    ],
)
def test_what_sbatch_says_is_said_in_its_words(text: str, code: int, message: str) -> None:
    error = describe_refusal(text)
    assert error.exit_code == code
    assert message in str(error)


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("AssocMaxCpuPerJobLimit", True),
        ("Priority", False),
        ("Resources", False),
        ("AssocMaxJobsLimit", False),  # other jobs end
        ("QOSMaxJobsPerUserLimit", False),
        ("ReqNodeNotAvail, UnavailableNodes:n1", False),  # it may come back
        ("JobHeldUser", False),
    ],
)
def test_only_what_no_other_job_ends_is_without_hope(reason: str, never: bool) -> None:
    assert bool(HOPELESS.fullmatch(reason)) is never


def command(folder: Path, name: str, text: str, code: int = 0) -> None:
    """A command that prints a text."""
    only_posix("a script is a command")
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_jobs_are_known_by_the_names_that_squeue_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        tmp_path,
        "squeue",
        "7_0|RUNNING|None|n1|tokenbench-a-b-all\n7_1|PENDING|Priority||tokenbench-a-b-all\n8|PENDING|None||other|job",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Queue("tokenbench-a").tasks() == {
        "7_0": Task("7_0", "RUNNING", "", "n1", "tokenbench-a-b-all"),
        "7_1": Task("7_1", "PENDING", "Priority", "", "tokenbench-a-b-all"),
    }
    command(tmp_path, "squeue", "", 1)
    assert Queue("tokenbench-a").tasks() is None, "Slurm does not answer, which is no answer"


def test_a_job_that_scontrol_forgot_is_asked_of_sacct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command(tmp_path, "scontrol", "slurm_load_jobs error: Invalid job id specified", 1)
    command(tmp_path, "sacct", "CANCELLED by 1000|0:15|n1")
    assert Queue("x").look_up("7") == Task("7", "CANCELLED", "", "n1", exit="0:15")
    command(tmp_path, "sacct", "Slurm accounting storage is disabled", 1)
    assert Queue("x").look_up("7") == Task("7", "")
    command(tmp_path, "scontrol", "JobId=7 JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0 NodeList=(null)")
    assert Queue("x").look_up("7") == Task("7", "FAILED", "NonZeroExitCode", "", exit="3:0")

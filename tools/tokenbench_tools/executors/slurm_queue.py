"""What Slurm says of jobs, asked with its own commands: squeue and scontrol work on every cluster, sacct only on those with accounting."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenbench.errors import AGAIN, MachineError, TokenBenchError, UsageError

__all__ = ["ACTIVE", "HOPELESS", "Queue", "Task", "describe_refusal"]

NEEDED = ("sbatch", "squeue", "scancel", "scontrol", "srun")
PATIENCE = 120  # seconds for an answer of Slurm, which itself waits for its controller
ACTIVE = {
    "PENDING", "RUNNING", "SUSPENDED", "STOPPED", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "REQUEUED",
    "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
}  # fmt: skip
"""The states of a job that has not ended (squeue's manual, JOB STATE CODES)."""
HOPELESS = re.compile(
    "PartitionTimeLimit|PartitionNodeLimit|PartitionConfig|BadConstraints|DependencyNeverSatisfied|ReservationDeleted|InvalidAccount|InvalidQOS"
    "|AccountNotAllowed|QOSNotAllowed|MaxMemPerLimit|QOSMin.*|(Assoc|QOS)Max.*Per(Job|Node)(Limit)?"
)
"""The reasons of waiting that no other job's end removes (squeue's manual, JOB REASON CODES)."""
PASSING = re.compile(
    "contact slurm controller|timed out|[Cc]onnection|not respond|configuration source|Zero Bytes|temporarily|[Tt]ry again|controller"
    "|job submit limit|[Cc]redential|are busy|down, drained or reserved|No space|No such file"
)
"""What Slurm says when it cannot take a job now, whatever its settings are."""
NOISE = re.compile(
    r"(sbatch|scancel|squeue): (error|fatal): |Batch job submission failed: |allocation failure: |sbatch: "
)


@dataclass(frozen=True)
class Task:
    """A job of one task, or a task of an array, as Slurm has it."""

    id: str
    """Its id, `JOB` or `JOB_TASK`."""
    state: str
    """Its state in Slurm's words."""
    reason: str = ""
    """Why it waits; empty if it does not."""
    node: str = ""
    """The node that it runs or ran on."""
    name: str = ""
    """The name of its job."""
    exit: str = ""
    """`CODE:SIGNAL` of a job that has ended, as far as it is known."""

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ACTIVE


class Queue:
    """The jobs of this user whose names begin alike."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    @staticmethod
    def check_commands() -> None:
        """Raise MachineError if this machine lacks a command of Slurm."""
        if missing := [name for name in NEEDED if not shutil.which(name)]:
            raise MachineError(
                f"Slurm is not available on this machine: {', '.join(missing)} cannot be found",
                "run it on a login node of the cluster; to run the tasks as local processes, use --slurm cluster=local",
            )

    @staticmethod
    def try_out(script: str, tasks: int) -> None:
        """Ask Slurm whether it would accept a script as an array, without submitting it.

        Raises:
            UsageError: It never would.
            MachineError: Slurm does not answer.
        """
        array = [f"--array=0-{tasks - 1}"] if tasks > 1 else []
        done = _ask(["sbatch", "--test-only", *array], script)
        if done is None or done.returncode:
            error = describe_refusal(done.stderr if done else "it did not answer in time")
            # That all nodes are busy or down now is no reason not to wait for them.
            if isinstance(error, UsageError) or "contact" in str(error) or "configuration source" in str(error):
                raise error

    def tasks(self) -> dict[str, Task] | None:
        """Return the tasks of these jobs by id, those that have just ended included; None if Slurm does not answer."""
        done = _ask(["squeue", "--me", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N|%j"])
        if done is None or done.returncode:
            return None
        found = {}
        for line in done.stdout.splitlines():
            job, state, reason, node, name = (line.split("|", 4) + [""] * 5)[:5]
            if name.startswith(self._prefix):
                waits = "" if reason == "None" or state != "PENDING" else reason.strip("()")
                found[job] = Task(job, state, waits, node, name)
        return found

    def strangers(self) -> list[str]:
        """Return the jobs of this name that other users have, as `JOB of USER`."""
        mine, everybody = (_ask(["squeue", *me, "-h", "-o", "%i|%u|%j"]) for me in (["--me"], []))
        if not mine or not everybody:
            return []
        others = set(everybody.stdout.splitlines()) - set(mine.stdout.splitlines())
        jobs = [line.split("|", 2) for line in sorted(others) if line.count("|") >= 2]
        return [f"{job} of {user}" for job, user, name in jobs if name.startswith(self._prefix)]

    def look_up(self, job: str) -> Task:
        """Return what Slurm still knows of a task that has ended; its state is empty if that is nothing."""
        done = _ask(["scontrol", "show", "job", "-o", job])
        fields = dict(part.partition("=")[::2] for part in done.stdout.split()) if done and not done.returncode else {}
        if "JobState" in fields:
            node = fields.get("NodeList", "").replace("(null)", "")
            return Task(job, fields["JobState"], fields.get("Reason", ""), node, exit=fields.get("ExitCode", ""))
        done = _ask(["sacct", "-n", "-P", "-X", "-D", "-o", "State,ExitCode,NodeList", "-j", job])
        lines = done.stdout.splitlines() if done and not done.returncode else []
        if lines and lines[-1].count("|") == 2:
            state, code, node = lines[-1].split("|")
            return Task(job, state.split()[0] if state else "", "", node, exit=code)
        return Task(job, "")

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs. Those that have ended are no error."""
        if wanted := sorted(set(jobs)):
            _ask(["scancel", *wanted])


def describe_refusal(text: str) -> TokenBenchError:
    """Return the error for what sbatch said when it refused jobs, in its own words."""
    lines = [NOISE.sub("", line).strip() for line in text.splitlines()]
    said = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Try ")))
    if PASSING.search(said):
        return MachineError(f"Slurm cannot take the jobs now: {said}", f"once that is fixed, {AGAIN}")
    mend = "ask for fewer --workers" if "array" in said else "change --slurm"
    return UsageError(f"Slurm refuses the jobs: {said or 'sbatch failed without a reason'}", mend)


def _ask(command: Sequence[str], script: str = "") -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm. None if it does not end in time, or cannot be started."""
    try:
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None

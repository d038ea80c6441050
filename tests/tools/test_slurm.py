"""Runs on a real Slurm give the table that one process gives, and every answer once, whatever happens to tasks, nodes and coordinators.

`python -m pytest -m "slow or exhaustive" -s tests/tools/test_slurm.py` prints what happened, with exit codes and answers that were computed twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.journals import Answers
from tests.slurm import Cluster, start_slurm, until
from tests.systems import only_linux
from tests.tokenbench.commands.test_running import call

only_linux("Slurm runs there")

PLUGIN = """
import os
import time
import tokenbench
from tokenbench_strategies.fastv import FastV

class Slow(FastV):
    def score(self, view):
        time.sleep(float(os.environ.get("SLOW", 0)) if "SLURM_JOB_ID" in os.environ else 0)
        return super().score(view)

@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("slow", Slow)
"""
FOLDER = Path(tempfile.gettempdir()) / f"tokenbench-slow-{os.getpid()}"
FILE = FOLDER / "slow.py"
RUN = [
    *("--plugin", str(FILE), "--strategies", "slow", "--budgets", "1/9", "--tasks", "attribute,counting"),
    *("--limit", "40", "--no-floors", "--batch-size", "2"),
]
REPORTS = ("summary.md", "summary.csv", "pairs.csv")
PATIENCE = 400.0
ROWS: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _plugin() -> Iterator[None]:
    """A strategy that gives a test time, and takes none of the processor's. Alone, it is as fast as FastV, which it is."""
    FOLDER.mkdir()
    FILE.write_text(PLUGIN)
    yield
    shutil.rmtree(FOLDER)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, _plugin: None) -> Path:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert call("run", *RUN, "-q", "-o", str(folder)) == 0
    return folder


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    head = ["", "| case | exit codes | computed twice | same tables | seconds |", "|---|---|---|---|---|"]
    sys.stdout.write("\n".join([*head, *ROWS, ""]))


@dataclass
class Trial:
    """A run on Slurm that something happens to."""

    cluster: Cluster
    folder: Path
    answers: Answers
    options: Sequence[str] = ()
    codes: list[int] = field(default_factory=list)
    output: str = ""
    pause: float = 0.4
    _process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start the command that runs it, as a process."""
        command = [
            sys.executable,
            "-m",
            "tokenbench",
            "run",
            *RUN,
            *more,
            "-o",
            str(self.folder),
            "--executor",
            "slurm",
        ]
        with (self.folder.parent / "output").open("ab") as log:
            environment = {**self.cluster.environment, "SLOW": str(self.pause * self.tasks)}
            self._process = subprocess.Popen([*command, *self.options], env=environment, stdout=log, stderr=log)

    def send(self, number: int) -> None:
        """Send a signal to the command, and wait for its end."""
        assert self._process
        self._process.send_signal(number)
        self.wait()

    def wait(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        assert self._process
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            assert time.monotonic() < end, self.said()
            self.cluster.hurry()
            time.sleep(0.5)
        self.codes.append(self._process.returncode)
        self.output = self.said()
        return self.codes[-1]

    def said(self) -> str:
        """Return what the commands have printed so far."""
        return (self.folder.parent / "output").read_text()

    @property
    def tasks(self) -> int:
        """The number of tasks that it is given."""
        return int(self.options[self.options.index("--workers") + 1]) if "--workers" in self.options else 1

    def until_at_work(self) -> None:
        """Wait until every task has journaled answers."""
        until(lambda: len(self.answers.writers) >= self.tasks, "tasks are at work", PATIENCE)

    def until_said(self, text: str) -> None:
        """Wait until the command has printed a text."""
        until(lambda: text in self.said(), f"it says {text!r}", PATIENCE)


@contextmanager
def trial(cluster: Cluster, tmp_path: Path, case: str, finished: Path, *options: str) -> Iterator[Trial]:
    """Prepare a run on Slurm. In the end nothing was computed twice, and its tables are those of one process if its last command succeeded."""
    began, folder = time.monotonic(), tmp_path / "run"
    with Answers(folder) as answers:
        one = Trial(cluster, folder, answers, options or ["--workers", "2", "--slurm", "timeout_min=20"])
        try:
            yield one
        finally:
            if one._process and one._process.poll() is None:
                one._process.kill()
                one._process.wait()
            subprocess.run(["scancel", "-f", "-s", "KILL", "-u", "root"], env=cluster.environment, check=True)
            until(lambda: not cluster.queue(), "the queue is empty")
    same = "-"
    if one.codes[-1] == 0:
        pairs = [
            ((finished / "report" / name).read_bytes(), (folder / "report" / name).read_bytes()) for name in REPORTS
        ]
        same = "yes" if all(one == other for one, other in pairs) else "NO"
    codes = ", ".join(map(str, one.codes))
    ROWS.append(f"| {case} | {codes} | {answers.twice} | {same} | {time.monotonic() - began:.0f} |")
    assert same != "NO"
    assert answers.twice == 0


@pytest.fixture(scope="module")
def plain() -> Iterator[Cluster]:
    """A Slurm of two nodes without accounting, as many small clusters are: sacct knows nothing."""
    with start_slurm(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def accounted() -> Iterator[Cluster]:
    """A Slurm with accounting, which enforces accounts and limits."""
    with start_slurm(accounting=True) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_task_lost_without_accounting_is_submitted_again_while_the_other_one_goes_on(
    plain: Cluster, tmp_path: Path, finished: Path
) -> None:
    with trial(plain, tmp_path, "no accounting: scancel of one task", finished) as run:
        run.start()
        run.until_at_work()
        with plain.frozen():
            lost, other = plain.running()
            plain.ask("scancel", "-f", "-s", "KILL", lost)
            run.until_said(f"job {lost} was ")
            run.until_said("it is submitted again")
            assert other in plain.running()
        assert run.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slurm", "partition=nope"], "invalid partition specified: nope"),
        (["--slurm", "account=nope"], "Invalid account or account/partition combination"),
        (["--slurm", "qos=nope"], "Invalid qos specification"),
        (["--slurm", "gres=gpu:1"], "Invalid generic resource (gres) specification"),
        (["--slurm", "exclusive=perhaps"], "Invalid --exclusive specification"),
        (["--slurm", "reservation=nope"], "Requested reservation is invalid"),
        (["--slurm", "cpus_per_task=64"], "Requested node configuration is not available"),
        (["--workers", "20"], "Invalid job array specification (ask for fewer --workers)"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_words_before_anything_is_written(
    accounted: Cluster,
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_CONF", accounted.environment["SLURM_CONF"])
    assert call("run", *RUN, "--executor", "slurm", *options, "-o", str(tmp_path / "run")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: Slurm refuses the jobs: ")
    assert said in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_job_that_can_never_start_is_cancelled_and_refused(
    accounted: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", accounted.environment["SLURM_CONF"])
    assert call("run", *RUN, "--executor", "slurm", "--slurm", "partition=short", "-o", str(tmp_path / "run")) == 4
    *_, waits, error = capsys.readouterr().err.strip().splitlines()
    assert waits.endswith("waits in the queue: PENDING (PartitionTimeLimit)")
    assert "can never start (PartitionTimeLimit) (change --slurm" in error
    assert not accounted.queue()


@pytest.mark.exhaustive
def test_two_nodes_with_a_task_killed_one_preempted_a_node_drained_and_the_coordinator_killed(
    plain: Cluster, tmp_path: Path, finished: Path
) -> None:
    options = ["--workers", "4", "--slurm", "timeout_min=20"]
    with trial(plain, tmp_path, "killed, preempted, drained, coordinator killed", finished, *options) as run:
        run.start()
        run.until_at_work()
        with plain.frozen():
            tasks = plain.running()
            run.send(signal.SIGKILL)
            run.start()
            run.until_said("waiting for jobs of an earlier process: " + ", ".join(sorted(tasks)))
            os.kill(plain.workers(tasks[0])[0], signal.SIGKILL)
            run.until_said("it is submitted again")
            urgent = plain.ask(
                "sbatch",
                "--parsable",
                "-p",
                "urgent",
                "-w",
                "n2",
                "--exclusive",
                "-o",
                "/dev/null",
                "--wrap",
                "sleep 1",
            ).strip()
            until(lambda: urgent in plain.running(), "the urgent job runs")
            plain.ask("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")
        try:
            assert run.wait() == 0
        finally:
            plain.ask("scontrol", "update", "NodeName=n1", "State=RESUME")


Act = Callable[[Cluster, Trial], None]


def _terminate(cluster: Cluster, run: Trial) -> None:
    run.send(signal.SIGTERM)
    assert run.codes == [143]
    assert "were cancelled" in run.output
    assert "error: terminated (run the same command again to resume)" in run.output


def _interrupt(cluster: Cluster, run: Trial) -> None:
    run.send(signal.SIGINT)
    assert run.codes == [130]
    assert "were cancelled" in run.output


def _hang_up(cluster: Cluster, run: Trial) -> None:
    run.send(signal.SIGHUP)
    assert len(cluster.running()) == 2, "whoever closes a terminal finds the work done"


def _kill(cluster: Cluster, run: Trial) -> None:
    run.send(signal.SIGKILL)


def _cancel_all(cluster: Cluster, run: Trial) -> None:
    cluster.ask("scancel", "-u", "root")
    assert run.wait() == 4
    assert "cancelled, and nothing else is left" in run.output
    assert "submitted again" not in run.output


@pytest.mark.exhaustive
@pytest.mark.parametrize("act", [_terminate, _interrupt, _hang_up, _kill, _cancel_all])
def test_the_same_command_goes_on_after(act: Act, plain: Cluster, tmp_path: Path, finished: Path) -> None:
    with trial(plain, tmp_path, f"coordinator: {act.__name__.strip('_')}", finished) as run:
        run.start()
        run.until_at_work()
        with plain.frozen():
            act(plain, run)
            run.start()
            run.until_said("submitted job" if act in (_terminate, _interrupt, _cancel_all) else "waiting for jobs")
        assert run.wait() == 0


@pytest.mark.exhaustive
def test_jobs_of_a_process_that_died_are_cancelled_if_the_run_has_grown(
    plain: Cluster, tmp_path: Path, finished: Path
) -> None:
    with trial(plain, tmp_path, "coordinator killed, then more samples", finished) as run:
        run.start("--limit", "30")
        run.until_at_work()
        with plain.frozen():
            run.send(signal.SIGKILL)
            run.start()
            run.until_said("cancelling jobs of an earlier process that do different work: ")
        assert run.wait() == 0


@pytest.mark.exhaustive
def test_the_controller_may_be_away_for_a_while(plain: Cluster, tmp_path: Path, finished: Path) -> None:
    with trial(plain, tmp_path, "slurmctld down", finished) as run:
        run.start()
        run.until_at_work()
        with plain.frozen():
            plain.stop_controller()
            run.until_said("Slurm does not answer")
            plain.start_controller()
        assert run.wait() == 0
        assert "submitted again" not in run.output


@pytest.mark.exhaustive
def test_a_task_out_of_time_is_queued_again_with_what_it_has_not_done(
    plain: Cluster, tmp_path: Path, finished: Path
) -> None:
    options = ["--workers", "1", "--slurm", "timeout_min=2,signal_delay_s=60"]
    with trial(plain, tmp_path, "time limit", finished, *options) as run:
        run.pause = 2.0
        run.start()
        assert run.wait() == 0
        assert "Restarts=0" not in plain.ask("scontrol", "show", "job", "-o", plain.last_job())
        assert "submitted again" not in run.output


@pytest.mark.exhaustive
def test_a_task_without_enough_memory_is_not_tried_again(plain: Cluster, tmp_path: Path, finished: Path) -> None:
    with trial(plain, tmp_path, "out of memory", finished, "--slurm", "mem_gb=0.15") as run:
        run.start()
        assert run.wait() == 4
        assert "ran out of memory on n1 (mem=154M)" in run.output
        assert "ask for more, such as --slurm mem_gb=32" in run.output
        assert "submitted again" not in run.output


@pytest.mark.exhaustive
def test_a_folder_that_nodes_do_not_see_is_named(tmp_path: Path, finished: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with start_slurm(hide=hidden) as cluster, trial(cluster, hidden, "folder not shared", finished) as run:
        run.start()
        assert run.wait() == 4
        assert f"could not write to {run.folder} on n1" in run.output
        assert "choose a folder that all nodes see" in run.output
        assert "submitted again" not in run.output
        assert "_log.err" not in run.output, "there is no such file"

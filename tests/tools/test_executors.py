"""Workers elsewhere give the table that one process gives, each answer once, also if they are killed."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.systems import only_linux
from tests.tokenbench.commands.test_running import call, table
from tokenbench.commands.executors import ExecutorChoice
from tokenbench.registry.plugins import registry
from tokenbench.runner.job import units
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve
from tokenbench.runner.work import left_of, works_of
from tokenbench.store.directory import Store
from tokenbench.store.left_out import LeftOut
from tokenbench_tools.executors.slurm import Slurm

LONG = [
    *("--strategies", "fastv,clse", "--budgets", "1/9", "--tasks", "attribute,counting"),
    *("--limit", "24", "--seeds", "0,1", "--batch-size", "4", "-q"),
]

HAS_SLURM = getpass.getuser() == "root" and shutil.which("slurmctld", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ARRAY = pytest.mark.exhaustive if HAS_SLURM else pytest.mark.slow
"""Where a Slurm can be started, tests/tools/test_slurm.py does the same to tasks of a real array."""

SPEC = """
strategies = ["fastv"]
executor = "slurm"
workers = 2

[slurm]
cluster = "local"
timeout_min = 5
setup = ["true"]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, module_without_reports: None) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert call("run", *LONG, "-o", str(folder)) == 0
    return folder


def test_units_cover_every_batch_once(tmp_path: Path) -> None:
    few = {"strategies": "fastv", "budgets": "1/9", "seeds": 0, "floors": False, "limit": 5, "batch_size": 2}
    works = works_of(resolve(Request.of({**few, "device": "cpu"}), registry()), registry())
    left = {name: left_of(work, Store(tmp_path)) for name, work in works.items()}
    assert sum(batch.answers for batch in left["toy-llava"]) == 6 * 5 * 2  # tasks, samples, vanilla and fastv
    for workers in (1, 2, 7, 100):
        found = [(unit.model, batch) for unit in units(left, workers) for batch in range(unit.start, unit.stop)]
        assert found == [(name, batch) for name, batches in left.items() for batch in range(len(batches))]


def test_a_worker_that_starts_after_a_sample_turned_out_to_be_unfit_numbers_the_batches_as_the_others_do(
    tmp_path: Path,
) -> None:
    few = {"strategies": "fastv", "budgets": "1/9", "seeds": 0, "floors": False, "limit": 3, "batch_size": 1}
    (work,) = works_of(resolve(Request.of({**few, "device": "cpu"}), registry()), registry()).values()
    store = Store(tmp_path)
    before = left_of(work, store)
    ((task, sample),) = before[1].questions
    one = {"model": "toy-llava", "task": task.name, "sample": sample.key, "asked": sample.digest}
    store.left_out.add([LeftOut(**one, place=1, reason="no picture")])
    assert [batch.questions for batch in left_of(work, store)] == [batch.questions for batch in before]
    unfit = store.left_out.questions()
    assert [batch.has_fit("toy-llava", unfit) for batch in before[:3]] == [True, False, True]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--workers", "2"], 2, "--workers requires --executor ray or slurm, not local"),
        (["--executor", "slurm", "--ray-address", "x"], 2, "--ray-address requires --executor ray, not slurm"),
        (["--executor", "slurm", "--slurm", "gpus"], 2, "--slurm 'gpus' is not KEY=VALUE"),
        (["--executor", "slurm", "--slurm", "cluster=local,colour=red"], 2, "unknown Slurm setting 'colour'"),
        (["--executor", "slurm", "--slurm", "cluster=local,mem_gb=much"], 2, "mem_gb"),
        (["--executor", "slurm"], 4, "Slurm is not available on this machine: sbatch, squeue"),
    ],
)
def test_what_an_executor_cannot_do_is_said_before_anything_is_written(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")  # a machine may have Slurm
    assert call("run", *LONG, *options, "-o", str(tmp_path / "run")) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "after", "code", "message"),
    [
        ("", "", 0, ""),
        ("timeout_min", "timeout_mim", 2, "unknown Slurm setting 'timeout_mim': did you mean timeout_min"),
        ('"slurm"', '"slrum"', 2, "unknown executor 'slrum': did you mean slurm"),
        ("[slurm]", "[slrum]", 2, "data, tasks_dir, executor, ray_address, slurm, workers)"),
        ('"local"', '"slurm"', 0, "warning: the run could not start on this machine: Slurm is not available"),
    ],
)
def test_a_dry_run_reads_the_slurm_table_of_a_spec(
    before: str,
    after: str,
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace(before, after))
    assert call("run", "--spec", str(spec), "-n") == code
    error = capsys.readouterr().err
    assert message in error
    assert bool(error) == bool(message)


@pytest.mark.parametrize(
    ("executor", "asked", "device"),
    [
        (Slurm(settings=["cluster=local"]), "auto", "cpu"),
        (Slurm(settings=["cluster=local", "gpus_per_node=1"]), "auto", "cuda"),
        (Slurm(settings=["cluster=local", "gres=gpu:1"]), "auto", "cuda"),
        (Slurm(settings=["cluster=local", "gpus_per_node=1"]), "cpu", "cpu"),
        (ExecutorChoice().make(registry()), "auto", "auto"),
    ],
)
def test_where_models_run_is_known_before_a_worker_starts(executor: Slurm, asked: str, device: str) -> None:
    assert executor.device(asked) == device


def alone(command: Sequence[str]) -> list[str]:
    """The command in a network of its own that has only the loopback; Ray binds the host's address whatever it is told."""
    only_linux("a network namespace is made")
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]


@pytest.fixture(scope="module")
def _namespaces() -> None:
    if subprocess.run(alone(["true"]), capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")


def with_one_killed(command: Sequence[str], folder: Path, worker: str) -> tuple[int, str]:
    """Run the command, kill the first worker that journals; exit code and standard error."""
    only_linux("a process is known by its command line in /proc")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    victim = 0
    while process.poll() is None and not victim:
        writers = {int(re.findall(r"\.(\d+)\.jsonl$", path.name)[0]) for path in folder.glob("journal/*.jsonl")}
        victim = next((pid for pid in writers if worker in Path(f"/proc/{pid}/cmdline").read_text()), 0)
        time.sleep(0.002)
    assert victim, "no worker was seen at work"
    os.kill(victim, signal.SIGKILL)
    _, error = process.communicate(timeout=400)
    return process.returncode, error


@pytest.mark.slow
@pytest.mark.usefixtures("_namespaces")
def test_ray_with_a_worker_killed_gives_the_same_table(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "tokenbench",
        "run",
        *LONG,
        "-o",
        str(folder),
        "--executor",
        "ray",
        "--workers",
        "2",
    ]
    code, error = with_one_killed(alone(command), folder, "ray::")
    assert code == 0, error
    pd.testing.assert_frame_equal(table(folder), table(finished))
    assert len(writers(folder)) == 0


@ARRAY
def test_tasks_of_an_array_with_one_killed_give_the_same_table(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    command = [sys.executable, "-m", "tokenbench", "run", *LONG, "-o", str(folder), "--spec", str(spec)]
    code, error = with_one_killed(command, folder, "submitit")
    assert code == 0, error
    pd.testing.assert_frame_equal(table(folder), table(finished))
    assert len(writers(folder)) == 0


def writers(folder: Path) -> list[Path]:
    return list((folder / "journal").iterdir())


@pytest.mark.slow
def test_a_worker_with_other_software_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_reports: None
) -> None:
    from tokenbench.errors import MachineError
    from tokenbench.runner.worker import Worker

    folder = tmp_path / "run"
    few = ["--strategies", "fastv", "--budgets", "1/9", "--tasks", "attribute", "--limit", "1", "-q"]
    assert call("run", *few, "-o", str(folder)) == 0
    Worker.of_run(str(folder), (), "cpu")
    monkeypatch.setattr("tokenbench.runner.identity.versions", lambda: {"torch": "0.4"})
    with pytest.raises(MachineError, match="software or data differ"):
        Worker.of_run(str(folder), (), "cpu")

"""What users write about Slurm jobs, and the script that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import submitit

from tokenbench.errors import UsageError
from tokenbench_tools.executors.slurm import _make_executor
from tokenbench_tools.executors.slurm_settings import read_settings


def script_of(monkeypatch: pytest.MonkeyPatch, *given: str | Mapping[str, object]) -> list[str]:
    """The lines of the script that Slurm would get."""
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 2))
    executor = _make_executor(submitit, read_settings(given), Path("logs"), "name")
    text: str = executor._make_submission_file_text("worker", "")
    return text.splitlines()


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ("partition=gpu,gpus_per_node=1", ["--partition=gpu", "--gpus-per-node=1"]),
        ("partition=gpu,short,qos=high", ["--partition=gpu,short", "--qos=high"]),
        ("gres=gpu:1,lustre:2", ["--gres=gpu:1,lustre:2"]),
        ("mem_gb=0.5", ["--mem=512M"]),
        ("exclusive=true", ["--exclusive"]),
        ("exclusive=user", ["--exclusive=user"]),
        ("reservation=course,licenses=matlab:1,abaqus:2", ["--reservation=course", "--licenses=matlab:1,abaqus:2"]),
        ("requeue=true", ["--requeue"]),
        ("requeue=false", ["--no-requeue"]),
        ("time=1-02:30:00", ["--time=1590"]),
        ("time=01:30:30", ["--time=91"]),
        ("additional_parameters=new-option=a,b", ["--new-option=a,b"]),
        ("cpus-per-task=4,nodes=1,tasks_per_node=1", ["--cpus-per-task=4", "--nodes=1"]),
        ({"gres": ["gpu:1", "lustre:2"], "mem_gb": 1.5}, ["--gres=gpu:1,lustre:2", "--mem=1536M"]),
        ({"additional_parameters": {"new_option": 3}}, ["--new-option=3"]),
    ],
)
def test_settings_become_options_of_sbatch(
    monkeypatch: pytest.MonkeyPatch, given: str | Mapping[str, object], lines: list[str]
) -> None:
    script = script_of(monkeypatch, given)
    assert {f"#SBATCH {line}" for line in lines} <= set(script)
    assert not any("wckey" in line for line in script), "some clusters refuse one that they do not know"


def test_setup_commands_stand_before_the_worker_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    script = script_of(
        monkeypatch, {"setup": ["module purge"]}, "partition=gpu,setup=module load cuda/12, gcc=13", "teardown=date"
    )
    places = [script.index(line) for line in ("module purge", "module load cuda/12, gcc=13")]
    worker = next(i for i, line in enumerate(script) if line.startswith("srun") and line.endswith("worker"))
    assert [*places, worker, script.index("date")] == sorted([*places, worker, script.index("date")])


def test_python_of_a_container_and_arguments_of_srun_start_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(["srun_args=--mpi=none --container-image=a,b", "python=apptainer exec --nv tb.sif python"])
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 2))
    executor = _make_executor(submitit, settings, Path("logs"), "name")
    assert executor._submitit_command_str.startswith("apptainer exec --nv tb.sif python -u -m submitit")
    assert "--mpi=none --container-image=a,b worker" in executor._make_submission_file_text("worker", "")


def test_later_settings_replace_earlier_ones() -> None:
    settings = read_settings([{"partition": "gpu", "timeout_min": 60}, "timeout_min=90,qos=high"])
    assert settings.minutes == 90
    assert settings.options == {"partition": "gpu", "qos": "high"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gpus", "'gpus' is not KEY=VALUE"),
        ("partion=gpu", "unknown Slurm setting 'partion': did you mean partition"),
        ("nodes=2", "nodes=2 is not supported"),
        ("tasks_per_node=2", "tasks_per_node=2 is not supported"),
        ("ntasks=4", "ntasks=4 is not supported"),
        ("srun_args=-n 2", "srun_args may not hold -n"),
        ("additional_parameters=ntasks=2", "may not hold ntasks"),
        ("array=0-3", "TokenBench sets array itself"),
        ("mem_gb=much", "mem_gb must be a number of gigabytes above 0, not much"),
        ("mem_gb=0", "mem_gb must be"),
        ("timeout_min=1.5", "timeout_min must be a whole number above 0, not 1.5"),
        ("time=soon", "time must be minutes"),
        ("time=60,timeout_min=60", "the same limit"),
        ("mem=4G,mem_gb=4", "are the same"),
        ({"setup": 3}, "setup must be a text or a list of texts, not 3"),
        ({"partition": {"a": 1}}, "partition must be a text or a number"),
    ],
)
def test_wrong_settings_are_named(given: str | Mapping[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_settings([given])


@pytest.mark.parametrize(
    ("given", "wants"),
    [
        ("partition=gpu", False),
        ("gres=gpu:a100:1", True),
        ("gpus=1", True),
        ("gpus_per_node=0", False),
        ("gres=lustre:1", False),
    ],
)
def test_a_gpu_is_used_where_one_is_asked_for(given: str, wants: bool) -> None:
    assert read_settings([given]).wants_gpu is wants

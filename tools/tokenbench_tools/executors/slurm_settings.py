"""What a user says about Slurm jobs, on the command line or as a table of a run spec, in the words of sbatch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenbench.errors import UsageError, unknown

__all__ = ["DEFAULT_MINUTES", "Settings", "read_settings"]

DEFAULT_MINUTES = 24 * 60
"""The time limit of a task. What it has not done by then is queued again."""

SCRIPT = ("setup", "teardown", "srun_args", "signal_delay_s", "array_parallelism", "stderr_to_stdout", "use_srun")
"""What submitit writes around the task, or into the options of the array."""
OWN = (*SCRIPT, "additional_parameters", "cluster", "mem", "mem_gb", "python", "requeue", "time", "timeout_min")
"""The settings that mean something to this program."""
OPTIONS = (
    "account", "batch", "bb", "bbf", "begin", "chdir", "cluster_constraint", "comment", "constraint", "container", "container_id",
    "container_image", "container_mounts", "container_workdir", "contiguous", "core_spec", "cores_per_socket", "cpu_freq",
    "cpus_per_gpu", "cpus_per_task", "deadline", "delay_boot", "dependency", "distribution", "exclude", "exclusive", "export",
    "export_file", "extra", "get_user_env", "gid", "gpu_bind", "gpu_freq", "gpus", "gpus_per_node", "gpus_per_socket", "gpus_per_task",
    "gres", "gres_flags", "hint", "hold", "kill_on_invalid_dep", "licenses", "mail_type", "mail_user", "mcs_label", "mem_bind",
    "mem_per_cpu", "mem_per_gpu", "mincpus", "network", "nice", "no_kill", "nodefile", "nodelist", "oom_kill_step", "overcommit",
    "oversubscribe", "partition", "power", "prefer", "priority", "profile", "propagate", "qos", "reboot", "reservation", "resv_ports",
    "segment", "sockets_per_node", "spread_job", "switches", "thread_spec", "threads_per_core", "time_min", "tmp", "tres_bind",
    "tres_per_task", "uid", "use_min_nodes", "wckey",
)  # fmt: skip
"""The options of sbatch, and of common plug-ins, that are passed on as they are."""
TAKEN = (
    "array", "error", "input", "job_name", "name", "open_mode", "output", "parsable", "quiet", "signal", "test_only", "wait", "wrap",
)  # fmt: skip
"""The options of sbatch that this program sets itself."""
ONE_TASK = (
    "nodes",
    "tasks_per_node",
    "ntasks",
    "ntasks_per_core",
    "ntasks_per_gpu",
    "ntasks_per_node",
    "ntasks_per_socket",
)
"""What would start a task several times, each of which would do the same work."""
WHOLE = ("timeout_min", "signal_delay_s", "array_parallelism")
REST = ("setup", "teardown", "srun_args", "python", "additional_parameters")
"""The settings that take the rest of their text, commas included."""
SEVERAL_TASKS = re.compile(r"-n.*|-N.*|--ntasks.*|--nodes.*")
TRUTHS = {"true": True, "false": False}
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True)
class Settings:
    """The settings of the jobs of a run."""

    minutes: int = DEFAULT_MINUTES
    """The time limit of a task."""
    local: bool = False
    """Whether tasks are processes of this machine."""
    python: str | None = None
    """The command that starts Python in a job, such as one in a container; None for the Python of this process."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of sbatch, by name; True for one without a value."""
    script: Mapping[str, Any] = field(default_factory=dict)
    """What submitit writes into the script around the task: setup, teardown, srun_args and the like."""

    @property
    def wants_gpu(self) -> bool:
        """Whether the jobs ask for a GPU."""
        asked = (
            name.startswith("gpus") or (name in ("gres", "tres_per_task") and "gpu" in str(value))
            for name, value in self.options.items()
        )
        return any(wants and str(value) != "0" for wants, value in zip(asked, self.options.values(), strict=True))

    @property
    def memory(self) -> str:
        """The memory that a job asks for, in words; empty if that is left to Slurm."""
        return next(
            (f"{name}={self.options[name]}" for name in ("mem", "mem_per_cpu", "mem_per_gpu") if name in self.options),
            "",
        )


def read_settings(given: Iterable[str | Mapping[str, object]] | Mapping[str, object]) -> Settings:
    """Read settings.

    Args:
        given: Texts `KEY=VALUE,KEY=VALUE`, or tables of a run spec. Later ones replace earlier ones; further lines of `setup` and `teardown` are added.

    Raises:
        UsageError: A setting is unknown, or has an invalid value.
    """
    found: dict[str, Any] = {}
    for part in [given] if isinstance(given, (str, Mapping)) else given:
        pairs = _pairs_of_text(part) if isinstance(part, str) else [(str(name), value) for name, value in part.items()]
        for name, value in pairs:
            name = name.replace("-", "_")
            _check_name(name)
            read = _read(name, value)
            found[name] = [*found.get(name, ()), *read] if name in ("setup", "teardown") else read
    return _settle(found)


def _settle(found: dict[str, Any]) -> Settings:
    if "time" in found and "timeout_min" in found:
        raise UsageError("--slurm: time and timeout_min are the same limit", "give one of them")
    if "mem" in found and "mem_gb" in found:
        raise UsageError("--slurm: mem and mem_gb are the same", "give one of them")
    minutes = found.pop("time", found.pop("timeout_min", DEFAULT_MINUTES))
    if "mem_gb" in found:
        found["mem"] = f"{math.ceil(found.pop('mem_gb') * 1024)}M"
    if (requeue := found.pop("requeue", None)) is not None:
        found["requeue" if requeue else "no_requeue"] = True
    local, python = found.pop("cluster", "slurm") == "local", found.pop("python", None)
    script = {name: found.pop(name) for name in SCRIPT if name in found}
    options = {**found.pop("additional_parameters", {}), **found}
    return Settings(
        minutes, local, python, {name: value for name, value in options.items() if value is not False}, script
    )


def _pairs_of_text(text: str) -> list[tuple[str, str]]:
    """Split a text at the commas before a `KEY=`. Other commas belong to a value: gres=gpu:1,lustre:2."""
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if pairs and (not equals or pairs[-1][0] in REST):
            pairs[-1] = pairs[-1][0], f"{pairs[-1][1]},{part}"
        elif name.strip() and equals and value.strip():
            pairs.append((name.strip(), value.strip()))
        else:
            raise UsageError(
                f"--slurm '{text}' is not KEY=VALUE", "write, for example, --slurm partition=gpu,gpus_per_node=1"
            )
    return pairs


def _check_name(name: str) -> None:
    if name in TAKEN:
        raise UsageError(f"--slurm: TokenBench sets {name} itself", "leave it out")
    if name not in {*OWN, *OPTIONS, *ONE_TASK}:
        hint = "for another option of sbatch, write --slurm additional_parameters=NAME=VALUE"
        raise unknown("Slurm setting", name, {*OWN, *OPTIONS}, hint)


def _read(name: str, value: object) -> Any:
    """Convert a value, which is a text on the command line, and may be a number, a truth, a list or a table in a spec."""
    if name in ONE_TASK:
        return _read_one(name, value)
    if name in WHOLE:
        return _whole(name, value)
    if name in READERS:
        return READERS[name](name, value)
    if isinstance(value, str):
        return TRUTHS.get(value.lower(), value)
    if isinstance(value, list):  # gres = ["gpu:1", "lustre:2"]
        return ",".join(_texts(name, value))
    if not isinstance(value, (bool, int, float)):
        raise UsageError(f"--slurm: {name} must be a text or a number, not {value!r:.60}")
    return value


def _read_one(name: str, value: object) -> bool:
    """Check that a number of tasks or nodes is 1, which is the default."""
    if str(value) != "1":
        raise UsageError(
            f"--slurm: {name}={value} is not supported: a task is one worker on one node, and others would do the same work again",
            "ask for more workers: --workers N",
        )
    return False


def _read_lines(name: str, value: object) -> list[str]:
    return _texts(name, [value] if isinstance(value, str) else value)


def _read_arguments(name: str, value: object) -> list[str]:
    arguments = shlex.split(value) if isinstance(value, str) else _texts(name, value)
    if several := next(filter(SEVERAL_TASKS.fullmatch, arguments), None):
        raise UsageError(
            f"--slurm: {name} may not hold {several}: a task is one worker on one node",
            "ask for more workers: --workers N",
        )
    return arguments


def _read_additional(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, str):
        option, _, text = value.partition("=")
        value = {option: text or True}
    if not isinstance(value, Mapping):
        raise UsageError(f"--slurm: {name} must be a table, or NAME=VALUE")
    options = {str(option).lstrip("-").replace("-", "_"): one for option, one in value.items()}
    if taken := next((option for option in options if option in (*TAKEN, *ONE_TASK)), None):
        raise UsageError(f"--slurm: {name} may not hold {taken}, which TokenBench sets itself", "leave it out")
    return options


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"--slurm: {name} must be a text or a list of texts, not {value!r:.60}")
    return list(value)


def _whole(name: str, value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 9 and int(text) > 0):
        raise UsageError(f"--slurm: {name} must be a whole number above 0, not {text[:30]}")
    return int(text)


def _gigabytes(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < 1e9:
        raise UsageError(f"--slurm: {name} must be a number of gigabytes above 0, not {str(value)[:30]}")
    return number


def _minutes(name: str, value: object) -> int:
    """Convert a time limit as Slurm writes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S. Seconds are rounded up."""
    match = TIME.fullmatch(str(value))
    if not match:
        raise UsageError(f"--slurm: {name} must be minutes, H:M:S or D-H:M:S, not {str(value)[:30]}")
    days, *parts = (int(part) if part is not None else None for part in match.groups())
    first, second, third = parts
    if days is not None:
        seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    elif third is not None:
        seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
    else:
        seconds = (first or 0) * 60 + (second or 0)
    return _whole(name, math.ceil(seconds / 60))


READERS: Mapping[str, Callable[[str, object], Any]] = {
    "setup": _read_lines, "teardown": _read_lines, "srun_args": _read_arguments, "additional_parameters": _read_additional,
    "mem_gb": _gigabytes, "time": _minutes,
}  # fmt: skip
"""How the values of some settings are read."""

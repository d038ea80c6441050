"""The built-in commands and executors that are no part of the core."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_commands(register: Register) -> None:
    """Register the commands that are not part of the core."""
    register("bench", "tokenbench_tools.bench.command:bench")
    register("doctor", "tokenbench_tools.doctor.command:doctor")
    register("import", "tokenbench_tools.importing.command:import_")
    register("judge", "tokenbench_tools.judge.command:judge")
    register("new", "tokenbench_tools.scaffold.command:new")


@hookimpl
def tokenbench_register_executors(register: Register) -> None:
    """Register the executors."""
    register("local", "tokenbench.runner.local:Local")
    register("ray", "tokenbench_tools.executors.ray:Ray")
    register("slurm", "tokenbench_tools.executors.slurm:Slurm")

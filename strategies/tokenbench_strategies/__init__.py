"""The built-in strategies, one file a method. A new one is a file here and a line below."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_strategies(register: Register) -> None:
    register("attention", "tokenbench_strategies.attention:Attention")
    register("clse", "tokenbench_strategies.clse:CLSE")
    register("clse-m", "tokenbench_strategies.clse_m:CLSEM")
    register("fastv", "tokenbench_strategies.fastv:FastV")
    register("random", "tokenbench_strategies.random:Random")
    register("vanilla", "tokenbench_strategies.vanilla:Vanilla")

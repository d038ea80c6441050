"""The built-in strategies, one file a method. A new one is a file here and a line below."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_strategies(register: Register) -> None:
    register("attention", "tokenbench_strategies.attention:Attention")
    register("clse", "tokenbench_strategies.clse:CLSE")
    register("clse-m", "tokenbench_strategies.clse_m:CLSEM")
    register("divprune", "tokenbench_strategies.divprune:DivPrune")
    register("fastv", "tokenbench_strategies.fastv:FastV")
    register("priortr", "tokenbench_strategies.priortr:PriorTR")
    register("random", "tokenbench_strategies.random:Random")
    register("tome", "tokenbench_strategies.tome:ToMe")
    register("uniform", "tokenbench_strategies.uniform:Uniform")
    register("vanilla", "tokenbench_strategies.vanilla:Vanilla")

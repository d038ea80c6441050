"""Launch after launch: the protocol checked, carried out and summed up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenbench.errors import MachineError, StrategyError, TokenBenchError, UsageError
from tokenbench.models.source import configuration
from tokenbench_tools.bench.load import Served
from tokenbench_tools.bench.load_result import summarise_load
from tokenbench_tools.bench.passes import Passes
from tokenbench_tools.bench.plans import explain_infeasible, make_plan
from tokenbench_tools.bench.result import Bench, summarise
from tokenbench_tools.bench.weights import choose_device, cut

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry
    from tokenbench_tools.bench.protocol import Protocol

__all__ = ["bench"]

ERRORS: dict[int, type[TokenBenchError]] = {kind.exit_code: kind for kind in (UsageError, StrategyError, MachineError)}


def bench(protocol: Protocol, registry: Registry, tell: Callable[[str], None]) -> Bench:
    """Measure one model, launch after launch.

    Args:
        protocol: What to measure.
        registry: The registered plug-ins.
        tell: Called with a line before every launch.

    Raises:
        UsageError: If something cannot be run on this model. It is raised before anything is launched.
        MachineError: If a launch cannot be done on this machine.
    """
    protocol, infeasible = _check(protocol, registry)
    launches, loads, conditions, hardware = [], [], [], {}
    for number in range(protocol.launches):
        tell(f"{protocol.model}: launch {number + 1} of {protocol.launches}")
        answer = _launch({"protocol": protocol.to_json(), "seed": number})
        launches.append([Passes(**one) for one in answer["passes"]])
        loads.append([Served(**one) for one in answer["served"]])
        conditions.append(answer["conditions"])
        hardware = answer["hardware"]
    peaks: dict[tuple[int, int], int] = {}
    if not hardware["device"].startswith("cuda"):  # a resident set is a whole process's: one for every way
        for way, (strategy, budget) in enumerate(protocol.all_ways):
            tell(f"{protocol.model}: memory of {strategy} at {budget}")
            answer = _launch({"protocol": protocol.to_json(), "way": way})
            peaks |= {(way, one["visual"]): one["peak"] for one in answer["passes"]}
    rows = tuple(summarise(protocol, launches, peaks))
    return Bench(protocol, rows, hardware, tuple(conditions), infeasible, tuple(summarise_load(protocol, loads)))


def _check(protocol: Protocol, registry: Registry) -> tuple[Protocol, tuple[str, ...]]:
    """Return the protocol without the ways that are infeasible, and why they are."""
    choose_device(protocol)
    backbone, config = configuration(protocol.model, registry)
    depth = cut(config, protocol.layers).text_config.num_hidden_layers
    try:
        shown = [backbone.default_grids(config, length) for length in protocol.lengths]
        for grids in shown:
            backbone.dummy_inputs(config, grids, protocol.text)
    except NotImplementedError as error:
        raise UsageError(f"model '{protocol.model}' cannot be measured on made-up prompts: {error}") from error
    lengths = [sum(grid.tokens for grid in grids) for grids in shown]
    reasons = {
        way: explain_infeasible(make_plan(way, depth, registry), lengths, protocol.text) for way in protocol.ways
    }
    ways = tuple(way for way, reason in reasons.items() if not reason)
    infeasible = tuple(reason for reason in reasons.values() if reason)
    if not ways:
        raise UsageError("; ".join(infeasible))
    return replace(protocol, ways=ways), infeasible


def _launch(order: dict[str, Any]) -> dict[str, Any]:
    """Run a fresh process and return what it measured."""
    command = [sys.executable, "-m", "tokenbench_tools.bench.launch"]
    process = subprocess.run(
        command, input=json.dumps(order), capture_output=True, text=True, encoding="utf-8", errors="replace"
    )
    model = order["protocol"]["model"]
    if not 0 <= process.returncode <= 255:  # minus a signal; on Windows the number of an exception, unsigned
        raise MachineError(
            f"a launch of model '{model}' was killed by {_killer(process.returncode)}",
            "if it ran out of memory, reduce --layers, --visual-tokens or --batch-size",
        )
    if process.returncode:
        raise RuntimeError(f"a launch of model '{model}' failed:\n{process.stderr}")
    answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])  # a plug-in may print, too
    if "error" in answer:
        raise ERRORS[answer["exit_code"]](answer["error"], answer["hint"])
    return answer


def _killer(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exception {status:#x}"

"""One launch: a fresh process that times every way to run a model, interleaved.

`python -m tokenbench_tools.bench.launch` reads an order as JSON from standard input and writes what it measured, or the error a person should see, to standard
output.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessorList

from tokenbench.engine import SelectionTimer
from tokenbench.engine.attach import attach
from tokenbench.errors import MachineError, TokenBenchError
from tokenbench.registry.plugins import Registry
from tokenbench_tools.bench.clock import Marks
from tokenbench_tools.bench.energy import joules_of
from tokenbench_tools.bench.load import Served, serve
from tokenbench_tools.bench.machine import conditions, fingerprint
from tokenbench_tools.bench.memory import peak_bytes, reset_peak
from tokenbench_tools.bench.passes import Passes
from tokenbench_tools.bench.plans import make_plan
from tokenbench_tools.bench.protocol import STOCK, Protocol
from tokenbench_tools.bench.weights import choose_device, load_model

if TYPE_CHECKING:
    from torch import Tensor

    from tokenbench.engine import Pruner, RowPlan

__all__ = ["main"]

SELECTING_PASSES = 3  # selection is timed by itself: on a GPU its clock makes the pass wait


class Launch:
    """The model of a protocol, ready to run any way."""

    def __init__(self, protocol: Protocol) -> None:
        registry = Registry(protocol.plugins)
        self._protocol = protocol
        self._backbone, self._model = load_model(protocol, registry)
        self._device = choose_device(protocol)
        self._cuda = self._device.startswith("cuda")
        depth = len(self._backbone.decoder(self._model).layers)  # type: ignore[arg-type]
        self._plans: list[RowPlan | None] = [
            None if way == STOCK else make_plan(way, depth, registry) for way in protocol.all_ways
        ]

    def time_pass(self, seed: int) -> list[Passes]:
        """All ways over prompts of every length: the passes of one length interleaved, in another order every time."""
        shuffled = random.Random(seed)
        found = []
        for length in self._protocol.lengths:
            inputs, visual = self._inputs(length)
            passes = [Passes(way, visual) for way in range(len(self._plans))]
            for repetition in range(self._protocol.warm_up + self._protocol.repetitions):
                for one in shuffled.sample(passes, len(passes)):
                    seconds, peak = self._run(inputs, one.way)
                    if repetition >= self._protocol.warm_up:
                        one.first.append(seconds[0])
                        one.further.append(seconds[1:])
                        one.peak = max(one.peak, peak)
            for one in passes:
                self._look_closer(inputs, one)
                if self._cuda and seed == 0:
                    one.joules = joules_of(partial(self._run, inputs, one.way), self._device)
            found += passes
        return found

    def serve(self, seed: int) -> list[Served]:
        """All ways under every load, over prompts of every length, in another order for every load."""
        shuffled, found = random.Random(seed), []
        for length in self._protocol.lengths:
            row, visual = self._inputs(length, 1)
            for clients in self._protocol.load:
                served = [Served(way, visual, clients) for way in range(len(self._plans))]
                for one in shuffled.sample(served, len(served)):
                    answer = partial(self._answer, row, one.way)
                    for _ in range(self._protocol.warm_up):
                        answer(min(clients, self._protocol.batch_of_load))
                    one.seconds, one.first = serve(
                        clients, self._protocol.repetitions, self._protocol.batch_of_load, answer
                    )
                found += served
        return found

    def _answer(self, row: dict[str, Tensor], way: int, requests: int) -> tuple[float, float]:
        """Answer so many equal requests at once: seconds until the first token, and until the last."""
        seconds, _ = self._run(_repeat(row, requests), way)
        return seconds[0], sum(seconds)

    def peaks(self, way: int) -> list[Passes]:
        """One pass of one way at every length, for its memory."""
        found = []
        for length in self._protocol.lengths:
            inputs, visual = self._inputs(length)
            found.append(Passes(way, visual, peak=self._run(inputs, way)[1]))
        return found

    def _inputs(self, length: int | None, rows: int | None = None) -> tuple[dict[str, Tensor], int]:
        """A batch of equal prompts, by default as large as the protocol says, and their visual tokens."""
        config, backbone = self._model.config, self._backbone
        grids = backbone.default_grids(config, length)
        row = backbone.dummy_inputs(config, grids, self._protocol.text)
        batch = _repeat(row, rows or self._protocol.rows)
        moved = {
            name: value.to(self._model.device, self._model.dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }
        return moved, sum(grid.tokens for grid in grids)

    def _run(self, inputs: dict[str, Tensor], way: int) -> tuple[list[float], int]:
        """Seconds until every new token, and the peak of memory in bytes."""
        reset_peak(self._cuda)
        with self._pruned(way):
            marks = Marks(self._cuda)
            self._generate(inputs, self._protocol.new, marks)
            seconds = marks.seconds()
        return seconds, peak_bytes(self._cuda)

    def _look_closer(self, inputs: dict[str, Tensor], passes: Passes) -> None:
        """Time the selection, weigh the cache."""
        for _ in range(SELECTING_PASSES):
            timer = SelectionTimer(self._cuda)
            with self._pruned(passes.way) as pruner:
                if pruner is not None:
                    pruner.timer = timer
                output = self._generate(inputs, 1)
            passes.selecting.append(timer.seconds)
        cache = getattr(output, "cache", None)  # its name since transformers 5.24
        layers = (output.past_key_values if cache is None else cache).layers
        passes.cache = sum(part.nbytes for layer in layers for part in (layer.keys, layer.values))

    def _pruned(self, way: int) -> AbstractContextManager[Pruner | None]:
        plan = self._plans[way]
        return nullcontext() if plan is None else attach(self._model, self._backbone, [plan])

    def _generate(self, inputs: dict[str, Tensor], tokens: int, *processors: Marks) -> Any:
        """So many tokens, whatever the model would say; no visual ones, which a prompt alone may hold."""
        config = self._model.config
        visual = [getattr(config, f"{kind}_token_id", None) for kind in ("image", "video")]
        with torch.inference_mode():
            return self._model.generate(
                **inputs,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                suppress_tokens=[token for token in visual if token is not None],
                do_sample=False,
                pad_token_id=0,
                return_dict_in_generate=True,
                logits_processor=LogitsProcessorList(processors),
            )


def _repeat(row: dict[str, Tensor], times: int) -> dict[str, Tensor]:
    """The same prompt as several rows of a batch."""
    return {name: value.repeat(times, *[1] * (value.ndim - 1)) for name, value in row.items()}


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order: a protocol, and either a seed (time everything) or a way (the peak memory of it alone)."""
    protocol = Protocol.from_json(order["protocol"])
    try:
        launch = Launch(protocol)
        found = launch.time_pass(order["seed"]) if "seed" in order else launch.peaks(order["way"])
        served = launch.serve(order["seed"]) if "seed" in order else []
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MachineError(
            f"there is not enough memory for model '{protocol.model}' in {protocol.dtype}",
            "keep fewer layers with --layers, or reduce --visual-tokens or --batch-size",
        ) from error
    device = choose_device(protocol)
    return {
        "passes": [asdict(passes) for passes in found],
        "served": [asdict(one) for one in served],
        "hardware": fingerprint(device),
        "conditions": conditions(device),
    }


def main() -> None:
    """The process."""
    try:
        answer = measure(json.load(sys.stdin))
    except TokenBenchError as error:
        answer = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()

"""Check what a run says its answers cost: against itself, and against the cost model wherever the model's sizes are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import plain_name
from tokenbench.contract.lattice import Grid
from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample
from tokenbench.cost.macs import flops, prefill_macs
from tokenbench.cost.realised import realised_bytes, realised_flops
from tokenbench.cost.table import BYTES
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.errors import TokenBenchError
from tokenbench.models.source import registered_size
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import Registry
from tokenbench.runner.evidence import evidence_tokens, recall

__all__ = ["COSTS", "Costs", "find_disagreement", "recall_of"]

COSTS = ("kept", "leaves", "visual_tokens", "lattice", "text_tokens", "flops", "cache_bytes", "evidence_recall")
"""The columns that this module checks, beside those of the answers."""

NAMES = {"realised_tokens": "visual tokens", "flops": "FLOPs", "cache_bytes": "KV cache"}
"""What is said of the cost, by column."""


class Costs:
    """What the answers of one cell cost, by the cost model."""

    def __init__(self, cell: Mapping[str, Any], dtype: str, registry: Registry) -> None:
        """Read the model's sizes and the strategy's schedule, where both are known here.

        Args:
            cell: The cell.
            dtype: The type of the numbers in the KV cache.
            registry: The registered plug-ins.
        """
        self.size, self.number = registered_size(cell["model"], registry), BYTES.get(dtype)
        self.plan = _plan(cell, self.size, registry) if self.size else None
        self.taken: set[str] = set()
        """What is taken from the submission, since it cannot be recomputed."""

    def check(self, record: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
        """Yield what a record says of its cost and what the cost model says: a name, the stored number, and the one found."""
        layers, text = record.get("tokens_per_layer"), record.get("text_tokens")
        said = {name: record[name] for name in NAMES if record.get(name) is not None and not math.isnan(record[name])}
        if "realised_tokens" in said and (not layers or record.get("kept") is None):
            self.taken.add(NAMES["realised_tokens"])
        if self.size is None or not layers or text is None:
            self.taken |= {NAMES[name] for name in said if name != "realised_tokens"}
            return
        yield "the number of decoder layers", len(layers), self.size.decoder.layers
        if len(layers) != self.size.decoder.layers:
            return
        row = _trace(record, layers, text)
        if self.plan is not None:
            known = {stage.layer for stage in self.plan.typical}
            for layer in (layer for layer, _ in row.stages if layer not in known):
                yield (
                    f"the number of visual tokens in layer {layer}, before which nothing is pruned,",
                    layers[layer],
                    layers[layer - 1] if layer else row.visual,
                )
        if "flops" in said:
            yield self._check_flops(row, said["flops"])
        if "cache_bytes" in said and self.number is None:
            self.taken.add(NAMES["cache_bytes"])
        elif "cache_bytes" in said:
            yield self._check_cache(row, said["cache_bytes"])

    def _check_flops(self, row: RowTrace, stored: float) -> tuple[str, float, float]:
        assert self.size is not None
        found = math.nan
        if self.plan is not None and sum(grid.tokens for grid in row.grids) == row.visual:
            tokens = [row.visual, *row.tokens_per_layer]
            for stage in self.plan.typical:
                row.count_requests(stage, tokens[stage.layer], 0)
            found = realised_flops(row, self.size)
        if not math.isnan(found):
            return "the number of FLOPs", stored, found
        self.taken.add("FLOPs beyond the decoder's prefill")
        least = flops(prefill_macs(self.size.decoder, row.tokens_per_layer, row.text))
        return (
            "the number of FLOPs, which are no fewer than those of the decoder's prefill,",
            stored,
            max(stored, least),
        )

    def _check_cache(self, row: RowTrace, stored: float) -> tuple[str, float, float]:
        """Where the schedule is not known here, tokens may or may not have left the cache of earlier layers, too."""
        assert self.size is not None
        assert self.number is not None
        found = []
        for row.trim in [False, True] if self.plan is None else [self.plan.trim]:
            found.append(realised_bytes(row, self.size, self.number))
        return "the number of bytes of the KV cache", stored, stored if stored in found else found[0]


def find_disagreement(record: Mapping[str, Any]) -> str:
    """Return a clause on how a record's kept tokens, layers and numbers contradict each other; empty if they agree."""
    kept, layers, visual = record.get("kept"), record.get("tokens_per_layer"), record.get("visual_tokens")
    if kept is None or not layers or visual is None:
        return ""
    if len(set(kept)) != len(kept):
        return "names a kept token twice"
    if len(kept) != layers[-1]:
        return f"names {len(kept)} kept tokens, and the last layer is said to compute {layers[-1]}"
    leaves = record.get("leaves")
    if leaves is None:
        if not _falls_once(layers, visual):
            return f"says that its layers compute {_shown(layers)} of {visual} visual tokens, and not which leave where"
        return ""
    if {at for at, layer in enumerate(leaves) if layer < 0} != set(kept):
        return "names other kept tokens than those that leave at no layer"
    there = [sum(leaf < 0 or leaf > layer for leaf in leaves) for layer in range(len(layers))]
    return (
        ""
        if there == list(layers)
        else f"says that its layers compute {_shown(layers)}, and by what leaves {_shown(there)}"
    )


def recall_of(record: Mapping[str, Any], question: Sample) -> float | None:
    """Return the share of the evidence that is kept, by the suite's boxes; None if the record does not say where tokens were."""
    kept, lattice = record.get("kept"), record.get("lattice")
    if kept is None or (not lattice and question.evidence):
        return None
    evidence = evidence_tokens(question.evidence, Grid(*lattice)) if lattice else set()
    return recall(kept, evidence)


def _falls_once(layers: list[int], visual: int) -> bool:
    """Whether all layers compute the last one's tokens, once those before have computed all."""
    full = next((at for at, tokens in enumerate(layers) if tokens != visual), len(layers))
    return len(set(layers[full:])) <= 1 and layers[-1] <= visual


def _shown(layers: list[int]) -> str:
    return " ".join(map(str, layers))


def _trace(record: Mapping[str, Any], layers: list[int], text: int) -> RowTrace:
    """Return a trace that costs what the record says was computed."""
    visual, lattice = record["visual_tokens"], record.get("lattice")
    row = RowTrace(visual, text, len(layers), grids=(Grid(*lattice),) if lattice else ())
    before = visual
    for layer, tokens in enumerate(layers):
        if tokens != before:
            row.stages.append((layer, torch.arange(tokens)))
            before = tokens
    return row


def _plan(cell: Mapping[str, Any], size: ModelSize, registry: Registry) -> RowPlan | None:
    """Return the cell's plan, if its schedule alone says which work it does beyond the prefill; None otherwise."""
    try:
        strategy = parse_strategy(plain_name(cell["strategy"]), registry).strategy
        plan = RowPlan.make(strategy, Budget.read(cell["budget"]), size.decoder.layers)
    except (TokenBenchError, ValueError):
        return None
    stages = plan.typical
    more = any(
        stage.pixels or stage.rerun is not None or any(request.extra_layers for request in stage.attention)
        for stage in stages
    )
    return None if more or len({stage.layer for stage in stages}) < len(stages) else plan

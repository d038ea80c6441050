"""Finished run directories of the real suite `image`, with made-up answers that its own scorers score. No model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tokenbench.contract.lattice import Grid
from tokenbench.contract.suite import Sample, Task
from tokenbench.cost.table import costs
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench.runner.evidence import evidence_tokens, recall
from tokenbench.runner.identity import Cell, fingerprint_of, pack_cells
from tokenbench.store.directory import Store
from tokenbench.store.run_json import SCHEMA_VERSION
from tokenbench.store.spec import Spec

LAYERS, VISUAL, TEXT = 10, 144, 12
LIBRARIES = {"torch": "2.13.0", "transformers": "5.22.0"}


@cache
def tasks_of(names: tuple[str, ...]) -> tuple[tuple[Task, tuple[Sample, ...]], ...]:
    """Tasks of the suite with their first 40 samples."""
    tasks = resolve_suite("image", names, registry())[1]
    return tuple((task, tuple(task.samples()[:40])) for task in tasks)


def answered(
    folder: Path,
    loses: Mapping[str, float],
    *,
    tasks: Sequence[str] = ("attribute", "counting"),
    limit: int = 24,
    budgets: Sequence[str] = ("1/3", "1/9"),
    seeds: Sequence[int] = (0,),
    parts: Mapping[str, Mapping[str, Any]] | None = None,
    spec: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda record: record,
) -> Path:
    """Write a run directory.

    Args:
        folder: Where to write it.
        loses: By strategy, the share of questions that it answers wrong; the unpruned model's is 0.1.
        tasks: Names of tasks of the suite.
        limit: Samples per task.
        budgets: Budgets of the strategies.
        seeds: Seeds of the strategy `random`.
        parts: Parts of the cells' identities that are other than usual.
        spec: Settings that are other than usual.
        manifest: Entries of run.json that are other than usual.
        change: Takes a record with the names of the strategy and the task, and returns the one to store.
    """
    found = [(task, samples[:limit]) for task, samples in tasks_of(tuple(tasks))]
    arms = [("vanilla", "all", 0)]
    arms += [
        (name, budget, seed) for name in loses for budget in budgets for seed in (seeds if name == "random" else (0,))
    ]
    cells = []
    for name, budget, seed in arms:
        for task, _ in found:
            usual = {
                "model": {"name": "toy-llava", "weights": "w", "adapter": {"a": "0"}, "prompt": "p"},
                "strategy": {"name": name, "source": {name: "0"}},
                "budget": {"asked": budget, "match": "nominal"},
                "seed": {"number": seed},
                "task": {"name": task.name, "source": {"t": "0"}, "version": task.identity},
                "generation": {"decoding": "greedy", "new tokens": 16},
                "numerics": {
                    "dtype": (spec or {}).get("dtype", "float32"),
                    "device": "cpu",
                    "batch size": 8,
                    "attention": "sdpa",
                },
                "engine": {"tokenbench": "0.3.0", "source": {"e": "0"}},
                "libraries": LIBRARIES,
            }
            whole = {part: {**about, **(parts or {}).get(part, {})} for part, about in usual.items()}
            cells.append((Cell("toy-llava", name, budget, seed, task.name, whole), task))
    store = Store(folder)
    settings = Spec(
        suite="image", tasks=tuple(tasks), models=("toy-llava",), strategies=tuple(loses), floors=(), budgets=tuple(budgets),
        seeds=(), limit=limit, batch_size=8, device="cpu", dtype="float32", attention="sdpa",
    )  # fmt: skip
    store.start({
        "schema_version": SCHEMA_VERSION,
        "spec": {**settings.to_json(), **(spec or {})},
        **pack_cells([cell for cell, _ in cells], {cell.id: limit for cell, _ in cells}),
        "tasks": {
            task.name: {
                "unit_rule": task.unit_rule, "identity": task.identity, "samples": len(samples), "of": 200, "asked": fingerprint_of(samples),
            }
            for task, samples in found
        },
        "seed_scopes": {"random": "sample"} if "random" in loses else {},
        "models": {
            "toy-llava": {
                "identity": "w", "prompt": "p", "attention": "sdpa", "device": "cpu", "decoder_layers": LAYERS, "decoding": "greedy",
            }
        },
        "versions": {"tokenbench": "0.3.0", **LIBRARIES},
        "hardware": {"machine": "made up", "threads": 1, "gpu": None},
        "plugins": [], "plugin_files": [], "notes": [],
        **(manifest or {}),
    })  # fmt: skip
    for cell, task in cells:
        samples = next(own for one, own in found if one is task)
        records = {
            (sample.key, sample.digest): change({
                **_record(task, sample, cell, loses.get(cell.strategy, 0.1), (spec or {}).get("dtype", "float32")), "strategy": cell.strategy, "task": task.name,
            })
            for sample in samples
        }  # fmt: skip
        for record in records.values():
            del record["strategy"], record["task"]
        store.finish(
            cell.id, {s.key: s.digest for s in samples}, {**cell.names, "parts": cell.parts, "official": {}}, records
        )
    return folder


@cache
def _cost(strategy: str, budget: str, dtype: str) -> tuple[tuple[int, ...], float, float]:
    """Visual tokens of every layer, FLOPs and bytes of the KV cache: those that `tokenbench cost` shows."""
    wanted = "1/3" if budget == "all" else budget
    try:
        table = costs(
            "toy-llava", ["fastv" if budget == "all" else strategy], [wanted], registry(), VISUAL, TEXT, dtype
        )
    except UsageError:  # a strategy that is made up
        return _cost("fastv", budget, dtype)
    row = table.rows[0 if budget == "all" else 1]
    return row.tokens_per_layer, row.flops, row.kv_bytes


def _record(task: Task, sample: Sample, cell: Cell, loses: float, dtype: str) -> dict[str, Any]:
    said = f"{cell.strategy} {cell.budget} {cell.seed} {sample.key}"
    wrong = int.from_bytes(blake2b(said.encode(), digest_size=4).digest(), "big") / 2**32 < loses
    answer = "nothing at all" if wrong else sample.target
    layers, flops, cache_bytes = _cost(cell.strategy, cell.budget, dtype)
    kept = list(range(layers[-1]))
    leaves = [next((at for at, tokens in enumerate(layers) if tokens <= token), -1) for token in range(VISUAL)]
    return {
        "sample": sample.key, "cluster": sample.cluster, "unit": sample.unit or sample.key, "stratum": sample.stratum, "turn": 1,
        "answer": answer, "target": sample.target, "asked": sample.digest, "score": float(task.score(answer, sample)),
        "kept": kept, "leaves": leaves, "visual_tokens": VISUAL, "lattice": [1, 12, 12, 0], "tokens_per_layer": list(layers),
        "realised_tokens": sum(layers) / LAYERS, "text_tokens": TEXT, "flops": flops, "cache_bytes": cache_bytes,
        "evidence_recall": recall(kept, evidence_tokens(sample.evidence, Grid(1, 12, 12))), "evidence_height": 0.5, "seconds": 0.01,
    }  # fmt: skip

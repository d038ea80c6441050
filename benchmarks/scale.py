"""What large runs cost to look at: `python -m benchmarks.scale [answers] [journals] [cells]`.

Run directories are made up through the product's own writer, and every command runs in a process of its own, of which CPU seconds and the
peak of its resident memory are taken. answers: 20 cells of 50,000 samples, a million answers, 64 to 192 of 576 visual tokens
kept. journals: the same answers before their cells are finished. cells: 10,000 cells of 20 samples (10 models, 10 tasks, 33
strategies at 3 budgets, and vanilla). `--share 0.1` makes all of them smaller, `--keep FOLDER` makes them there and leaves them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tokenbench.contract.cells import FLOORS, VANILLA
from tokenbench.runner.identity import Cell, pack_cells
from tokenbench.store.directory import Store
from tokenbench.store.run_json import SCHEMA_VERSION
from tokenbench.store.spec import Spec

VISUAL, LAYERS, SIDE = 576, 32, 24
BUDGETS = {"1/3": 192, "2/9": 128, "1/9": 64}
COMMANDS = {
    "status": ["status"],
    "compare": ["compare", "--format", "markdown", "-o"],
    "report": ["report"],
    "export": ["export", "--to"],
}


@dataclass(frozen=True)
class Shape:
    """models, tasks, strategies: how many; every strategy has all budgets, and there is vanilla. samples: of a task.

    The first two strategies are trivial baselines.
    """

    models: int
    tasks: int
    strategies: int
    samples: int
    finished: bool = True

    @property
    def arms(self) -> list[tuple[str, str]]:
        names = [*FLOORS, *(f"strategy-{at}" for at in range(self.strategies - len(FLOORS)))]
        return [(VANILLA, "all"), *product(names, BUDGETS)]

    @property
    def cells(self) -> int:
        return self.models * self.tasks * len(self.arms)


SHAPES = {
    "answers": Shape(1, 2, 3, 50_000),
    "journals": Shape(1, 2, 3, 50_000, finished=False),
    "cells": Shape(10, 10, 33, 20),
}


def fabricate(folder: Path, shape: Shape) -> None:
    """Write a run of this shape. Every answer is drawn: 0.8 of vanilla's are right, of the others a little less."""
    store = Store(folder)
    models, tasks = (
        [f"{kind}-{at}" for at in range(number)] for kind, number in (("model", shape.models), ("task", shape.tasks))
    )
    cells = [
        Cell(model, strategy, budget, 0, task, _parts(model, strategy, budget, task))
        for model, task, (strategy, budget) in product(models, tasks, shape.arms)
    ]
    store.make_folders()
    store.start(_manifest(shape, models, tasks, cells))
    for at, cell in enumerate(cells):
        records = list(_records(shape, cell, np.random.default_rng(at)))
        if not shape.finished:
            store.journals.append((cell.id, record) for record in records)
            continue
        asked = {record["sample"]: record["asked"] for record in records}
        store.finish(cell.id, asked, {**cell.names, "official": {}}, dict(zip(asked.items(), records, strict=True)))


def _parts(model: str, strategy: str, budget: str, task: str) -> dict[str, dict[str, Any]]:
    return {
        "model": {"name": model},
        "strategy": {"name": strategy},
        "budget": {"asked": budget},
        "task": {"name": task},
    }


def _records(shape: Shape, cell: Cell, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    tokens = BUDGETS.get(cell.budget, VISUAL)
    right = generator.random(shape.samples) < (0.8 if cell.strategy == VANILLA else 0.78)
    kept = [sorted(generator.permutation(VISUAL)[:tokens].tolist()) for _ in range(min(shape.samples, 50))]
    for at, good in enumerate(right.tolist()):
        yield {
            "sample": f"{cell.task}-{at:08}", "cluster": f"image-{at // 3:08}", "unit": f"{cell.task}-{at:08}", "stratum": "",
            "answer": "yes" if good else f"no {at % 97}", "target": "yes", "asked": f"{at:016x}", "score": float(good), "kept": kept[at % len(kept)],
            "visual_tokens": VISUAL, "lattice": [1, SIDE, SIDE, 0], "tokens_per_layer": [VISUAL] * 2 + [tokens] * (LAYERS - 2),
            "realised_tokens": (2 * VISUAL + (LAYERS - 2) * tokens) / LAYERS, "text_tokens": 20 + at % 30, "flops": 1e12 + tokens,
            "cache_bytes": 1e6 * tokens, "evidence_recall": float("nan"), "seconds": 0.1,
        }  # fmt: skip


def _manifest(shape: Shape, models: Sequence[str], tasks: Sequence[str], cells: Sequence[Cell]) -> dict[str, Any]:
    spec = Spec(
        suite="made-up", tasks=tuple(tasks), models=tuple(models), strategies=tuple(dict.fromkeys(name for name, _ in shape.arms[1:])),
        floors=(), budgets=tuple(BUDGETS), seeds=(0,), limit=None, batch_size=32, device="cpu", dtype="float32", attention="sdpa",
    )  # fmt: skip
    about = {"identity": "0", "prompt": "?", "attention": "sdpa", "device": "cpu", "decoder_layers": LAYERS}
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        **pack_cells(cells, {cell.id: shape.samples for cell in cells}),
        "tasks": {task: {"unit_rule": "mean", "identity": "", "samples": shape.samples} for task in tasks},
        "models": {model: {**about, "decoding": "greedy"} for model in models},
        "versions": {"tokenbench": "0"},
        "hardware": {"machine": "made-up", "system": "none", "threads": 1, "gpu": None},
        "plugins": [],
        "plugin_files": [],
        "notes": [],
    }


def measured(arguments: Sequence[str]) -> tuple[float, float, int]:
    """CPU seconds, MiB at the peak, and the exit code of a `tokenbench` command in a process of its own."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'tokenbench', *sys.argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "sys.stderr.buffer.write(done.stderr if done.returncode else b'')\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done.returncode)"
    )
    # A process between, so that the peak is of this command and not of the largest one so far.
    said = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    seconds, peak, status = said.split()
    return float(seconds), float(peak), int(status)


def main() -> None:
    """Make, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], help="all of them unless named")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--share", type=float, default=1.0, help="of the samples, or of the models for `cells`")
    parser.add_argument("--keep", type=Path, help="make the runs here, use those that are there, and leave them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.shapes or SHAPES:
            shape = _smaller(name, options.share)
            folder = (options.keep or Path(temporary)) / f"{name}-{options.share:g}"
            if not folder.exists():
                fabricate(folder, shape)
            print(f"{name}: {shape.cells:,} cells of {shape.samples:,} samples")
            for command in options.commands.split(",") if shape.finished else ["status"]:
                first, *others = COMMANDS[command]
                target = [str(Path(temporary) / f"{name}-{command}")] if others[-1:] in (["-o"], ["--to"]) else []
                seconds, peak, status = measured([first, str(folder), *others, *target])
                print(f"  {command:8} {seconds:6.1f} s of CPU time, {peak:6.0f} MiB, exit code {status}", flush=True)


def _smaller(name: str, share: float) -> Shape:
    whole = SHAPES[name]
    if name == "cells":
        return Shape(max(1, round(whole.models * share)), whole.tasks, whole.strategies, whole.samples)
    return Shape(whole.models, whole.tasks, whole.strategies, max(1, round(whole.samples * share)), whole.finished)


if __name__ == "__main__":
    main()

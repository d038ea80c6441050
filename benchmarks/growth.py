"""How time grows: `python -m benchmarks.growth [cells] [samples] [tokens] [report] [start]`.

cells, samples: a sweep on the toy model and suite `image`, model loaded before the clock starts. tokens: prefill of a random
LLaVA of about 100 million parameters from 144 to 2,304 visual tokens, and what is left of it for strategies. Exponents are
least-squares slopes of log time over log size: 1 is proportional growth. report: statistics and report formats of
(15 strategies x 3 budgets + vanilla) x 8 tasks x 5,000 samples. start: of the command line. All in CPU seconds.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokenbench
from benchmarks import overhead
from benchmarks.analysis import made_up
from tokenbench.comparison import compare
from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA
from tokenbench.registry.plugins import registry
from tokenbench.runner.execute import execute
from tokenbench.runner.progress import progress
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve

STRATEGIES = ("fastv", "clse", "divprune", "vispruner", "pdrop", "dart", "sparsevlm", "uniform", "attention", "pooling")
BUDGETS = ("1/2", "1/3", "2/9", "1/6", "1/9", "1/12")


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds over log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def sweep(strategies: int, budgets: int, samples: int) -> float:
    """CPU seconds of vanilla and so many cells more, on one task."""
    request = Request(
        tasks=("attribute",),
        strategies=STRATEGIES[:strategies],
        floors=False,
        budgets=tuple(map(Budget.parse, BUDGETS[:budgets])),
        seeds=(0,),
        limit=samples,
        batch_size=16,
        device="cpu",
    )
    run = resolve(request, registry())
    with tempfile.TemporaryDirectory() as folder:
        return cpu(lambda: execute(run, Path(folder) / "run", registry(), lambda n: progress(n, sys.stderr, True)))


def grown(title: str, sizes: Sequence[int], times: Sequence[Callable[[], float]], rounds: int = 3) -> None:
    """Print a row: medians of interleaved rounds, and the exponent."""
    taken: list[list[float]] = [[] for _ in sizes]
    for _ in range(rounds):
        for seconds, work in zip(taken, times, strict=True):
            seconds.append(work())
    medians = [statistics.median(seconds) for seconds in taken]
    shown = ", ".join(f"{size}: {median / medians[0]:.2f}" for size, median in zip(sizes, medians, strict=True))
    print(f"| {title} | {shown} | {exponent(sizes, medians):.2f} |", flush=True)


def of_cells() -> None:
    shapes = ((1, 1), (2, 2), (4, 4), (10, 6))
    sizes = [strategies * budgets for strategies, budgets in shapes]
    sweep(1, 1, 4)
    grown("cells beside vanilla, 32 samples", sizes, [lambda shape=shape: sweep(*shape, 32) for shape in shapes])


def of_samples() -> None:
    sizes = (64, 128, 256)
    sweep(1, 1, 4)
    grown("samples, 9 cells and vanilla", sizes, [lambda size=size: sweep(3, 3, size) for size in sizes])


def of_tokens() -> None:
    sides = (12, 24, 36, 48)
    models = [overhead.build("cpu", 14 * side) for side in sides]

    def prefill(at: int, strategy: str) -> float:
        inputs = overhead.inputs_for(models[at], 1)
        with tokenbench.pruned(models[at], strategy, "1/3"), torch.inference_mode():
            return cpu(lambda: models[at](**inputs, logits_to_keep=1))

    for strategy in (VANILLA, "fastv", "clse", "divprune", "vispruner", "visionzip"):
        prefill(0, strategy)
        works = [lambda at=at, name=strategy: prefill(at, name) for at in range(len(sides))]
        grown(f"visual tokens, prefill of {strategy}", [side**2 for side in sides], works)


class MadeUpRun:
    """What reports ask of a run."""

    def __init__(self, samples: Any) -> None:
        self._samples = samples

    def about(self) -> dict[str, Any]:
        return {
            "spec": {"suite": "image", "limit": None, "floors": [], "strategies": ["s00"]},
            "versions": {"tokenbench": tokenbench.__version__},
        }

    def samples(self) -> Any:
        return self._samples

    def questions(self) -> dict[Any, Any]:
        return {}


def of_reports() -> None:
    rows = made_up(15, 8, 5000)
    found: list[Any] = []
    print(f"| statistics of {len(rows):,} answers | {cpu(lambda: found.append(compare(rows))):.1f} s |", flush=True)
    kept, lattice = np.arange(64, dtype=np.int32), np.array([1, 24, 24, 0], dtype=np.int32)
    whole = rows.assign(answer="yes", target="yes", kept=[kept] * len(rows), lattice=[lattice] * len(rows))
    for name in ("markdown", "csv", "html", "json", "latex"):
        writer = registry().get("reports", name)()
        with tempfile.TemporaryDirectory() as folder:
            seconds = cpu(lambda f=folder, w=writer: w.write(found[0], MadeUpRun(whole), Path(f), io.StringIO()))
        print(f"| report, {name} | {seconds:.1f} s |", flush=True)


def of_start(rounds: int = 15) -> None:
    commands = {
        "python -c pass": ["-c", "pass"],
        "tokenbench --help": ["-m", "tokenbench", "--help"],
        "tokenbench list strategies": ["-m", "tokenbench", "list", "strategies"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            start = of_children()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            taken[name].append(of_children() - start)
    for name, seconds in taken.items():
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} ms |", flush=True)


def of_children() -> float:
    """CPU seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


PARTS = {"cells": of_cells, "samples": of_samples, "tokens": of_tokens, "report": of_reports, "start": of_start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    for part in parser.parse_args().parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()

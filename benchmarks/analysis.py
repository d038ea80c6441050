"""How long the analysis of a large run takes, and how much memory: `python -m benchmarks.analysis`.

(15 strategies x 3 budgets + vanilla) x 8 tasks x 5,000 samples, two questions an image, 9,999 random signs a family: three
families on retention and 2,880 exploratory pairs. The rows are in memory before the clock starts.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from tokenbench.comparison import compare
from tokenbench.contract.cells import VANILLA

BUDGETS = ("1/3", "2/9", "1/9")


def made_up(strategies: int, tasks: int, samples: int) -> pd.DataFrame:
    """Rows of a run as `Run.samples` gives them, `kept` as a number."""
    rng, frames = np.random.default_rng(0), []
    cells = [(VANILLA, "all"), *((f"s{at:02d}", budget) for at in range(strategies) for budget in BUDGETS)]
    for task in range(tasks):
        base = 0.6 * rng.normal(size=samples // 2).repeat(2) + 0.6 * rng.normal(size=samples)
        names = {
            "sample": [f"{task}-{at}" for at in range(samples)],
            "cluster": [f"{task}-{at // 2}" for at in range(samples)],
        }
        for at, (strategy, budget) in enumerate(cells):
            score = (base + 0.5 * rng.normal(size=samples) + 0.6 - 0.01 * at > 0).astype(float)
            cost = {
                "kept": 64,
                "visual_tokens": 576,
                "realised_tokens": 64.0,
                "flops": 1e12,
                "cache_bytes": 1e8,
                "evidence_recall": 0.5,
            }
            cell = {"model": "m", "strategy": strategy, "budget": budget, "seed": 0, "task": f"t{task}"}
            frames.append(pd.DataFrame({**cell, **names, "score": score, **cost}))
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    """Print seconds and peak memory."""
    parser = argparse.ArgumentParser()
    for name, default in (("strategies", 15), ("tasks", 8), ("samples", 5000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    rows = made_up(**vars(parser.parse_args()))
    start, processor = time.perf_counter(), time.process_time()
    found = compare(rows)
    wall, cpu = time.perf_counter() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(rows):,} rows, {len(found.pairs):,} comparisons: {wall:.1f} s, {cpu:.1f} s of processor, peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()

"""Error rates and coverage of the product's own decisions on made-up data with a known truth.

`python -m benchmarks.simulations [--runs 2000] [--processes 2] [--tables TEXT] [--seconds N]` prints the tables of docs/simulations.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from itertools import islice
from math import sqrt
from multiprocessing import Pool

import numpy as np

from benchmarks.simulations.made import as_task, differences
from benchmarks.simulations.settings import Setting, settings
from tokenbench.comparison.verdicts import judge_against_vanilla
from tokenbench.statistics import family

CHUNK = 20


def several(work: tuple[int, int, int]) -> tuple[int, list[dict[str, float]]]:
    """Some runs of one setting, with generators of their own."""
    at, first, count = work
    found = []
    for run in range(first, first + count):
        found.append(
            {name: float(value) for name, value in ROWS[at].run(np.random.default_rng([at, run]), run).items()}
        )
    return at, found


ROWS: list[Setting] = list(settings())


def one_more_loss() -> Iterator[str]:
    """One question lost in k images, vanilla all right: the limits and the verdict never get better."""
    for images, questions, most in ((300, 6, 60), (50, 4, 50)):
        yield f"\n{images} images x {questions} questions:\n\n| k | retention | verdict, margin 1 | margin 2 | p | MDE |\n| ---: | ---: | :--- | :--- | ---: | ---: |"
        for lost in range(most + 1):
            scores = np.ones((images * questions, 2))
            scores[: lost * questions : questions, 1] = 0
            task = as_task(scores, np.full(images, questions))
            found = family(differences([task], [(1, 0)]), resamples=9999)
            low, high = found.low[0], found.high[0]
            words = (judge_against_vanilla(low, high, margin).text for margin in (1.0, 2.0))
            yield (
                f"| {lost} | {100 + found.value[0]:.2f} [{100 + low:.2f}, {100 + high:.2f}] | {' | '.join(words)} | "
                f"{found.p[0]:.4f} | {found.mde[0]:.2f} |"
            )


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--tables", default="", help="only tables whose title holds this")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so many seconds")
    options = parser.parse_args()
    begin = time.monotonic()
    chosen = [at for at, row in enumerate(ROWS) if options.tables.lower() in row.table.lower()]
    totals = {at: max(CHUNK, int(options.runs * ROWS[at].weight)) for at in chosen}
    # All settings go on together, so that each has its share of the runs whenever time is up.
    chunks = [(at, first) for at in chosen for first in range(0, totals[at], CHUNK)]
    chunks.sort(key=lambda chunk: chunk[1] / totals[chunk[0]])
    work = ((at, first, min(CHUNK, totals[at] - first)) for at, first in chunks)
    outcomes: dict[int, list[dict[str, float]]] = {at: [] for at in chosen}
    with Pool(options.processes) as pool:
        due = (one for one in work if time.monotonic() - begin < options.seconds)
        waiting = [pool.apply_async(several, (one,)) for one in islice(due, 2 * options.processes)]
        while waiting:
            at, found = waiting.pop(0).get()
            outcomes[at] += found
            waiting += [pool.apply_async(several, (one,)) for one in islice(due, 1)]
    table = ""
    for at in chosen:
        row = ROWS[at]
        if not outcomes[at]:
            continue
        names = list(outcomes[at][0])
        if row.table != table:
            table = row.table
            print(f"\n## {table}\n\n| setting | {' | '.join(f'{name} %' for name in names)} | runs |")
            print(f"| :--- |{' ---: |' * (len(names) + 1)}")
        cells = []
        for name in names:
            values = np.array([one[name] for one in outcomes[at]])
            rate, error = values.mean(), sqrt(max(values.var(), 0.0002) / len(values))
            cells.append(f"{100 * rate:.1f} ± {100 * error:.1f}")
        print(f"| {row.name} | {' | '.join(cells)} | {len(outcomes[at]):,} |", flush=True)
    if not options.tables:
        print("\n## One more lost answer")
        for line in one_more_loss():
            print(line)


if __name__ == "__main__":
    main()

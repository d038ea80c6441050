"""Power at the planned number of samples: planned from a large pilot, judged by the decision that reports make.

    python -m benchmarks.simulations_planning [--runs 1000] [--processes 16]        prints a table for docs/simulations.md

A strategy changes answers of vanilla: single ones both ways, or whole images, and loses some of the right ones. A planned number keeps its
promise if the verdict is reached in 75 to 85 % of runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from multiprocessing import Pool

import numpy as np

from tokenbench.comparison.verdicts import against_vanilla
from tokenbench.statistics.clusters import TaskSums, cluster_sums
from tokenbench.statistics.contrasts import Scale, contrasts
from tokenbench.statistics.family import family
from tokenbench.statistics.planning import TaskDesign, family_critical, measured_design, power, samples_for

BAND = (0.75, 0.85)
PILOT = 60_000
CHUNK = 25


@dataclass(frozen=True)
class Setting:
    """What is true.

    Attributes:
        name: for the table.
        margin: points; None if the verdict is that there is a difference.
        shares: samples of the tasks, in proportion.
        scores: vanilla's, by task.
        flips: share of the samples that single answers change on, both ways alike.
        whole: share of the images whose answers all change, both ways alike.
        loss: points of retention that are lost beside.
        questions: an image.
        strategies: in the family; the power is that of the first.
    """

    name: str
    margin: float | None
    shares: tuple[int, ...] = (1,)
    scores: tuple[float, ...] = (0.8,)
    flips: float = 0.07
    whole: float = 0.0
    loss: float = 0.0
    questions: int = 1
    strategies: int = 1


UNEQUAL = (300, 5000, 5000, 5000)
SCORES = (0.65, 0.8, 0.85, 0.7)
SETTINGS = [
    Setting("non-inferior within 2", 2),
    Setting("non-inferior within 2, two tasks", 2, (1, 1), (0.8, 0.65), 0.09),
    Setting("non-inferior within 2, tasks of 300 and three of 5,000", 2, UNEQUAL, SCORES, 0.05),
    Setting("non-inferior within 2, four questions an image", 2, (1, 1), (0.8, 0.65), 0.05, questions=4),
    Setting("non-inferior within 2, half by whole images of four", 2, (1, 1), (0.8, 0.65), 0.03, 0.03, questions=4),
    Setting("non-inferior within 1, few flips", 1, (1, 1), (0.8, 0.9), 0.005),
    Setting("non-inferior within 1, few flips and 0.3 points lost", 1, (1, 1), (0.8, 0.9), 0.003, loss=0.3),
    Setting("non-inferior within 1, 0.2 points lost and nothing gained", 1, flips=0.0, loss=0.2),
    Setting("non-inferior within 2, one of a family of six", 2, (1, 1), (0.8, 0.65), strategies=6),
    Setting("non-inferior within 2, vanilla near zero on a task", 2, (1, 1), (0.8, 0.03), 0.03),
    Setting("a difference of 3", None, (1, 1), (0.8, 0.65), loss=3),
    Setting("a difference of 3, one of a family of six", None, (1, 1), (0.8, 0.65), loss=3, strategies=6),
    Setting("a difference of 2, tasks of 300 and three of 5,000", None, UNEQUAL, SCORES, 0.05, loss=2),
    Setting("a difference of 2, losses alone, few samples", None, flips=0.0, loss=2),
    Setting("a difference of 2, six questions an image, whole images", None, (1,), (0.7,), 0.02, 0.02, 2, 6),
]


def drawn(rng: np.random.Generator, setting: Setting, score: float, samples: int, cells: int):
    """``[N, 1 + cells]`` scores of 0 and 1, vanilla first, and the image of each."""
    codes = np.arange(samples) // setting.questions
    right = rng.uniform(size=samples) < score
    columns = [right]
    for _ in range(cells):
        rate = np.where(right, setting.flips / (2 * score), setting.flips / (2 * (1 - score)))
        changed = right ^ (rng.uniform(size=samples) < rate)
        hit, gains = rng.uniform(size=(2, codes[-1] + 1)) < [[setting.whole], [score]]
        changed = np.where(hit[codes], gains[codes], changed)
        columns.append(changed & (rng.uniform(size=samples) >= setting.loss / 100))
    return np.stack(columns, axis=1).astype(np.float64), codes


def planned(setting: Setting, pilot: int = PILOT) -> tuple[int, float]:
    """The number of samples for a power of 80 %, and the power that is expected of it."""
    rng, tasks = np.random.default_rng(1), list[TaskDesign]()
    for share, score in zip(setting.shares, setting.scores, strict=True):
        scores, codes = drawn(rng, setting, score, pilot, 1)
        design = measured_design(scores[:, 1] - scores[:, 0], codes, float(scores[:, 0].mean()))
        tasks.append(replace(design, share=share))
    asked = {"margin": setting.margin, "difference": -setting.loss, "critical": family_critical(setting.strategies)}
    number = samples_for(tasks, **asked)
    return number, power(number, tasks, **asked)


def reached(setting: Setting, number: int, seed: int, runs: int = CHUNK) -> int:
    """In how many of these runs the verdict is reached."""
    rng, count = np.random.default_rng([2, seed]), 0
    for _ in range(runs):
        tasks, start = [], 0
        for share, score in zip(setting.shares, setting.scores, strict=True):
            samples = max(setting.questions, round(number * share / sum(setting.shares)))
            scores, codes = drawn(rng, setting, score, samples, setting.strategies)
            images = int(codes[-1]) + 1
            tasks.append(
                TaskSums(
                    np.arange(start, start + images),
                    np.bincount(codes).astype(float),
                    cluster_sums(scores, codes, images),
                )
            )
            start += images
        scale = Scale.RETENTION if min(setting.scores) > 0.05 else Scale.RETENTION_OF_MEAN
        pairs = [(cell, 0) for cell in range(1, setting.strategies + 1)]
        found = family(
            contrasts(tasks, np.arange(setting.strategies + 1), pairs, scale, start), resamples=499, seed=seed
        )
        verdict = against_vanilla(float(found.low[0]), float(found.high[0]), setting.margin or 1e9)
        count += verdict.sign < 0 if setting.margin is None else verdict.lossless
    return count


def lines(runs: int, processes: int) -> Iterator[str]:
    """The table, row by row."""
    yield "| verdict | planned samples | expected % | reached % | ± | |"
    yield "| :--- | ---: | ---: | ---: | ---: | :--- |"
    with Pool(processes) as pool:
        for setting in SETTINGS:
            number, expected = planned(setting)
            chunks = max(1, runs // CHUNK)
            share = sum(pool.map(partial(reached, setting, number), range(chunks), chunksize=1)) / (chunks * CHUNK)
            error = sqrt(share * (1 - share) / (chunks * CHUNK))
            word = "" if BAND[0] <= share <= BAND[1] else "outside"
            yield f"| {setting.name} | {number:,} | {100 * expected:.1f} | {100 * share:.1f} | {100 * error:.1f} | {word} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    for line in lines(given.runs, given.processes):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""Power at the planned number of samples: planned from a large pilot, judged by the decision that reports make.

python -m benchmarks.simulations.planning [--runs 1000] [--processes 16]     prints a table of docs/simulations.md

A planned number keeps its promise if its verdict is reached in 75 to 85 % of runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from multiprocessing import Pool

import numpy as np

from benchmarks.simulations.made import as_task, control, differences, spoiled
from tokenbench.comparison.verdicts import judge_against_vanilla
from tokenbench.statistics import Scale, family
from tokenbench.statistics.planning import TaskDesign, family_critical, measure_design, power, samples_for

BAND = (0.75, 0.85)
PILOT = 60_000
CHUNK = 25
NEAR_ZERO = 0.05


@dataclass(frozen=True)
class Setting:
    """What is true; see ``spoiled``.

    Attributes:
        name: for the table.
        margin: points; None if the verdict is that there is a difference.
        shares: samples of the tasks, in proportion.
        scores: vanilla's, by task.
        flip: share of the samples that are answered anew.
        loss: points of accuracy kept that are lost.
        whole: share of flips and losses that befall whole images.
        questions: an image.
        strategies: in the family; the power is that of the first.
    """

    name: str
    margin: float | None
    shares: tuple[int, ...] = (1,)
    scores: tuple[float, ...] = (0.8,)
    flip: float = 0.2
    loss: float = 0.0
    whole: float = 0.0
    questions: int = 1
    strategies: int = 1


UNEQUAL = (300, 5000, 5000, 5000)
SCORES = (0.65, 0.8, 0.85, 0.7)
SETTINGS = [
    Setting("non-inferior within 2", 2),
    Setting("the same, two tasks", 2, (1, 1), (0.8, 0.65)),
    Setting("the same, tasks of 300 and three of 5,000", 2, UNEQUAL, SCORES, 0.12),
    Setting("the same, four questions an image", 2, (1, 1), (0.8, 0.65), 0.12, questions=4),
    Setting(
        "the same, half of the flips by whole images of four", 2, (1, 1), (0.8, 0.65), 0.12, whole=0.5, questions=4
    ),
    Setting("the same, one of a family of six", 2, (1, 1), (0.8, 0.65), strategies=6),
    Setting("the same, vanilla near zero on a task", 2, (1, 1), (0.8, 0.03)),
    Setting("non-inferior within 1, few flips", 1, (1, 1), (0.8, 0.9), 0.015),
    Setting("the same, and 0.3 points lost", 1, (1, 1), (0.8, 0.9), 0.01, 0.3),
    Setting("the same, 0.2 points lost, no flips", 1, flip=0.0, loss=0.2),
    Setting("a difference of 3", None, (1, 1), (0.8, 0.65), loss=3),
    Setting("the same, one of a family of six", None, (1, 1), (0.8, 0.65), loss=3, strategies=6),
    Setting("a difference of 2, tasks of 300 and three of 5,000", None, UNEQUAL, SCORES, 0.12, 2),
    Setting("the same, losses alone, one task", None, flip=0.0, loss=2),
    Setting("the same, half by whole images of six", None, (1,), (0.7,), 0.1, 2, 0.5, 6),
]


def planned(setting: Setting, pilot: int = PILOT) -> tuple[int, float]:
    """The number of samples for a power of 80 %, and the power that is expected of it."""
    rng, tasks = np.random.default_rng(1), list[TaskDesign]()
    for share, score in zip(setting.shares, setting.scores, strict=True):
        sizes = np.full(pilot // setting.questions, setting.questions)
        scores = _scores(rng, setting, sizes, score, 1)
        codes = np.repeat(np.arange(len(sizes)), sizes)
        tasks.append(
            replace(measure_design(scores[:, 1] - scores[:, 0], codes, float(scores[:, 0].mean())), share=share)
        )
    critical = family_critical(setting.strategies)
    asked = {"margin": setting.margin, "difference": -setting.loss, "critical": critical}
    number = samples_for(tasks, **asked)
    return number, power(number, tasks, **asked)


def reached(setting: Setting, number: int, seed: int, runs: int = CHUNK) -> int:
    """In how many of these runs with so many samples the verdict is reached."""
    rng, count = np.random.default_rng([2, seed]), 0
    scale = Scale.RETENTION if min(setting.scores) > NEAR_ZERO else Scale.RETENTION_OF_MEAN
    for _ in range(runs):
        tasks, start = [], 0
        for share, score in zip(setting.shares, setting.scores, strict=True):
            images = max(1, round(number * share / sum(setting.shares) / setting.questions))
            sizes = np.full(images, setting.questions)
            tasks.append(as_task(_scores(rng, setting, sizes, score, setting.strategies), sizes, start))
            start += images
        found = family(differences(tasks, control(setting.strategies), scale), resamples=499, seed=seed)
        verdict = judge_against_vanilla(float(found.low[0]), float(found.high[0]), setting.margin or 100.0)
        count += verdict.sign < 0 if setting.margin is None else verdict.lossless
    return count


def _scores(rng: np.random.Generator, setting: Setting, sizes: np.ndarray, score: float, cells: int) -> np.ndarray:
    kind = {"flip": setting.flip, "loss": setting.loss / 100, "whole": setting.whole}
    return np.asarray(spoiled(rng, sizes, score, cells, **kind))


def lines(runs: int, processes: int | None) -> Iterator[str]:
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
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    for line in lines(given.runs, given.processes):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""One function a table of docs/simulations.md: a run of it with a generator, giving named yes or no answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.simulations.made import as_task, control, differences, peers, sizes_of, spoiled
from tokenbench.comparison import compare
from tokenbench.comparison.verdicts import Kind, judge_against_vanilla, judge_pair
from tokenbench.contract.cells import VANILLA
from tokenbench.statistics import Look, Scale, family, score_intervals
from tokenbench.statistics.spending import obrien_fleming, open_ended, pocock

SIGNS = 499
Outcome = dict[str, bool]


class Setting(NamedTuple):
    """A row: its table, its name, one run of it, and how many times the usual number of runs it takes."""

    table: str
    name: str
    run: Callable[[np.random.Generator, int], Outcome]
    weight: float = 1.0


def made_tasks(rng, tasks, images, questions, cells, accuracy=0.8, **kind):
    """Tasks on images of their own."""
    found, start = [], 0
    counts = images if isinstance(images, tuple) else (images,) * tasks
    for count in counts:
        sizes = sizes_of(rng, count, questions)
        found.append(as_task(spoiled(rng, sizes, accuracy, cells, **kind), sizes, start))
        start += count
    return found


def judged(found, margin=1.0):
    """The product's verdicts against vanilla."""
    return [judge_against_vanilla(low, high, margin) for low, high in zip(found.low, found.high, strict=True)]


def at_the_margin(tasks, images, questions, cells, **kind):
    """True retention is exactly 99; claiming non-inferiority within 1 is an error."""

    def run(rng, seed):
        made = made_tasks(rng, tasks, images, questions, cells, accuracy=kind.pop("accuracy", 1.0), **kind)
        found = family(differences(made, control(cells)), resamples=SIGNS, seed=seed)
        verdicts = judged(found)
        return {
            "non-inferior": any(v.lossless for v in verdicts),
            "loses more": any(v.kind is Kind.LOSES_MORE for v in verdicts),
            "covers": bool(((found.low <= -1 + 1e-9) & (found.high >= -1 - 1e-9)).all()),
        }

    return run


def nothing_true(tasks, images, questions, cells, between_cells=False, **kind):
    """No cell differs from another; any word of order is an error."""

    def run(rng, seed):
        made = made_tasks(rng, tasks, images, questions, cells, **kind)
        pairs = peers(cells) if between_cells else control(cells)
        found = family(differences(made, pairs), resamples=SIGNS, seed=seed)
        known = ~np.isnan(found.low)
        wrong = any(judge_pair(low, high).sign for low, high in zip(found.low, found.high, strict=True))
        return {"error": wrong, "bounded": bool(known.all())}

    return run


def one_difference(tasks, images, questions, truth, **kind):
    """Coverage of one comparison's interval."""

    def run(rng, seed):
        made = made_tasks(rng, tasks, images, questions, 1, **kind)
        found = family(differences(made, [(1, 0)]), resamples=SIGNS, seed=seed)
        low, high = found.low[0], found.high[0]
        return {
            "covers": bool(np.isnan(low) or (low <= truth + 1e-9 and truth - 1e-9 <= high)),
            "hides the loss": bool(low > truth + 1e-9),
            "unbounded": bool(np.isnan(low)),
        }

    return run


def one_score(images, questions, accuracy, alike):
    """Coverage of a cell's score; ``alike`` is the beta spread of images, none for 0."""

    def run(rng, seed):
        sizes = sizes_of(rng, images, questions)
        share = rng.beta(accuracy * alike, (1 - accuracy) * alike, images) if alike else np.full(images, accuracy)
        codes = np.repeat(np.arange(images), sizes)
        scores = (rng.uniform(size=len(codes)) < share[codes]).astype(float)[:, None]
        _, low, high = score_intervals([as_task(scores, sizes)], np.zeros(1, dtype=int), images)
        return {"covers": bool(low[0] <= accuracy <= high[0])}

    return run


def shared_seeds(seeds, shift, stochastic, counted=1.0, images=300):
    """Stochastic cells whose seeds move all samples at once, and one that is not stochastic."""

    def run(rng, seed):
        cell = [0, *(1 + at // seeds for at in range(stochastic * seeds)), 1 + stochastic]
        latent = rng.normal(size=(images, 1)) + rng.normal(0, 0.4, (images, len(cell)))
        moved = np.where(np.array(cell) % (1 + stochastic) > 0, rng.normal(0, shift, len(cell)), 0.0)
        task = as_task((latent + 0.85 + moved > 0).astype(float), np.ones(images, dtype=int))
        scope = np.array([1.0, *[counted] * stochastic, 1.0])
        errors = {}
        for name, pairs in (("F1 error", control(1 + stochastic)), ("F2 error", peers(1 + stochastic))):
            found = family(differences([task], pairs, cell=cell, counted=scope), resamples=SIGNS, seed=seed)
            errors[name] = bool(((found.low > 0) | (found.high < 0)).any())
        return errors

    return run


def near_zero(loses):
    """Tasks of accuracy .80 (300 images) and .10 (60); the strategy loses a share of the hard task."""

    def run(rng, seed):
        tasks, start = [], 0
        for images, accuracy, loss in ((300, 0.8, 0.0), (60, 0.1, loses)):
            sizes = np.ones(images, dtype=int)
            tasks.append(as_task(spoiled(rng, sizes, accuracy, 1, flip=0.1, loss=loss), sizes, start))
            start += images
        low = [score_intervals([task], np.arange(2), start)[1][0] for task in tasks]
        scale = Scale.RETENTION if min(low) > 0.05 else Scale.RETENTION_OF_MEAN
        # An answer given anew is right with the same accuracy, so that only what is lost counts.
        kept = np.array([0.8, 0.1 * (1 - loses)])
        truth = 100 * (kept / [0.8, 0.1]).mean() if scale is Scale.RETENTION else 100 * kept.sum() / 0.9
        found = family(differences(tasks, [(1, 0)], scale), resamples=SIGNS, seed=seed)
        return {
            "covers": bool(found.low[0] <= truth - 100 <= found.high[0]),
            "error": bool(not loses and judge_pair(found.low[0], found.high[0]).sign),
        }

    return run


def many_looks(spending, shares, stop, effects, whole=0.2):
    """Looks at four strategies on two tasks, 300 images of 4 questions (some flip whole) and 1,500 single ones; by whole images.

    stop: a strategy whose verdict is final is not run further.
    """

    def run(rng, seed):
        tasks, start = [], 0
        for images, questions in ((300, 4), (1500, 1)):
            sizes = np.full(images, questions)
            scores = spoiled(rng, sizes, 0.8, len(effects), flip=0.1, loss=np.array(effects) / 100, whole=whole)
            tasks.append(as_task(scores, sizes, start))
            start += images
        running, looks, answers = list(range(len(effects))), [], 0.0
        for number, share in enumerate(shares):
            seen = [_first(task, share) for task in tasks]
            pairs = [(at + 1, 0) for at in running]
            looks.append(Look(differences(seen, pairs, images=start), share, np.array(running), number))
            answers += (share - (shares[number - 1] if number else 0.0)) * len(running)
            found = family(looks, spending, resamples=SIGNS, seed=seed)
            if stop:
                verdicts = judged(found)
                running = [at for at in running if not verdicts[at].final]
            if not running:
                break
        verdicts = judged(found)
        truth = -np.array(effects, dtype=float)
        wrong = any(v.sign for v, effect in zip(verdicts, effects, strict=True) if not effect)
        return {
            "error": wrong,
            "covers": bool(((found.low <= truth + 1e-9) & (found.high >= truth - 1e-9)).all()),
            "answers used": answers / len(effects),  # type: ignore[dict-item]
            "found": float(np.mean([v.sign < 0 for v, e in zip(verdicts, effects, strict=True) if e] or [0])),  # type: ignore[dict-item]
        }

    return run


def whole_report(rng, seed):
    """A report of real differences by the public function: every verdict and p must agree with the interval beside it."""
    frames = []
    losses = {(name, budget): rng.uniform(0, 0.25) for name in "abcd" for budget in ("1/3", "1/9")}
    for task in ("one", "two"):
        sizes = np.full(int(rng.integers(20, 120)), int(rng.integers(1, 4)))
        codes = np.repeat(np.arange(len(sizes)), sizes)
        right = (rng.uniform(size=len(codes)) < 0.85).astype(float)
        for (strategy, budget), loss in {(VANILLA, "all"): 0.0, **losses}.items():
            frames.append(pd.DataFrame({
                "model": "m", "strategy": strategy, "budget": budget, "seed": 0, "task": task, "sample": np.arange(len(codes)).astype(str),
                "cluster": np.char.add(task, codes.astype(str)), "score": right * (rng.uniform(size=len(codes)) >= loss), "realised_tokens": 1.0,
            }))  # fmt: skip
    found = compare(pd.concat(frames), resamples=SIGNS, seed=seed)
    retention = found.summary[found.summary["task"] == "mean"].set_index(["strategy", "budget"])
    wrong = 0
    for row in found.pairs.itertuples():
        sign = (row.low > 0) - (row.high < 0)
        wrong += row.verdict.sign != sign
        wrong += row.family != "F3" and (row.p <= 0.05) != bool(sign)
        if row.family == "F1":
            cell = retention.loc[(row.a, row.budget)]
            wrong += row.verdict.lossless != (cell["retention_low"] > 0.99)
            wrong += (row.verdict.kind is Kind.LOSES_MORE) != (cell["retention_high"] < 0.99)
            wrong += (row.verdict.sign < 0) != (cell["retention_high"] < 1)
    return {"disagrees": bool(wrong)}


def _first(task, share):
    count = int(np.ceil(share * len(task.index)))
    return task._replace(index=task.index[:count], sizes=task.sizes[:count], sums=task.sums[:count])


FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def margins() -> Iterator[Setting]:
    """A strategy whose true loss is the margin."""
    margin = "Losses without gains at a true retention of 99"
    for tasks, images in (
        (1, 300),
        (1, 600),
        (1, 1000),
        (1, 2000),
        (1, 4000),
        (1, 8000),
        (2, 1000),
        (4, 300),
        (4, 1000),
        (8, 300),
        (8, 1000),
    ):
        for cells in (1, 4):
            name = f"{tasks} task{'s' * (tasks > 1)} of {images:,} single images, family of {cells}"
            yield Setting(margin, name, at_the_margin(tasks, images, 1, cells, loss=0.01), 2.0)
    for tasks, images, whole in (
        (1, 300, 1.0),
        (1, 600, 1.0),
        (1, 1600, 1.0),
        (4, 400, 1.0),
        (1, 600, 0.5),
        (1, 800, 0.5),
        (1, 1600, 0.5),
    ):
        name = f"{tasks} task{'s' * (tasks > 1)} of {images:,} x 5, {100 * whole:.0f} % of losses take a whole image"
        yield Setting(margin, name, at_the_margin(tasks, images, 5, 1, loss=0.01, whole=whole))
    for flip in (0.01, 0.05):
        for images in (1000, 4000):
            name = f"1 task of {images:,} single images, {100 * flip:.0f} % answered anew as well"
            yield Setting(margin, name, at_the_margin(1, images, 1, 1, loss=0.01, flip=flip, accuracy=0.9))


def nulls() -> Iterator[Setting]:
    """Cells that do not differ."""
    null = "No true difference"
    for tasks, images, questions, cells, kind in (
        (1, 20, 6, 4, {"accuracy": 0.7, "flip": 0.2}), (1, 50, 6, 6, {"accuracy": 0.7, "flip": 0.2}),
        (1, 50, 6, 6, {"accuracy": 0.95, "flip": 0.2}), (1, 300, 1, 8, {"accuracy": 0.95, "flip": 0.2}),
        (1, 300, 6, 6, {"accuracy": 0.7, "flip": 0.1, "whole": 0.5}), (1, 120, "zipf", 4, {"accuracy": 0.7, "flip": 0.2}),
        (1, 400, "zipf", 4, {"accuracy": 0.9, "flip": 0.2}), (4, 60, 6, 6, {"accuracy": 0.8, "flip": 0.1}),
        (2, 50, 3, 4, {"accuracy": 0.7, "flip": 0.25, "partial": True}), (8, 200, 1, 12, {"accuracy": 0.8, "flip": 0.1}),
        (4, (300, 5000, 1000, 120), 1, 4, {"accuracy": 0.8, "flip": 0.1}), (1, 2000, 1, 15, {"accuracy": 0.8, "flip": 0.15}),
    ):  # fmt: skip
        for among in (False, True):
            name = f"{tasks} x {images} x {questions}, {', '.join(f'{k} {v}' for k, v in kind.items())}, {'all pairs of' if among else 'against vanilla,'} {cells}"
            yield Setting(null, name, nothing_true(tasks, images, questions, cells, among, **kind))


def coverages() -> Iterator[Setting]:
    """One comparison with a known difference."""
    cover = "Coverage of one comparison"
    for tasks, images, questions, truth, kind in (
        (1, 600, 1, -3.0, {"accuracy": 1.0, "loss": 0.03}), (1, 600, 1, -5.0, {"accuracy": 1.0, "loss": 0.05}),
        (1, 2000, 1, -1.0, {"accuracy": 1.0, "loss": 0.01}), (1, 2000, 1, -2.0, {"accuracy": 1.0, "loss": 0.02}),
        (1, 20, 1, -10.0, {"accuracy": 0.8, "loss": 0.1}), (1, 20, 6, -10.0, {"accuracy": 0.7, "loss": 0.1, "flip": 0.1}),
        (1, 20, 6, 0.0, {"accuracy": 0.7, "flip": 0.25}), (1, 30, 1, 0.0, {"accuracy": 0.7, "flip": 0.25}),
        (1, 50, 6, -10.0, {"accuracy": 0.8, "loss": 0.1, "flip": 0.1}), (1, 50, 6, -2.0, {"accuracy": 0.8, "loss": 0.02}),
        (1, 100, 1, -90.0, {"accuracy": 0.6, "loss": 0.9}), (1, 300, 6, 0.0, {"accuracy": 0.95, "flip": 0.25}),
        (1, 120, "zipf", -10.0, {"accuracy": 0.8, "loss": 0.1, "flip": 0.1}), (2, 60, "zipf", 0.0, {"accuracy": 0.7, "flip": 0.25}),
        (4, 100, 3, 0.0, {"accuracy": 0.7, "flip": 0.25}), (2, 50, 3, 0.0, {"accuracy": 0.7, "flip": 0.25, "partial": True}),
    ):  # fmt: skip
        name = f"{tasks} x {images} x {questions}, {', '.join(f'{k} {v}' for k, v in kind.items())}"
        yield Setting(cover, name, one_difference(tasks, images, questions, truth, **kind))


def scores() -> Iterator[Setting]:
    """The score of a cell."""
    for images, questions, accuracy, alike in (
        (20, 1, 0.7, 0), (20, 6, 0.95, 2), (50, 6, 0.7, 2), (50, 6, 0.95, 2), (300, 6, 0.9, 2), (500, 1, 0.95, 0), (500, 6, 0.98, 2),
        (40, "zipf", 0.7, 2), (120, "zipf", 0.7, 2), (120, "zipf", 0.95, 2), (400, "zipf", 0.95, 2),
    ):  # fmt: skip
        name = f"{images} x {questions}, score {accuracy}, images {'alike' if not alike else f'beta({alike})'}"
        yield Setting("Coverage of a score", name, one_score(images, questions, accuracy, alike))


def seeded() -> Iterator[Setting]:
    """Seeds that move all samples, and tasks that vanilla hardly solves."""
    for seeds in (3, 5, 10):
        for shift in (0.0, 0.1, 0.3):
            for stochastic in (1, 2):
                name = f"{seeds} seeds, shift between seeds {shift}, {stochastic} stochastic of {1 + stochastic}"
                yield Setting("Seeds that move all samples", name, shared_seeds(seeds, shift, stochastic))
    yield Setting(
        "Seeds that move all samples",
        "3 seeds, shift 0.3, taken as drawn anew for every sample (wrong)",
        shared_seeds(3, 0.3, 1, 0.0),
    )
    for loses in (0.0, 0.5):
        yield Setting(
            "Vanilla near zero on a task", f"strategy loses {100 * loses:.0f} % of the hard task", near_zero(loses)
        )


def reports_and_looks() -> Iterator[Setting]:
    """Whole reports, and looks at growing data."""
    yield Setting("Reports of real differences", "4 strategies x 2 budgets x 2 tasks", whole_report, 1.25)
    for label, spending in (
        ("O'Brien-Fleming", obrien_fleming),
        ("Pocock", pocock),
        ("counted, nothing declared", open_ended),
    ):
        for stop in (False, True):
            for effects in ((0, 0, 0, 0), (2, 5, 10, 30)):
                name = f"{label}, {'stopped when decided' if stop else 'all looks'}, losses {effects}"
                yield Setting("Five looks", name, many_looks(spending, FIVE, stop, effects), 0.4)


def settings() -> Iterator[Setting]:
    """All rows."""
    for table in (margins, nulls, coverages, scores, seeded, reports_and_looks):
        yield from table()

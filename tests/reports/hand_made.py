"""Comparisons made by hand: what each strategy keeps, and which verdicts there are, are written down and not computed."""

from itertools import combinations

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.pairs import PAIR_COLUMNS
from tokenbench.comparison.verdicts import Kind, Verdict

NAN = float("nan")
OPEN = Verdict(Kind.NOT_DISTINGUISHABLE)


def hand_made(
    kept,
    better=(),
    *,
    against=Kind.LOSES_MORE,
    images=300,
    tokens=None,
    cache=None,
    flops=0.63,
    margin=1.0,
    noise=(),
    model="toy",
):
    """A comparison of one model.

    Args:
        kept: By budget, the accuracy that every strategy keeps, in per cent.
        better: The pairs (a, b), or (a, b, budget), in which a is shown to be better; all others are open.
        against: The kind of verdict against vanilla; one for all, or by (strategy, budget).
        images: How many images there are, with six questions on each.
        tokens: Realised tokens by strategy, 50 by default.
        cache: The share of vanilla's KV cache by strategy, 0.45 by default.
        flops: The share of vanilla's FLOPs.
        margin: The margin, in points.
        noise: The pairs that are at the noise floor.
        model: The model's name.
    """
    tokens, cache = tokens or {}, cache or {}
    counts = {"model": model, "task": MEAN, "n": 6 * images, "clusters": images, "visual_tokens": 144}
    cells = [
        counts
        | {"strategy": "vanilla", "budget": "all", "score": 0.93, "retention": 1.0, "retention_low": 1.0}
        | {"retention_high": 1.0, "realised_tokens": 144.0, "flops": 100.0, "cache_bytes": 1000.0}
    ]
    pairs = []
    for budget, strategies in kept.items():
        for name, percent in strategies.items():
            value = percent / 100
            cells.append(
                counts
                | {"strategy": name, "budget": budget, "score": 0.93 * value, "retention": value}
                | {"retention_low": value - 0.011, "retention_high": value + 0.011, "flops": 100.0 * flops}
                | {"realised_tokens": tokens.get(name, 50.0), "cache_bytes": 1000 * cache.get(name, 0.45)}
            )
            kind = against.get((name, budget), Kind.NOT_DECIDED) if isinstance(against, dict) else against
            pairs.append(_pair(model, budget, "F1", name, "vanilla", value - 1, 0.011, Verdict(kind, margin)))
        for a, b in combinations(strategies, 2):
            sign = _is_better(a, b, budget, better) - _is_better(b, a, budget, better)
            difference = (strategies[a] - strategies[b]) / 100
            half = 0.4 * abs(difference) if sign else abs(difference) + 0.02
            verdict = Verdict(Kind.BETTER if sign > 0 else Kind.WORSE) if sign else OPEN
            row = _pair(model, budget, "F2", a, b, difference, half, verdict)
            row["cost_ratio"] = tokens.get(a, 50.0) / tokens.get(b, 50.0)
            pairs.append(row | ({"at_noise_floor": (a, b) in noise or (b, a) in noise} if noise else {}))
    columns = [*PAIR_COLUMNS, "at_noise_floor"] if noise else PAIR_COLUMNS
    return Comparison(
        summary=pd.DataFrame(cells), pairs=pd.DataFrame(pairs, columns=columns), models=(model,), tasks=("count",),
        samples=6 * images, clusters=images, alpha=0.05, margin=margin, resamples=99, seed=0, warnings=(),
    )  # fmt: skip


def beats_all(*names):
    """Every name is better than all names after it."""
    return list(combinations(names, 2))


def _is_better(a, b, budget, better):
    return (a, b) in better or (a, b, budget) in better


def _pair(model, budget, family, a, b, difference, half, verdict):
    interval = {"difference": difference, "low": difference - half, "high": difference + half}
    return {"model": model, "budget": budget, "task": MEAN, "family": family, "a": a, "b": b, "p": 0.01, "mde": 0.03,
            "cost_ratio": 1.0, "verdict": verdict, **interval}  # fmt: skip

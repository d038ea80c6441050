"""Which visual tokens the cells kept: how often at each place of the image, and how much two strategies agree.

Descriptions, not tests: they say where a method looks, never whether that is good.
"""

from collections.abc import Collection, Hashable
from itertools import combinations

import numpy as np
import pandas as pd

from tokenbench.statistics.clusters import Floats, Ints
from tokenbench_reports.html.masks import is_known

__all__ = ["agreement", "bias", "choose_few", "first_seed", "keep_rates", "select", "thin"]

ENOUGH = 500
"""Samples a task are thinned to about so many in all: shares settle long before."""


def thin(samples: pd.DataFrame, most: int = ENOUGH) -> pd.DataFrame:
    """The rows of the first seed on at most ``most`` (task, sample) pairs, the same in every cell."""
    return select(first_seed(samples), choose_few(samples, most))


def choose_few(samples: pd.DataFrame, most: int = ENOUGH) -> list[tuple[str, str]]:
    """At most ``most`` (task, sample) pairs, evenly from all there are."""
    keys = samples[["task", "sample"]].drop_duplicates()
    chosen = keys.iloc[:: max(1, -(-len(keys) // most))]
    return [(str(task), str(sample)) for task, sample in chosen.itertuples(index=False)]


def select(samples: pd.DataFrame, pairs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """The rows on these (task, sample) pairs."""
    return samples[pd.MultiIndex.from_frame(samples[["task", "sample"]]).isin(pairs)]


def first_seed(samples: pd.DataFrame) -> pd.DataFrame:
    """One answer a sample of every cell: that of its lowest seed."""
    lowest = samples.groupby(["strategy", "budget"], observed=True)["seed"].transform("min")
    return samples[samples["seed"] == lowest]


def keep_rates(samples: pd.DataFrame) -> dict[tuple[str, str], Floats]:
    """Compute how often each place of the image was kept.

    Args:
        samples: Rows of one model, thinned or not, with columns strategy, budget, kept and lattice.

    Returns:
        ``[H, W]`` shares in [0, 1] by (strategy, budget). H and W are those of the most common lattice; others are laid
        over it by relative position. The frames of a clip are taken together, and samples without a lattice are left
        out.
    """
    known = samples[samples["lattice"].notna() & samples["kept"].map(is_known)]
    if known.empty:
        return {}
    shapes = known["lattice"].map(lambda lattice: (int(lattice[1]), int(lattice[2])))
    height, width = shapes.mode().iloc[0]
    shares = {}
    for (strategy, budget), rows in known.groupby(["strategy", "budget"], sort=False):
        kept, shown = np.zeros((2, height, width))
        by_lattice: dict[tuple[int, ...], list[np.ndarray]] = {}
        for ordinals, lattice in zip(rows["kept"], rows["lattice"], strict=True):
            by_lattice.setdefault(tuple(map(int, lattice)), []).append(np.asarray(ordinals, dtype=np.int64))
        for lattice, several in by_lattice.items():
            y, x, there = _places(lattice, height, width)
            alive = np.zeros((len(several), len(y)), dtype=bool)
            for row, ordinals in zip(alive, several, strict=True):
                row[ordinals[ordinals < len(y)]] = True
            np.add.at(shown, (y[there], x[there]), len(several))
            np.add.at(kept, (y[there], x[there]), alive.sum(axis=0)[there])
        shares[str(strategy), str(budget)] = kept / np.maximum(shown, 1)
    return shares


def _places(lattice: tuple[int, ...], height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of every token of a lattice on a map of another size, and whether it lies in the image at all."""
    t, h, w, lead = lattice
    ordinal = np.arange(t * (lead + h * w)) % (lead + h * w) - lead
    patch = np.maximum(ordinal, 0)
    y, x = ((patch // w + 0.5) * height / h).astype(int), ((patch % w + 0.5) * width / w).astype(int)
    return y, x, ordinal >= 0


def bias(rates: Floats) -> float:
    """Distance of a map from an even one: the share of the kept tokens that would have to move, 0 to 1."""
    total = rates.sum()
    return float(np.abs(rates / total - 1 / rates.size).sum() / 2) if total > 0 else float("nan")


def agreement(samples: pd.DataFrame) -> pd.DataFrame:
    """Compute how much of what two strategies keep is the same.

    Args:
        samples: Rows of one model, thinned or not.

    Returns:
        One row per budget and pair, with columns budget, a, b, overlap and chance. ``overlap`` is the mean over samples
        of |A and B| / |A or B|; ``chance`` is the same for two sets of those sizes drawn at random (expected
        intersection over expected union).
    """
    rows: list[dict[Hashable, object]] = []
    for budget, here in samples[samples["kept"].map(is_known)].groupby("budget", sort=False):
        asked = pd.MultiIndex.from_frame(here[["task", "sample"]])
        order = asked.unique()
        here = here.assign(place=order.get_indexer(asked))
        sets = {str(name): _sets(own, len(order)) for name, own in here.groupby("strategy", sort=False)}
        for a, b in combinations(sets, 2):
            (in_a, many_a, n), (in_b, many_b, _) = sets[a], sets[b]
            both = (in_a & in_b).sum(axis=1)
            either = many_a + many_b - both
            sizes = many_a * many_b / n
            union = many_a + many_b - sizes
            some = either > 0
            if some.any():
                overlap, chance = (both[some] / either[some]).mean(), (sizes[some] / union[some]).mean()
                rows.append({"budget": budget, "a": a, "b": b, "overlap": overlap, "chance": chance})
    return pd.DataFrame(rows, columns=["budget", "a", "b", "overlap", "chance"])


def _sets(rows: pd.DataFrame, samples: int) -> tuple[np.ndarray, Ints, Floats]:
    """``[N, V]`` which tokens a cell keeps of each sample, ``[N]`` how many these are, and ``[N]`` how many there were."""
    tokens, places = np.ones(samples), rows["place"].to_numpy()
    tokens[places] = rows["visual_tokens"]
    kept = np.zeros((samples, int(tokens.max())), dtype=bool)
    for at, ordinals in zip(places, rows["kept"], strict=True):
        kept[at, np.asarray(ordinals, dtype=np.int64)] = True
    return kept, kept.sum(axis=1), tokens

"""The A/A check: vanilla run twice shows how often answers differ for no reason."""

from typing import NamedTuple

import pandas as pd
from scipy import special

from tokenbench.contract.cells import VANILLA

__all__ = ["AGAIN", "Disagreement", "flips", "mark_noise_floor"]

AGAIN = "B:vanilla"
"""Vanilla's second run, where it answered otherwise than the first."""
FLOOR = "at_noise_floor"


class Disagreement(NamedTuple):
    """How often vanilla's scores on one task differ between two runs of it."""

    samples: int = 0
    """How many samples differ."""
    clusters: int = 0
    """How many images these samples are on."""

    @property
    def variance(self) -> float:
        """Upper 95 % limit of the variance of the difference of the two sums of scores.

        Disagreements come as a Poisson process does, of which none seen is no proof that there are none. Those on one image go
        together.
        """
        together = self.samples / self.clusters if self.clusters else 1.0
        return float(special.gammaincinv(self.samples + 1, 0.95)) * together


def mark_noise_floor(pairs: pd.DataFrame, again: str = AGAIN) -> pd.DataFrame:
    """Add a column ``at_noise_floor``: whether a and b differ on no more samples than the two runs of vanilla.

    Args:
        pairs: The pairs of a comparison. Within a model and task, every pair is on the same samples, so that counts
            stand for rates.
        again: The name of vanilla's second run. A model without such a cell answered alike both times, without a flip.
    """
    differing, key = pairs["a_better"] + pairs["b_better"], ["model", "task"]
    own = (pairs["a"] == again) & (pairs["b"] == VANILLA)
    counts = pairs[own].assign(flips=differing[own]).set_index(key)["flips"]
    return pairs.assign(**{FLOOR: differing <= pairs[key].join(counts, on=key)["flips"].fillna(0)})


def flips(pairs: pd.DataFrame, model: str) -> dict[str, Disagreement] | None:
    """Count how often vanilla flipped on each task; a task is missing where it never did. None for pairs without an A/A check."""
    if FLOOR not in pairs:
        return None
    own = pairs[(pairs["model"] == model) & (pairs["a"] == AGAIN) & (pairs["b"] == VANILLA)]
    return {
        row["task"]: Disagreement(int(row["a_better"] + row["b_better"]), int(row["discordant"]))
        for row in own.to_dict("records")
    }

"""The A/A check: vanilla run twice shows how often answers differ for no reason."""

from typing import NamedTuple

import pandas as pd
from scipy import special

from tokenbench.contract.cells import VANILLA, plain_name

__all__ = ["Disagreement", "flips", "is_again", "mark_noise_floor"]

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


def is_again(strategy: str) -> bool:
    """Whether this is vanilla of another run, which answered otherwise than the vanilla that everything is compared with."""
    return strategy != VANILLA and plain_name(strategy) == VANILLA


def mark_noise_floor(pairs: pd.DataFrame) -> pd.DataFrame:
    """Add a column ``at_noise_floor``: whether a and b differ on no more samples than two runs of vanilla.

    Of several other runs of vanilla, the one that differs most counts. A model without any answered alike every time, without a flip.

    Args:
        pairs: The pairs of a comparison. Within a model and task, every pair is on the same samples, so that counts
            stand for rates.
    """
    differing, key = pairs["a_better"] + pairs["b_better"], ["model", "task"]
    counts = pairs[_of_vanilla(pairs)].assign(flips=differing).groupby(key)["flips"].max()
    return pairs.assign(**{FLOOR: differing <= pairs[key].join(counts, on=key)["flips"].fillna(0)})


def flips(pairs: pd.DataFrame, model: str) -> dict[str, Disagreement] | None:
    """Count how often vanilla flipped on each task; a task is missing where it never did. None for pairs without an A/A check."""
    if FLOOR not in pairs:
        return None
    own = pairs[(pairs["model"] == model) & _of_vanilla(pairs)]
    found = [
        (row["task"], Disagreement(int(row["a_better"] + row["b_better"]), int(row["discordant"])))
        for row in own.to_dict("records")
    ]
    return dict(sorted(found, key=lambda one: one[1].samples))  # of several runs the one that differs most


def _of_vanilla(pairs: pd.DataFrame) -> "pd.Series[bool]":
    return (pairs["b"] == VANILLA) & pairs["a"].map(is_again).astype(bool)

"""The A/A check: vanilla run twice shows how often answers differ for no reason."""

import pandas as pd

from tokenbench.comparison.panel import VANILLA

__all__ = ["with_noise_floor"]


def with_noise_floor(pairs: pd.DataFrame, again: str) -> pd.DataFrame:
    """The pairs with a column ``at_noise_floor``: whether a and b differ on no more samples than the two runs of vanilla.

    Args:
        pairs: of a comparison; within a model and task every pair is on the same samples, so counts stand for rates.
        again: name of vanilla's second run; a model without such a cell has answered alike both times, without a flip.
    """
    differing, key = pairs["a_better"] + pairs["b_better"], ["model", "task"]
    own = (pairs["a"] == again) & (pairs["b"] == VANILLA)
    flips = pairs[own].assign(flips=differing[own]).set_index(key)["flips"]
    return pairs.assign(at_noise_floor=differing <= pairs[key].join(flips, on=key)["flips"].fillna(0))

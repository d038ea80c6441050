"""Paired, clustered statistics: pure functions on arrays that know nothing of models, strategies or files."""

from tokenbench.statistics.cells import change_interval, design_effect, score_intervals
from tokenbench.statistics.clusters import TaskSums, cluster_sums, influence
from tokenbench.statistics.contrasts import Contrasts, Pairing, Scale, change, contrasts
from tokenbench.statistics.family import Family, Look, family
from tokenbench.statistics.limits import Critical, detectable, limits, score_limits, smallest_margin, statistic
from tokenbench.statistics.seeds import SeedSpread, averaging_matrix, seed_spread
from tokenbench.statistics.signflip import Flips, SignFlip, flips, sign_flip
from tokenbench.statistics.strata import WITHIN, stratum_weights
from tokenbench.statistics.tilt import Sizes, tilted_limits, tilted_statistic

__all__ = [
    "WITHIN",
    "Contrasts",
    "Critical",
    "Family",
    "Flips",
    "Look",
    "Pairing",
    "Scale",
    "SeedSpread",
    "SignFlip",
    "Sizes",
    "TaskSums",
    "averaging_matrix",
    "change",
    "change_interval",
    "cluster_sums",
    "contrasts",
    "design_effect",
    "detectable",
    "family",
    "flips",
    "influence",
    "limits",
    "score_intervals",
    "score_limits",
    "seed_spread",
    "sign_flip",
    "smallest_margin",
    "statistic",
    "stratum_weights",
    "tilted_limits",
    "tilted_statistic",
]

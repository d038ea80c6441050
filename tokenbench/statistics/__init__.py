"""Paired, clustered statistics: pure functions on arrays that know nothing of models, strategies or files."""

from tokenbench.statistics.cells import CellMean, bounded_interval, cell_mean, clopper_pearson, wilson
from tokenbench.statistics.clusters import Interval, cluster_sums, influence
from tokenbench.statistics.estimates import Estimates, Part
from tokenbench.statistics.family import Family, family
from tokenbench.statistics.intervals import detectable, samples_needed, score_interval, tango_interval
from tokenbench.statistics.pairs import Pair, pair
from tokenbench.statistics.retention import TaskSums, mean_score, retention
from tokenbench.statistics.seeds import SeedEffect, average_seeds, averaging, seed_effect
from tokenbench.statistics.signflip import SignFlip, sign_flip

__all__ = [
    "CellMean",
    "Estimates",
    "Family",
    "Interval",
    "Pair",
    "Part",
    "SeedEffect",
    "SignFlip",
    "TaskSums",
    "average_seeds",
    "averaging",
    "bounded_interval",
    "cell_mean",
    "clopper_pearson",
    "cluster_sums",
    "detectable",
    "family",
    "influence",
    "mean_score",
    "pair",
    "retention",
    "samples_needed",
    "score_interval",
    "seed_effect",
    "sign_flip",
    "tango_interval",
    "wilson",
]

"""Quantities that depend smoothly on cluster sums, and what is needed to test any contrast of them.

A cluster that occurs in several tasks (one image, two question sets) is one cluster: its influences are added over
the tasks before anything is squared or given a random sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tokenbench.statistics.clusters import Floats, Ints, correction


@dataclass(frozen=True)
class Part:
    """Influence of one task's clusters on C estimates.

    Attributes:
        index: ``[G_t]`` the task's clusters, as positions among all clusters.
        weights: ``[G_t]`` share of the task's samples, summing to one.
        psi: ``[G_t, C]`` influence values; columns sum to zero.
    """

    index: Ints
    weights: Floats
    psi: Floats


@dataclass(frozen=True)
class Estimates:
    """C estimates with their influence values by task and their variance between seeds.

    Attributes:
        value: ``[C]``.
        parts: one per task.
        clusters: number G of clusters over all tasks.
        noise: ``[S, C]`` standard deviation that each of S independent sources (the seeds of a stochastic cell)
            gives to each estimate, with sign.
        noise_df: ``[S]`` degrees of freedom of each source.
    """

    value: Floats
    parts: Sequence[Part]
    clusters: int
    noise: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    noise_df: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not self.noise.size:
            object.__setattr__(self, "noise", np.zeros((0, len(self.value))))
            object.__setattr__(self, "noise_df", np.zeros(0))

    def contrast(self, matrix: Floats) -> "Estimates":
        """Linear combinations: ``matrix`` is ``[C, D]``, the result has D estimates."""
        parts = [Part(part.index, part.weights, part.psi @ matrix) for part in self.parts]
        return Estimates(self.value @ matrix, parts, self.clusters, self.noise @ matrix, self.noise_df)

    def psi(self) -> Floats:
        """``[G, C]`` influence of each cluster, added over the tasks it occurs in."""
        return self._merge([part.psi for part in self.parts])

    def shift(self) -> Floats:
        """``[G, C]`` how a shift of each estimate is laid on the clusters; columns sum to one.

        Tasks take part in proportion to their share of the variance, clusters in proportion to their samples.
        """
        own = self._own_variance
        total = own.sum(axis=0)
        share = np.where(total > 0, own / np.where(total > 0, total, 1.0), 1 / len(self.parts))
        return self._merge([np.outer(part.weights, row) for part, row in zip(self.parts, share, strict=True)])

    @cached_property
    def noise_variance(self) -> Floats:
        """``[C]`` variance between seeds."""
        return np.asarray((self.noise**2).sum(axis=0))

    @cached_property
    def sampling_variance(self) -> Floats:
        """``[C]`` variance between clusters (CR1 in each task)."""
        return np.asarray((self._scaled() ** 2).sum(axis=0))

    @cached_property
    def se(self) -> Floats:
        """``[C]`` standard error: clusters and seeds."""
        return np.sqrt(self.sampling_variance + self.noise_variance)

    @cached_property
    def df(self) -> Floats:
        """``[C]`` Satterthwaite degrees of freedom.

        Tasks without common clusters have independent variances; those of tasks that share clusters are taken as
        perfectly dependent, so that tasks on the same G images have G - 1 degrees of freedom together.
        """
        scaled, own = self._scaled(), np.sqrt(self._own_variance)
        parts = (self.noise**4 / self.noise_df[:, None]).sum(axis=0)
        for group in linked(self.parts):
            members = np.unique(np.concatenate([self.parts[t].index for t in group]))
            variance = (scaled[members] ** 2).sum(axis=0)
            weight = np.array([own[t] ** 2 for t in group])
            freedom = np.array([len(self.parts[t].index) - 1 for t in group], dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = variance * (weight / np.sqrt(freedom)[:, None]).sum(axis=0) / weight.sum(axis=0)
            parts = parts + np.where(variance > 0, spread**2, 0.0)
        total = self.sampling_variance + self.noise_variance
        fallback = float(min(len(part.index) for part in self.parts) - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0, total**2 / parts, fallback)

    @cached_property
    def _own_variance(self) -> Floats:
        """``[T, C]`` variance from each task alone."""
        return np.array([correction(len(part.index)) * (part.psi**2).sum(axis=0) for part in self.parts])

    def _scaled(self) -> Floats:
        return self._merge([np.sqrt(correction(len(part.index))) * part.psi for part in self.parts])

    def _merge(self, values: Sequence[Floats]) -> Floats:
        merged = np.zeros((self.clusters, len(self.value)))
        for part, value in zip(self.parts, values, strict=True):
            merged[part.index] += value  # a task names each of its clusters once
        return merged


def linked(parts: Sequence[Part]) -> list[list[int]]:
    """Group tasks that share clusters, directly or through others."""
    groups: list[tuple[list[int], set[int]]] = []
    for task, part in enumerate(parts):
        members, clusters = [task], set(part.index.tolist())
        apart = []
        for group in groups:
            if clusters.isdisjoint(group[1]):
                apart.append(group)
            else:
                members, clusters = group[0] + members, clusters | group[1]
        groups = [*apart, (members, clusters)]
    return [members for members, _ in groups]

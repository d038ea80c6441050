"""Before GPU time is spent: how many samples a difference needs, how wide intervals will be, and how long it takes.

All differences are points of score on one task or on the mean over tasks with the same number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from tokenbench.statistics.intervals import samples_needed
from tokenbench.statistics.quantiles import normal_critical

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Assumptions", "Plan", "assumed", "plan"]


@dataclass(frozen=True)
class Assumptions:
    """What a plan rests on.

    Attributes:
        discordance: share of samples on which two strategies differ.
        deff: design effect of a difference: how many times its variance grows because questions share images.
        seconds: of one answer on one device; None if unknown.
    """

    discordance: float = 0.18
    deff: float = 1.3
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to expect.

    Attributes:
        difference, samples, comparisons, about: what was asked.
        single: samples to find the difference in one comparison declared beforehand (power 80 %, error 5 %).
        family: the same when it is one of ``comparisons``, all adjusted.
        margin: samples to show a loss smaller than the difference for a strategy without any loss (one-sided 2.5 %).
        width: half the expected 95 % interval of a difference, in points, with ``samples``.
        detectable: difference found with power 80 % with ``samples``, adjusted, in points.
        answers: to be given in all. hours: of one device; None if unknown.
    """

    difference: float
    samples: int
    comparisons: int
    about: Assumptions
    single: int
    family: int
    margin: int
    width: float
    detectable: float
    answers: int
    hours: float | None

    def lines(self) -> list[str]:
        """For a person to read."""
        shown, about = f"{self.difference:g} point{'' if self.difference == 1 else 's'} of score", self.about
        hours = (
            f"about {self.hours:,.1f} device hours" if self.hours is not None else "for hours give --seconds or --pilot"
        )
        return [
            f"assumed: two strategies differ on {about.discordance:.1%} of the samples; design effect {about.deff:.2f}",
            f"samples to find a difference of {shown} (power 80 %, error 5 %):",
            f"{self.single:>12,}  in one comparison declared beforehand",
            f"{self.family:>12,}  in a table of {self.comparisons:,} pairs, adjusted (an upper bound)",
            f"samples to show, for a strategy without any loss, that it loses less than {shown}:",
            f"{self.margin:>12,}",
            f"with {self.samples:,} samples: 95 % interval of a difference ± {self.width:.2f} points; detectable in the table {self.detectable:.2f}",
            f"answers: {self.answers:,}; {hours}",
        ]


def plan(difference: float, samples: int, strategies: int, budgets: int, about: Assumptions) -> Plan:
    """Plan a run.

    Args:
        difference: to be found, in points of score.
        samples: over all tasks.
        strategies: without vanilla.
        budgets: of each.
        about: what is assumed.
    """
    delta = difference / 100
    comparisons = max(1, budgets * strategies * (strategies - 1) // 2)
    variance = max(about.discordance - delta**2, 1e-9)
    # Bonferroni: an upper bound on what the max-T family needs, which knows how the comparisons go together.
    adjusted = 0.05 / comparisons
    deff, n = about.deff, max(1, samples)
    se = sqrt(about.discordance * deff / n)
    answers = samples * (1 + strategies * budgets)
    return Plan(
        difference=difference,
        samples=samples,
        comparisons=comparisons,
        about=about,
        single=round(samples_needed(delta, variance, deff=deff)),
        family=round(samples_needed(delta, variance, deff=deff, alpha=adjusted)),
        margin=round(samples_needed(delta, about.discordance, deff=deff)),
        width=100 * normal_critical(0.025) * se,
        detectable=100 * (normal_critical(adjusted / 2) + normal_critical(0.2)) * se,
        answers=answers,
        hours=answers * about.seconds / 3600 if about.seconds is not None else None,
    )


def assumed(samples: pd.DataFrame) -> Assumptions:
    """Assumptions measured on a pilot run: medians over its pairs of strategies at one budget, or against vanilla."""
    import numpy as np

    from tokenbench.comparison.panel import panels
    from tokenbench.statistics.clusters import cluster_sums, correction

    shares: list[float] = []
    effects: list[float] = []
    for panel in panels(samples.assign(kept=samples["kept"].map(len))):
        for task, averages in zip(panel.tasks, panel.averages, strict=True):
            _, codes = np.unique(task.codes, return_inverse=True)
            clusters = int(codes.max()) + 1
            for a, cell in enumerate(panel.cells):
                others = [0] + [b for b in range(a + 1, len(panel.cells)) if panel.cells[b].budget == cell.budget]
                for b in (other for other in others if other != a and a):
                    d = averages[:, a] - averages[:, b]
                    naive = float(((d - d.mean()) ** 2).sum())
                    sums = cluster_sums(d - d.mean(), codes, clusters)
                    shares.append(float((d**2).mean()))
                    effects.append(correction(clusters) * float((sums**2).sum()) / naive if naive > 0 else float("nan"))
    known = [effect for effect in effects if effect == effect]
    return Assumptions(
        discordance=float(np.median(shares)) if shares else Assumptions.discordance,
        deff=max(1.0, float(np.median(known))) if known else 1.0,
        seconds=float(samples["seconds"].mean()) if "seconds" in samples else None,
    )

"""Compare the cells of a run: scores and retention with intervals, and every pair with a verdict.

Families (tests are adjusted within one, per model):

* ``F1`` every strategy and budget against vanilla, on retention over all tasks: max-T, simultaneous intervals;
* ``F2`` every pair of strategies at the same budget, on retention over all tasks: max-T, simultaneous intervals;
* ``F3`` every comparison on a single task: exploratory, false discovery rate, pointwise intervals.

Several models together have families ``F1`` and ``F2`` of their own, on retention over all models and tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from tokenbench.comparison.looks import Looks
from tokenbench.comparison.measures import Measures, measure
from tokenbench.comparison.pairs import PAIR_COLUMNS, Settings, pair_rows
from tokenbench.comparison.panel import panels, together
from tokenbench.comparison.skill import with_skill
from tokenbench.comparison.summary import MEAN, summary_rows
from tokenbench.comparison.warnings import reader_warnings

__all__ = ["ALPHA", "MEAN", "Comparison", "compare"]

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """What a report shows.

    Attributes:
        summary: one row per model, strategy, budget and task, and one with task ``mean`` (unweighted mean over the
            tasks). ``score`` and ``retention`` (1 is vanilla's) are fractions, with pointwise 95 % intervals; ``n`` counts samples, not
            samples times seeds; ``deff`` is the design effect of the clusters. ``skill_random`` and ``skill_downsample`` say
            how much of the way from that floor to vanilla a cell goes.
        pairs: one row per comparison ``a`` minus ``b``. ``difference``, ``low`` and ``high`` are differences of
            score for a single task and of *retention* for task ``mean``, fractions as well. ``p`` is adjusted within ``family``,
            ``p_unadjusted`` is not. ``mde`` is the smallest difference this comparison would have found (power 0.8);
            ``discordant`` counts clusters scored differently, ``a_better`` and ``b_better`` samples.
            ``p_noninferior`` (one-sided, adjusted, to be held against alpha / 2) and ``samples_needed`` (to decide
            the margin, roughly) exist against vanilla only. ``cost_ratio`` is realised tokens of a over those of b. ``tasks_low`` and ``tasks_high`` (task ``mean`` only) are limits for other
            tasks like these, pointwise, from the spread between tasks: a different claim, never tested.
        models: names.
        tasks: names, without ``mean``.
        samples: number of samples over all tasks (the largest over models).
        clusters: number of distinct clusters among them.
        alpha: error of each family.
        margin: points of retention, for the words "within" and "more than".
        resamples: random sign vectors per family; ten times as many where a p value comes close to alpha.
        seed: of those.
        warnings: sentences for the reader.
        together: the mean over all models and tasks, of the cells that every model has, as a comparison of one model
            named ``all models together``; task ``mean`` alone. It speaks of new images for these models, not of other
            models. None for a single model.
    """

    summary: pd.DataFrame
    pairs: pd.DataFrame
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    samples: int
    clusters: int
    alpha: float
    margin: float
    resamples: int
    seed: int
    warnings: tuple[str, ...]
    together: "Comparison | None" = None


def compare(
    samples: pd.DataFrame, *, margin: float = 1.0, resamples: int = 9999, seed: int = 0, looks: Looks | None = None
) -> Comparison:
    """Compare all cells of a run on the samples that every cell of a model has scored.

    Args:
        samples: one row per cell and sample, with columns model, strategy, budget, seed, task, sample, cluster,
            score (in [0, 1]), kept, visual_tokens, realised_tokens, flops, cache_bytes and evidence_recall. The order of
            the rows does not matter.
        margin: loss in points of retention that is declared, before the run, to be of no importance.
        resamples: random sign vectors per family.
        seed: of those; the same seed gives the same numbers.
        looks: the looks at these samples so far, this one included; samples then have a column ``look``.

    Raises:
        SamplesError: the samples cannot be compared (see ``panels``).
    """
    if looks and looks.frozen:
        gone = pd.MultiIndex.from_frame(samples[["model", "strategy", "budget"]]).isin(list(looks.frozen))
        samples = samples[~gone]
    found = [measure(panel, ALPHA) for panel in panels(samples)]
    whole = together(samples)
    settings = Settings(margin, resamples, seed)
    compared = _compared(found, settings)
    if whole is None:
        return compared
    averaged = _compared([measure(whole, ALPHA)], settings)
    return replace(compared, together=replace(averaged, tasks=compared.tasks, warnings=()))


def _compared(found: Sequence[Measures], settings: Settings) -> Comparison:
    panels = [measures.panel for measures in found]
    summary = [row for measures in found for row in summary_rows(measures)]
    pairs = [row for measures in found for row in pair_rows(measures, settings)]
    return Comparison(
        summary=with_skill(pd.DataFrame(summary)),
        pairs=pd.DataFrame(pairs, columns=PAIR_COLUMNS),
        models=tuple(panel.model for panel in panels),
        tasks=tuple(sorted({task.name for panel in panels for task in panel.tasks})),
        samples=max(panel.samples for panel in panels),
        clusters=max(len(panel.clusters) for panel in panels),
        alpha=ALPHA,
        margin=settings.margin,
        resamples=settings.resamples,
        seed=settings.seed,
        warnings=tuple(text for measures in found for text in reader_warnings(measures)),
    )

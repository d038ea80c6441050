"""Compare the cells of a run: scores and retention with intervals, and every pair with a verdict.

Families (tests are adjusted within one, per model):

* ``F1`` every strategy and budget against vanilla, on retention over all tasks: max-T, simultaneous intervals;
* ``F2`` every pair of strategies at the same budget (of too many pairs those with a trivial baseline, see ``families``), on
  retention over all tasks: max-T, simultaneous intervals;
* ``F3`` every comparison on a single task: exploratory, false discovery rate, intervals of the level at which it
  rejects.

Every verdict is read off the interval that stands beside it. Several models together have families ``F1`` and ``F2`` of
their own, on retention over all models and tasks. Data that grow are looked at again: see ``looks``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from numbers import Real
from typing import TYPE_CHECKING

import pandas as pd

from tokenbench.comparison.families import describe_families, select_strategies
from tokenbench.comparison.looks import Looks
from tokenbench.comparison.missing import widen_for_missing
from tokenbench.comparison.model_looks import measure_looks
from tokenbench.comparison.pairs import (
    MEAN,
    PAIR_COLUMNS,
    ModelLook,
    Row,
    Settings,
    families_of,
    pair_rows,
    withhold_verdicts,
)
from tokenbench.comparison.panel import TOGETHER, Scopes, Treatment
from tokenbench.comparison.skill import add_skill
from tokenbench.comparison.summary import Limits, summary_rows
from tokenbench.comparison.task_samples import Fill
from tokenbench.comparison.turns import add_turns
from tokenbench.comparison.warnings import reader_warnings
from tokenbench.errors import UsageError
from tokenbench.statistics import Scale
from tokenbench.statistics.spending import SPENDING, spend_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenbench.comparison.plots import PlotKind

__all__ = ["ALPHA", "MEAN", "Comparison", "Looks", "add_turns", "compare"]

ALPHA = 0.05


@dataclass(frozen=True, repr=False)
class Comparison:
    """What a report shows. In a notebook and at a prompt it shows its main table; ``plot`` draws it."""

    summary: pd.DataFrame
    """One row per model, strategy, budget and task, and one with task ``mean`` (over the tasks, unweighted).

    ``score`` and ``retention`` (1 is vanilla's) are fractions with 95 % limits. Limits are pointwise, but for
    ``retention`` over all tasks: there they are those of family ``F1``, which the verdict is read off. ``n`` counts
    samples, not samples times seeds; ``deff`` is the design effect of the clusters. ``skill_random`` and
    ``skill_downsample`` say how much of the way from that floor to vanilla a cell goes.
    """
    pairs: pd.DataFrame
    """One row per comparison ``a`` minus ``b``.

    ``difference``, ``low`` and ``high`` are differences of score for a single task and of *retention* for task
    ``mean``, fractions as well. ``p`` is adjusted within ``family``, ``p_unadjusted`` is not. ``verdict`` is a
    ``Verdict``. ``mde`` is the smallest difference this comparison would have found (power 0.8), ``smallest_margin``
    the smallest margin within which a strategy without any difference could have been shown non-inferior.
    ``discordant`` counts clusters scored differently, ``a_better`` and ``b_better`` samples. ``samples_needed`` (to
    decide the margin with power 0.8) exists against vanilla only. ``missing`` counts answers that one of the cells
    lacks; ``if_wrong`` and ``if_vanilla`` are the difference if they were wrong, or as vanilla's. ``cost_ratio`` is
    realised tokens of a over those of b. ``tasks_low`` and ``tasks_high`` (task ``mean`` only) are limits for other
    tasks like these, from the spread between tasks: a different claim, never tested. ``look`` is the last look at which
    both cells ran.
    """
    models: tuple[str, ...]
    """Their names."""
    tasks: tuple[str, ...]
    """Their names, without ``mean``."""
    samples: int
    """The number of samples over all tasks (the largest over models)."""
    clusters: int
    """The number of distinct clusters among them."""
    alpha: float
    """The error of each family."""
    margin: float
    """Points of accuracy kept, for the words "within" and "more than"."""
    resamples: int
    """Random sign vectors per family; ten times as many where a statistic comes close to its critical value."""
    seed: int
    """The seed of the random signs."""
    warnings: tuple[str, ...]
    """Sentences for the reader."""
    ratio_of_means: tuple[str, ...] = ()
    """Models whose retention over all tasks is the retention of the mean score, since vanilla is near zero on a task."""
    looks: Looks | None = None
    """How often verdicts were shown on growing data; None if once."""
    left_out: int = 0
    """Pairs of strategies at equal budget that are not compared, since there are too many; of the model with the most."""
    together: "Comparison | None" = None
    """The mean over all models and tasks, of the cells that every model has, as a comparison of one model named ``all
    models together``; task ``mean`` alone. It speaks of new images for these models, not of other models. None for a
    single model."""
    turns: pd.DataFrame | None = None
    """How much later questions lose that are asked of the tokens that the first one left (see ``compare_turns``); None for a run
    without turns."""

    units: pd.DataFrame | None = None
    """The samples behind it, as ``compare`` took them."""
    scopes: Scopes = field(default_factory=dict)
    """Which samples one draw of a strategy may affect."""

    @cached_property
    def where(self) -> pd.DataFrame:
        """Where strategies lose, with the columns of ``where.csv``; every sample counts once, and limits are pointwise.

        ``change`` is the score minus vanilla's. A sample is ``easy`` if the floor ``downsample`` answers it right at the same budget.
        """
        from tokenbench.comparison.where import locate_losses

        return locate_losses(
            self.units if self.units is not None else pd.DataFrame(columns=["model"]), self.scopes, self.alpha
        )

    def of(self, model: str) -> "Comparison":
        """The comparison that holds a model: this one, or that of all models together."""
        return self.together if self.together is not None and model in self.together.models else self

    def plot(
        self,
        kind: "PlotKind" = "accuracy-cost",
        *,
        model: str | None = None,
        budget: str | None = None,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Draw one of the report's plots with matplotlib, and return its axes.

        Args:
            kind: ``accuracy-cost`` (retention against FLOPs), ``retention`` (over the budgets), ``differences`` (of the
                retention of all pairs at one budget; of more than 30 pairs, those with the highest strategy) or
                ``ranks`` (those that the verdicts leave open, at one budget). Whiskers and bands are the simultaneous 95 % intervals that the
                verdicts are read off.
            model: The model to show; it may be left out if there is only one.
            budget: The budget whose differences or ranks are shown; by default the smallest one with several strategies.
            ax: The axes to draw on; by default those of a new figure.

        Raises:
            MachineError: If matplotlib is not installed.
            UsageError: If the kind, the model or the budget is unknown, or the comparison has nothing of the kind to
                show.
        """
        from tokenbench.comparison.plots import plot

        return plot(self, kind, model, budget, ax)

    def __repr__(self) -> str:
        from tokenbench.comparison.showing import show_text

        return show_text(self)

    def _repr_html_(self) -> str:
        from tokenbench.comparison.showing import show_html

        return show_html(self)

    def _repr_markdown_(self) -> str:
        from tokenbench.comparison.showing import show_markdown

        return show_markdown(self)


def compare(
    samples: pd.DataFrame,
    *,
    margin: float = 1.0,
    resamples: int = 9999,
    seed: int = 0,
    scopes: Scopes | None = None,
    looks: Looks | None = None,
    strategies: Collection[str] = (),
) -> Comparison:
    """Compare all cells of a run on the samples that every cell of a model has scored.

    Args:
        samples: One row per cell and sample, with columns model, strategy, budget, seed, task, sample, cluster, score (in
            [0, 1]), kept, visual_tokens, realised_tokens, flops, cache_bytes, evidence_recall, and look with ``looks``.
        margin: Loss in points of accuracy kept that is declared, before the run, to be of no importance.
        resamples: Random sign vectors per family.
        seed: Seed of the random signs; the same seed gives the same numbers.
        scopes: By strategy, ``sample`` if its seed draws anew for every sample, or ``run`` (by default) if one draw may affect all.
        looks: The looks at which verdicts were shown while the data grew, the present one last.
        strategies: The strategies to compare with vanilla and with each other; all by default.

    Raises:
        SamplesError: If the samples cannot be compared (see ``panels``).
        UsageError: If one of ``strategies`` is not among the samples, or the margin is negative or no finite number.
    """
    if not (isinstance(margin, Real) and 0 <= margin < inf):
        raise UsageError(f"margin: {margin!r:.60} is not a number of points from 0 on")
    samples = select_strategies(samples, strategies)
    settings = Settings(margin, resamples, seed, SPENDING[looks.spending] if looks else spend_all)
    models = sorted(map(str, samples["model"].unique()))
    compared = _collect([_model(samples, model, settings, scopes, looks) for model in models], settings, looks)
    warnings = (*describe_families(compared.left_out, strategies), *compared.warnings)
    compared = replace(compared, warnings=warnings, units=samples, scopes=scopes or {})
    whole = measure_looks(samples, TOGETHER, scopes, looks, None, ALPHA) if len(models) > 1 else []
    if not whole:
        return compared
    averaged = _collect([_rows(whole, settings, [])], settings, looks)
    return replace(compared, together=replace(averaged, tasks=compared.tasks, warnings=()))


@dataclass(frozen=True)
class _Model:
    """One model, or all together: what the last look saw, and the rows of both tables."""

    view: ModelLook
    """What the last look saw."""
    summary: list[Row]
    """The rows of the summary table."""
    pairs: list[Row]
    """The rows of the pairs table."""
    left_out: int
    """Pairs of strategies at equal budget that are not compared."""


def _model(samples: pd.DataFrame, model: str, settings: Settings, scopes: Scopes | None, looks: Looks | None) -> _Model:
    rows = samples[samples["model"].isin([name for name in samples["model"].unique() if str(name) == model])]
    views = measure_looks(rows, model, scopes, looks, None, ALPHA)
    fills: tuple[Fill, ...] = ("wrong", "as vanilla")
    lacking = any(view.measures.panel.missing for view in views)
    filled = (
        [pair_rows(measure_looks(rows, model, scopes, looks, fill, ALPHA), settings) for fill in fills]
        if lacking
        else []
    )
    return _rows(views, settings, filled)


def _rows(views: Sequence[ModelLook], settings: Settings, filled: Sequence[list[Row]]) -> _Model:
    pairs = pair_rows(views, settings)
    if filled:
        pairs = widen_for_missing(pairs, filled, _absent(views), settings.margin)
    last = views[-1].measures
    pairs = withhold_verdicts(pairs, {last.panel.cells[at] for at in last.contradicted})
    headline: dict[Treatment, Limits] = {
        Treatment(row["a"], row["budget"]): tuple(
            100 + 100 * row.get(name, float("nan")) for name in ("difference", "low", "high")
        )
        for row in pairs
        if row["family"] == "F1"
    }
    return _Model(views[-1], list(summary_rows(views, settings, headline)), pairs, families_of(views).left_out)


def _absent(views: Sequence[ModelLook]) -> dict[tuple[str, str, str], int]:
    """How many answers a strategy and budget lack, by task and over all of them."""
    found: dict[tuple[str, str, str], int] = {}
    panel = views[-1].measures.panel
    for task, lacking in panel.missing.items():
        for at, count in lacking.items():
            for name in (task, MEAN):
                key = (*panel.cells[at], name)
                found[key] = found.get(key, 0) + count
    return found


def _collect(found: Sequence[_Model], settings: Settings, looks: Looks | None) -> Comparison:
    last = [one.view.measures for one in found]
    return Comparison(
        summary=add_skill(pd.DataFrame([row for one in found for row in one.summary])),
        pairs=pd.DataFrame([row for one in found for row in one.pairs], columns=PAIR_COLUMNS),
        models=tuple(measures.panel.model for measures in last),
        tasks=tuple(sorted({task.name for measures in last for task in measures.tasks})),
        samples=max(measures.panel.samples for measures in last),
        clusters=max(measures.panel.images for measures in last),
        alpha=ALPHA,
        margin=settings.margin,
        resamples=settings.resamples,
        seed=settings.seed,
        warnings=tuple(text for measures in last for text in reader_warnings(measures)),
        ratio_of_means=tuple(m.panel.model for m in last if m.scale is Scale.RETENTION_OF_MEAN),
        looks=looks,
        left_out=max(one.left_out for one in found),
    )

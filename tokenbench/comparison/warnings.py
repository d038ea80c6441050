"""What a reader has to know beyond the tables of one model."""

from collections.abc import Iterator, Mapping
from math import sqrt

from tokenbench.comparison.measures import NEAR_ZERO, Measures, even_clusters
from tokenbench.statistics import Scale
from tokenbench.statistics.quantiles import student_critical

FEW_CLUSTERS = 20
"""From so many images of even size on, intervals were measured to cover as they should (docs/simulations.md)."""
LARGE_DEFF = 3.0
ENOUGH_SEEDS = 5


def reader_warnings(measures: Measures) -> Iterator[str]:
    """One sentence each, most serious first."""
    model, panel = measures.panel.model, measures.panel
    for at in measures.contradicted:
        strategy, budget = panel.cells[at]
        yield (
            f"{model}: error: {strategy} declares that its seed draws anew for every sample (seed_scope = 'sample'), but its seeds at "
            f"{budget} move the samples together; it has no verdict until it declares seed_scope = 'run'"
        )
    yield from _missing(measures)
    sizes = {task.name: even_clusters(sums.sizes) for task, sums in zip(measures.tasks, panel.sums, strict=True)}
    if measures.single:
        yield f"{model}: there is a single image in {', '.join(measures.single)}: its variance is unknown, so that there is no interval and no verdict"
    rough = {name: size for name, size in sizes.items() if size < FEW_CLUSTERS and name not in measures.single}
    if few := [f"{name} ({size:.0f})" for name, size in rough.items()]:
        yield f"{model}: fewer than {FEW_CLUSTERS} images of even size in {', '.join(few)}: intervals are rough"
    if measures.scale is not Scale.RETENTION:
        yield _near_zero(measures)
    if large := [task.name for task in measures.tasks if max(task.deff, default=0.0) > LARGE_DEFF]:
        yield f"{model}: questions on one image go together strongly (design effect above 3) in {', '.join(large)}"
    yield from _few_seeds(measures)


def _near_zero(measures: Measures) -> str:
    names, limit = ", ".join(measures.near_zero), f"{100 * NEAR_ZERO:g} %"
    if measures.scale is None:
        return f"{measures.panel.model}: accuracy kept is not defined: the lower limit of vanilla's score is not above {limit} on {names}"
    return (
        f"{measures.panel.model}: the lower limit of vanilla's score is not above {limit} on {names}, so that a mean of ratios means "
        "nothing; accuracy kept over all tasks is that of the mean score"
    )


def _missing(measures: Measures) -> Iterator[str]:
    panel = measures.panel
    names: dict[str, Mapping[int, int]] = dict(panel.missing)
    for task, lacking in names.items():
        total = next((len(one.codes) for one in panel.tasks if one.name == task), 0)
        if unknown := lacking.get(0, 0):
            what = (
                "a sample that others answered; it is"
                if unknown == 1
                else f"{unknown} samples that others answered; they are"
            )
            yield f"{panel.model}, {task}: vanilla has no answer to {what} left out of everything"
        cells = [
            f"{panel.cells[at].strategy} at {panel.cells[at].budget} ({count})" for at, count in lacking.items() if at
        ]
        if cells:
            yield (
                f"{panel.model}, {task}: answers are missing in {', '.join(cells)}; comparisons are on the {total} samples that every "
                "cell has, and intervals of these cells hold what they would be with missing answers counted as wrong"
            )


def _few_seeds(measures: Measures) -> Iterator[str]:
    """Strategies whose seeds may move all samples, with so few seeds that their intervals pay for it."""
    panel = measures.panel
    counts: dict[str, int] = {}
    for at, cell in enumerate(panel.cells):
        seeds = int((panel.cell == at).sum())
        if panel.shared[at] and 1 < seeds < ENOUGH_SEEDS:
            counts[cell.strategy] = seeds
    for strategy, seeds in counts.items():
        yield (
            f"{panel.model}: {strategy} ran with {seeds} seeds, each of which may move all samples: its intervals are up to "
            f"{_price(seeds, measures.alpha):.1f} times as wide as with ten seeds"
        )


def _price(seeds: int, alpha: float) -> float:
    """How many times as wide an interval may be with so few seeds as with ten, where the seeds decide its width."""
    few, ten = (float(student_critical(alpha / 2, count - 1)) / sqrt(count) for count in (seeds, 10))
    return few / ten

"""What a reader has to know beyond the tables of one model."""

from collections.abc import Iterator

from tokenbench.comparison.measures import NEAR_ZERO, Measures
from tokenbench.statistics.clusters import Floats

FEW_CLUSTERS = 30
"""Intervals were measured to cover too rarely, or far too often, from fewer images of even size (docs/simulations.md)."""
LARGE_DEFF = 3.0


def reader_warnings(measures: Measures) -> Iterator[str]:
    """One sentence each, most serious first."""
    model = measures.panel.model
    yield from measures.panel.warnings
    sizes = {task.name: even_clusters(task.sums.sizes) for task in measures.panel.tasks}
    if single := [task.name for task in measures.tasks if task.means[0].clusters < 2]:
        yield f"{model}: a single image in {', '.join(single)}: no interval can be given"
    rough = {name: size for name, size in sizes.items() if size < FEW_CLUSTERS and name not in single}
    if few := [f"{name} ({size:.0f})" for name, size in rough.items()]:
        yield f"{model}: fewer than {FEW_CLUSTERS} images of even size in {', '.join(few)}: intervals are rough"
    if out := [task.name for task in measures.tasks if task.retention is None]:
        limit = f"the lower limit of vanilla's score is not above {100 * NEAR_ZERO:g} %"
        yield f"{model}: no retention on {', '.join(out)}: {limit}; left out of mean retention"
    if large := [task.name for task in measures.tasks if max(cell.deff for cell in task.means) > LARGE_DEFF]:
        yield f"{model}: questions on one image go together strongly (design effect above 3) in {', '.join(large)}"
    for at in measures.marked:
        strategy, budget = measures.panel.cells[at]
        yield f"{model}: the seeds of {strategy} at {budget} differ by more than chance; with few seeds intervals are too narrow"


def even_clusters(sizes: Floats) -> float:
    """How many clusters of even size say as much: ``N^2 / sum n_g^2``; one image with most of the questions counts for all."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())

"""What a reader has to know beyond the tables of one model."""

from collections.abc import Iterator

from tokenbench.comparison.measures import NEAR_ZERO, Measures

FEW_CLUSTERS = 20
LARGE_DEFF = 3.0


def reader_warnings(measures: Measures) -> Iterator[str]:
    """One sentence each, most serious first."""
    model = measures.panel.model
    yield from measures.panel.warnings
    sizes = {task.name: task.means[0].clusters for task in measures.tasks}
    if single := [name for name, clusters in sizes.items() if clusters < 2]:
        yield f"{model}: a single image in {', '.join(single)}: no interval can be given"
    if few := [f"{name} ({clusters})" for name, clusters in sizes.items() if 1 < clusters < FEW_CLUSTERS]:
        yield f"{model}: fewer than {FEW_CLUSTERS} images in {', '.join(few)}: intervals are rough"
    if out := [task.name for task in measures.tasks if task.retention is None]:
        limit = f"the lower limit of vanilla's score is not above {100 * NEAR_ZERO:g} %"
        yield f"{model}: no retention on {', '.join(out)}: {limit}; left out of mean retention"
    if large := [task.name for task in measures.tasks if max(cell.deff for cell in task.means) > LARGE_DEFF]:
        yield f"{model}: questions on one image go together strongly (design effect above 3) in {', '.join(large)}"
    for at in measures.marked:
        strategy, budget = measures.panel.cells[at]
        yield f"{model}: the seeds of {strategy} at {budget} differ by more than chance; with few seeds intervals are too narrow"

"""What the ledger says about itself: what does not add up in one source, and where two sources differ.

These are two things. A mean that does not follow from its cells is wrong. Two sources that differ may both be right:
they may have run other versions, prompts or schedules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenbench.contract.cells import VANILLA
from tokenbench_reports.claims.printed import MEAN_RETENTION, Printed

__all__ = ["DIFFER", "SAME_SHARE", "audit", "does_not_follow", "find_differing"]

ROUNDING = 0.15
"""Points by which a printed mean may miss that of its rounded cells."""
DIFFER = 5.0
"""Points of accuracy kept by which two sources differ before it is said."""
SAME_SHARE = 0.005


def audit(rows: Sequence[Printed]) -> Iterator[str]:
    """What does not add up in print: means that do not follow from their cells, numbers in another's column."""
    for row in rows:
        if does_not_follow(row):
            cells = row.printed_cells.values()
            yield (
                f"{row.name}: the printed mean is {row.claims[MEAN_RETENTION].value:g}, but the mean of its {len(cells)} cells is "
                f"{sum(cells) / len(cells):.1f}"
            )
        if row.shifted:
            moved = [
                f"{task} is printed as {claim.value:g} but is {claim.right:g}"
                for task, claim in row.claims.items()
                if claim.corrected is not None
            ]
            yield f"{row.name}: " + "; ".join([row.note, *moved])


def does_not_follow(row: Printed) -> bool:
    """Whether the mean that a row prints is not that of the cells it prints."""
    mean, cells = row.claims.get(MEAN_RETENTION), row.printed_cells.values()
    return bool(mean and cells and row.method != VANILLA and abs(sum(cells) / len(cells) - mean.value) > ROUNDING)


def find_differing(rows: Sequence[Printed]) -> Iterator[str]:
    """Where two sources differ by more than ``DIFFER`` points of accuracy kept for the same method, model and budget."""
    for at, first in enumerate(rows):
        for second in rows[at + 1 :]:
            same = (first.method, first.backbone) == (second.method, second.backbone)
            near = abs(first.share - second.share) < SAME_SHARE
            if same and near and first.source != second.source and first.method != VANILLA:
                yield from _find_apart(first, second)


def _find_apart(first: Printed, second: Printed) -> Iterator[str]:
    both = {task: (value, second.cells[task]) for task, value in first.cells.items() if task in second.cells}
    apart = ", ".join(f"{task} {a:.1f} and {b:.1f}" for task, (a, b) in both.items() if abs(a - b) > DIFFER)
    if apart and first.put_right and second.put_right:
        yield f"{first.method} on {first.backbone} at {first.budget}: accuracy kept differs between {first.source} and {second.source}: {apart}"

"""What every look at a run saw of a model, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenbench.comparison.looks import Looks, rows_until
from tokenbench.comparison.measures import measure
from tokenbench.comparison.pairs import ModelLook
from tokenbench.comparison.panel import TOGETHER, Panel, Scopes, panels, together
from tokenbench.contract.cells import CELL

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from tokenbench.comparison.task_samples import Fill

__all__ = ["measure_looks"]


def measure_looks(
    rows: pd.DataFrame, model: str, scopes: Scopes | None, looks: Looks | None, fill: Fill | None, alpha: float
) -> list[ModelLook]:
    """What each look saw of a model, or of all models together.

    A look after which none of its cells ran on is not there.

    Args:
        rows: The samples of the model, or of all models.
        model: Its name; ``TOGETHER`` for all models.
        scopes: See ``compare``.
        looks: The looks at which verdicts were shown; None if there was one.
        fill: What missing answers are taken for.
        alpha: The error rate.
    """
    if looks is None:
        return [ModelLook(measure(panel, alpha)) for panel in _panels(rows, model, scopes, fill)]
    found: list[tuple[Panel, int]] = []
    for number in range(len(looks)):
        stopped = {cell for cell, at in looks.frozen.items() if at <= number}
        here = rows_until(rows, number + 1)
        if stopped:
            keys = zip(*(here[name].astype(str) for name in CELL), strict=True)
            here = here[[key not in stopped for key in keys]]
        found += [(panel, number) for panel in _panels(here, model, scopes, fill)] if len(here) else []
    # An image has one place, and so one sign, at every look.
    clusters = sorted({name for panel, _ in found for name in panel.clusters})
    return [
        ModelLook(measure(panel.among(clusters), alpha), number, looks.fractions[number]) for panel, number in found
    ]


def _panels(rows: pd.DataFrame, model: str, scopes: Scopes | None, fill: Fill | None) -> Iterator[Panel]:
    if model != TOGETHER:
        yield from panels(rows, scopes, fill)
    elif (whole := together(rows, scopes, fill)) is not None:
        yield whole

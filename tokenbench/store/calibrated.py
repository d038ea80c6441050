"""What `--match` found for the strategies that decide their own counts, as run.json holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.cells import CELL, IDENTITY

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.store.run import Run

__all__ = ["Calibration", "describe_calibrations", "describe_work", "read_calibrations", "write_calibrations"]

SPREAD = (0.05, 0.95)
"""Between these quantiles lie the costs of nine samples in ten."""


@dataclass(frozen=True)
class Calibration:
    """What was found for one cell on the samples that were held out."""

    base: str
    """The id that the cell would have without it."""
    model: str
    """The name of the model."""
    strategy: str
    """The canonical name of the strategy."""
    budget: str
    """The budget, as the user wrote it."""
    seed: int
    """The seed of the strategy."""
    task: str
    """The name of the task."""
    parameter: str
    """The parameter that was calibrated."""
    value: float | None
    """Its value; None if there is none that can be used."""
    unit: str
    """What `target` and `reached` count."""
    target: float
    """The mean work on these samples that the budget stands for."""
    reached: float
    """The mean work that the strategy does on them at this value."""
    held_out: int
    """How many samples these were."""
    kind: Literal["", "infeasible", "failed"] = ""
    """Why there is no value: the budget is out of reach, or the strategy failed."""
    reason: str = ""
    """The same in words."""


def read_calibrations(manifest: Mapping[str, Any]) -> dict[str, Calibration]:
    """Return what run.json holds, by `base`."""
    found = (Calibration(**one) for one in manifest.get("calibration", ()))
    return {one.base: one for one in found}


def write_calibrations(found: Iterable[Calibration]) -> list[dict[str, Any]]:
    """Return calibrations as run.json stores them."""
    return [asdict(one) for one in sorted(found, key=lambda one: one.base)]


def describe_calibrations(run: Run) -> list[dict[str, Any]]:
    """Describe how equal the calibrated cells' work is to that of their budgets.

    Returns:
        For every calibrated cell with answers, what run.json holds, and of its counted samples: `samples` (their number), and
        `tokens` and `flops`, each a list of the mean, the 5th and the 95th percentile of one sample's visual tokens (mean over the
        decoder layers) and FLOPs (encoder and prefill).
    """
    calibrated = [asdict(one) for one in read_calibrations(run.manifest).values() if one.value is not None]
    samples = run.measured if calibrated else None
    if samples is None or samples.empty:
        return []
    strategies = {one["strategy"] for one in calibrated}
    rows = samples[samples["strategy"].isin(strategies)]
    cells = {key: own for key, own in rows.groupby(list(IDENTITY), observed=True)}
    return [
        {
            **one,
            "samples": len(own),
            "tokens": _spread(own["realised_tokens"]),
            "flops": _spread(own["flops"]),
        }
        for one in calibrated
        if (own := cells.get(tuple(one[name] for name in IDENTITY))) is not None
    ]


def describe_work(run: Run) -> list[dict[str, Any]]:
    """Describe how equal the work is that `--match tokens` was to make equal, on the samples that count.

    Returns:
        For every model, strategy and budget, `reached` (the mean visual tokens per layer) and `asked` (those that the budget stands for).
        Nothing for runs that are not matched by tokens: FLOPs of the decoder alone are not recorded.
    """
    if run.manifest["spec"].get("match") != "tokens" or run.measured.empty:
        return []
    described = []
    known = run.measured[run.measured["visual_tokens"].notna()]
    for (model, strategy, budget), own in known.groupby(list(CELL), observed=True, sort=False):
        keep = Budget.read(str(budget)).keep
        if keep:  # not a strategy that takes no budget
            asked = own["visual_tokens"].map(lambda visual, keep=keep: count(keep, int(visual), int(visual)))
            means = {"reached": float(own["realised_tokens"].mean()), "asked": float(asked.mean())}
            described.append({"model": str(model), "strategy": str(strategy), "budget": str(budget), **means})
    return described


def _spread(values: pd.Series[float]) -> list[float]:
    return [float(values.mean()), *map(float, values.quantile(SPREAD))]

"""Units: what a task's metric counts, which may be several samples, such as MME's pairs of questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenbench.contract.cells import CELL, IDENTITY

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["by_unit", "mean_scores"]

AVERAGED = (
    "kept",
    "visual_tokens",
    "realised_tokens",
    "text_tokens",
    "flops",
    "cache_bytes",
    "evidence_recall",
    "evidence_height",
    "same",
)


def by_unit(samples: pd.DataFrame, rules: Mapping[str, str]) -> pd.DataFrame:
    """Merge the samples of each unit into one row, which has the name of the unit in the column `sample`.

    Scores stay in [0, 1]; costs are means.

    Args:
        samples: The samples, as `Run.samples` returns them, with `kept` as a count.
        rules: The `Task.unit_rule` by task. Tasks that are missing here stay as they are.
    """
    import pandas as pd

    if "unit" not in samples:
        return samples
    several = samples["task"].isin(rules) & samples.duplicated([*IDENTITY, "unit"], keep=False)
    if not several.any():
        return samples
    parts = [samples[~several]]
    for task, rows in samples[several].groupby("task", sort=False, observed=True):
        groups = rows.groupby([*IDENTITY, "unit"], sort=False, observed=True)
        mean, every = groups["score"].mean(), groups["score"].min()
        units = groups.first()
        units["score"] = {"mean": mean, "all": every, "mean+all": (mean + every) / 2}[rules[str(task)]]
        for name in (name for name in AVERAGED if name in samples):
            units[name] = groups[name].mean()
        units = units.reset_index()
        parts.append(units.assign(sample=units["unit"])[samples.columns])
    return pd.concat(parts, ignore_index=True)


def mean_scores(units: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score of every strategy and budget on every task. The strata of a task have equal weight."""
    from tokenbench.statistics import stratum_weights

    cell = [*CELL, "task"]
    strata = (
        units["stratum"].astype(object).fillna("").groupby([units[name] for name in cell], sort=False, observed=True)
    )
    weights = strata.transform(lambda names: stratum_weights(names.to_numpy())).astype(float)
    means = (units["score"] * weights).groupby([units[name] for name in cell], sort=False, observed=True).mean()
    count = units.groupby(cell, sort=False, observed=True)["sample"].nunique()
    scores = count.rename("samples").to_frame().join(means.rename("score")).reset_index()
    return scores.astype({name: str for name in cell})

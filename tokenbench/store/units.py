"""From samples to units: what a task's metric counts where that is more than one answer, such as MME's pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenbench.contract.cells import IDENTITY

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["by_unit"]

AVERAGED = ("kept", "visual_tokens", "realised_tokens", "text_tokens", "flops", "cache_bytes", "evidence_recall")


def by_unit(samples: pd.DataFrame, rules: Mapping[str, str]) -> pd.DataFrame:
    """One row a unit of every cell, its name in the column `sample`; scores stay in [0, 1], costs are means.

    samples: as `Run.samples` returns them, `kept` as a number. rules: task -> `Task.unit_rule`; tasks not named there are as
    they are.
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
        found = groups.first()
        found["score"] = {"mean": mean, "all": every, "mean+all": (mean + every) / 2}[rules[str(task)]]
        for name in AVERAGED:
            found[name] = groups[name].mean()
        found = found.reset_index()
        parts.append(found.assign(sample=found["unit"])[samples.columns])
    return pd.concat(parts, ignore_index=True)

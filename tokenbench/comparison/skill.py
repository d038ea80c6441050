"""How much of the way from a floor to vanilla a strategy goes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tokenbench.comparison.measures import NEAR_ZERO
from tokenbench.contract.cells import FLOORS, VANILLA

__all__ = ["add_skill"]


def add_skill(summary: pd.DataFrame, floors: Sequence[str] = FLOORS) -> pd.DataFrame:
    """The summary with a column ``skill_<floor>`` for every floor that ran.

    Skill is (score - floor) / (vanilla - floor) on the same model, task and budget: 0 is the floor, 1 is vanilla. It is
    NaN where the floor did not run or comes within 0.05 of vanilla, so that there is nothing to gain.
    """
    key = ["model", "task"]
    vanilla = summary[summary["strategy"] == VANILLA].set_index(key)["score"].rename(VANILLA)
    table = summary.copy()
    for name in floors:
        floor = summary[summary["strategy"] == name].set_index([*key, "budget"])["score"].rename("floor")
        if floor.empty:
            continue
        joined = summary[[*key, "budget"]].join(vanilla, on=key).join(floor, on=[*key, "budget"])
        gain = joined[VANILLA] - joined["floor"]
        skill = (summary["score"] - joined["floor"]) / gain.where(gain > NEAR_ZERO)
        table[f"skill_{name}"] = skill.to_numpy(dtype=np.float64)
    return table

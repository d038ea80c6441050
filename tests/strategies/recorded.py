"""What the released code of each method decides on fixed inputs, recorded as arrays: tests/data/recorded/README.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.strategies.views import make_view
from tokenbench import Budget, Grid, Selection, Stage, Strategy, View
from tokenbench.engine import RowPlan
from tokenbench.registry.plugins import registry

__all__ = ["FACTS", "Case", "all_cases", "cases", "made", "seen", "stages"]

DATA = Path(__file__).parents[1] / "data" / "recorded"
FACTS: dict[str, dict[str, dict[str, Any]]] = json.loads((DATA / "cases.json").read_text())


@cache
def arrays(method: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{method}.npz") as file:
        return dict(file)


@dataclass(frozen=True)
class Case:
    """One recorded decision: its arrays, else those of the inputs that it shares with other cases, and its facts."""

    method: str
    name: str

    @property
    def facts(self) -> dict[str, Any]:
        return FACTS[self.method][self.name]

    def __getitem__(self, name: str) -> Tensor:
        """An array; floating ones as float32 at least, since the recorded half-precision numbers are exact."""
        held = arrays(self.method)
        found = held.get(f"{self.name}/{name}")
        if found is None:
            found = held[f"{self.facts['inputs']}/{name}"]
        tensor = torch.from_numpy(np.ascontiguousarray(found))
        return tensor.float() if tensor.dtype == torch.float16 else tensor

    def kept(self, stage: str = "") -> list[int]:
        return [int(i) for i in self[f"kept{stage}"]]

    @property
    def grid(self) -> Grid:
        return Grid(*self.facts["grid"])

    def __str__(self) -> str:
        return f"{self.method}-{self.name}"


def cases(method: str, containing: str = "") -> list[Case]:
    return [Case(method, name) for name in FACTS[method] if containing in name]


def all_cases() -> dict[str, list[str]]:
    """The names of all recorded cases by method. In files without facts, a case has decisions of its own under its name."""
    found = {method: list(facts) for method, facts in FACTS.items()}
    for path in sorted(DATA.glob("*.npz")):
        if path.stem not in found:
            names = dict.fromkeys(key.rsplit("/", 1)[0] for key in arrays(path.stem))
            found[path.stem] = [name for name in names if "-" in name] or list(names)
    return found


def made(name: str, **parameters: Any) -> Strategy:
    strategy: Strategy = registry().get("strategies", name)(**parameters)
    return strategy


def stages(strategy: Strategy, case: Case, visual: int) -> tuple[Stage, ...]:
    """What the strategy plans at the case's budget and depth."""
    return RowPlan.make(strategy, Budget.parse(case.facts["budget"]), case.facts.get("depth", 32)).stages(visual)


def seen(stage: Stage, n: int, **what: Any) -> View:
    """The view of a stage; of all tokens as many may stay as it says, or all where the method decides."""
    from tokenbench.contract.budget import count

    k = n if stage.keep is None else count(stage.keep, what.get("n0", n), n)
    return make_view(stage, n, k, **what)


def assert_keeps(selection: Selection, case: Case, stage: str = "") -> None:
    assert selection.keep.sort().values.tolist() == case.kept(stage)

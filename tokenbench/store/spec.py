"""What a run is: its settings as run.json holds them, and the arms that follow from them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tokenbench.contract.budget import Budget
    from tokenbench.registry.names import NamedStrategy

__all__ = ["NO_SEED", "SEEDS", "Arm", "Spec"]

SEEDS = {"sample": (0, 1, 2), "run": (0, 1, 2, 3, 4)}
"""The seeds of a run that names none. Where one draw may move all samples, the seeds are all that shows how much: three are too few."""
NO_SEED = 0
"""The seed of what does not draw, whatever seeds the others have: it is the same cell when a run takes more seeds."""


@dataclass(frozen=True)
class Spec:
    """Everything a user may set, as run.json holds it: names are canonical and stand for objects that `tokenbench.runner.resolve`
    makes of them. Two commands with the same spec are the same run.
    """

    suite: str
    """Names of suites between commas, each with or without the name of a task after a colon."""
    tasks: tuple[str, ...]
    """Names of the tasks that are asked."""
    models: tuple[str, ...]
    """Registered names, folders or Hugging Face ids."""
    strategies: tuple[str, ...]
    """Canonical names, without vanilla."""
    floors: tuple[str, ...]
    """The strategies that run as floors and were not asked for."""
    budgets: tuple[str, ...]
    """Budgets as they were written."""
    seeds: tuple[int, ...]
    """Seeds of the strategies that draw at random; empty for those that suit each."""
    limit: int | None
    """The number of samples of each task; None for all."""
    batch_size: int
    """Questions a batch."""
    device: str
    """The device that was asked for, such as `auto`."""
    dtype: str
    """The type of the weights."""
    attention: str
    """The decoder's implementation of attention."""
    match: str = "nominal"
    """How budgets are matched: nominal, tokens or flops."""
    data: tuple[str, ...] = ()
    """`TASK=FOLDER` texts, the folders absolute."""
    definitions: tuple[str, ...] = ()
    """Absolute folders with task definitions."""
    margin: float = 1.0
    """Points of retention whose loss is of no importance."""
    until: Literal["", "decided"] = ""
    """When a strategy stops; empty if not before it has all samples."""
    looks: int = 1
    """The number of planned looks; more than one with `until` alone."""
    spending: Literal["", "obrien-fleming", "pocock"] = ""
    """How the looks share the error; empty without `until`."""
    strict: bool = False
    """Whether a sample that a model cannot be asked costs its task, not only itself."""

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Spec:
        """Back from run.json."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**values)

    @property
    def folder_name(self) -> str:
        """The name of its run directory, unless another one is asked for."""
        return re.sub(r"[^\w.-]+", "-", self.suite) + f"-{self.digest}"

    @property
    def digest(self) -> str:
        """Eight hex digits that tell specs apart."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Arm:
    """One strategy at one budget and seed: what a whole batch runs at once."""

    named: NamedStrategy
    """The strategy with its canonical name."""
    budget: Budget
    """Its budget, which carries its own text."""
    seed: int
    """Its seed; `NO_SEED` if it does not draw."""

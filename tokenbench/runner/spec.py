"""What a run is: its resolved settings, and the arms that follow from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from tokenbench.contract.budget import Budget

if TYPE_CHECKING:
    from tokenbench.registry.names import NamedStrategy
    from tokenbench.registry.plugins import Registry


__all__ = ["FLOORS", "VANILLA", "Arm", "Spec", "arms"]

VANILLA = "vanilla"
FLOORS = ("random", "downsample")
SEEDS = {"sample": (0, 1, 2), "run": (0, 1, 2, 3, 4)}
"""Unless others are asked for. Where one draw may move all samples, the seeds are all that shows how much: three are too few."""
NO_SEED = 0  # of what does not draw, whatever seeds the others have: it is the same cell when a run takes more seeds


@dataclass(frozen=True)
class Spec:
    """Everything a user may set, resolved. Two commands with the same spec are the same run."""

    suite: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    strategies: tuple[str, ...]
    floors: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    limit: int | None
    batch_size: int
    device: str
    dtype: str
    attention: str
    match: str = "nominal"
    data: tuple[str, ...] = ()  # TASK=FOLDER
    definitions: tuple[str, ...] = ()  # folders with task definitions
    margin: float = 1.0  # points of retention
    until: Literal["", "decided"] = ""  # when a strategy stops; "" for not before it has all samples
    looks: int = 1  # planned ones; more only with `until`
    spending: Literal["", "obrien-fleming", "pocock"] = ""  # how they spend the error
    strict: bool = False  # a sample that a model cannot be asked costs its task, not only itself

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Spec:
        """Back from run.json."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**values)

    @property
    def digest(self) -> str:
        """Eight hex digits that tell specs apart."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Arm:
    """One strategy at one budget and seed: what a whole batch runs at once."""

    named: NamedStrategy
    budget: Budget
    seed: int


def arms(spec: Spec, known: Registry) -> list[Arm]:
    """Vanilla first, then what takes no budget, then every strategy and floor at every budget, the stochastic ones once a seed."""
    from tokenbench.registry.names import parse_strategy

    result = [Arm(parse_strategy(VANILLA, known), Budget.everything(), NO_SEED)]
    named_all = [parse_strategy(text, known) for text in (*spec.strategies, *spec.floors)]
    result += [Arm(named, Budget.none(), NO_SEED) for named in named_all if not named.strategy.budgeted]
    for named, budget in product(named_all, spec.budgets):
        if not named.strategy.budgeted:
            continue
        seeds = (spec.seeds or SEEDS[named.strategy.seed_scope]) if named.strategy.stochastic else (NO_SEED,)
        result += [Arm(named, Budget.parse(budget), seed) for seed in seeds]
    return result

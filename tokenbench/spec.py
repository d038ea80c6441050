"""What a run is: its resolved settings, and the cells that follow from them."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

from tokenbench.budget import Budget
from tokenbench.naming import NamedStrategy, parse_strategy
from tokenbench.plugins import Registry

__all__ = ["VANILLA", "Arm", "Cell", "Spec", "arms", "source_hash"]

VANILLA = "vanilla"
FLOORS = ("random", "downsample")


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

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

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


@dataclass(frozen=True)
class Cell:
    """Model x strategy x budget x seed x task; `id` is a hash of all that can change its answers."""

    id: str
    model: str
    strategy: str
    budget: str
    seed: int
    task: str


def arms(spec: Spec, known: Registry) -> list[Arm]:
    """Vanilla first, then what takes no budget, then every strategy and floor at every budget, the stochastic ones once a seed."""
    result = [Arm(parse_strategy(VANILLA, known), Budget.everything(), spec.seeds[0])]
    named_all = [parse_strategy(text, known) for text in (*spec.strategies, *spec.floors)]
    result += [Arm(named, Budget.none(), spec.seeds[0]) for named in named_all if not named.strategy.budgeted]
    for named, budget in product(named_all, spec.budgets):
        if not named.strategy.budgeted:
            continue
        seeds = spec.seeds if named.strategy.stochastic else spec.seeds[:1]
        result += [Arm(named, Budget.parse(budget), seed) for seed in seeds]
    return result


def source_hash(obj: Any) -> str:
    """A hash of the source of a module, or of an object's class, and of what it uses from its own package."""
    if inspect.ismodule(obj):
        return _hash_of((obj,))
    cls = obj if isinstance(obj, type) else type(obj)
    return _hash_of(tuple(sys.modules[base.__module__] for base in cls.__mro__))


@lru_cache
def _hash_of(modules: tuple[ModuleType, ...]) -> str:
    files: set[str] = set()
    for module in modules:
        _collect(module, files)
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(Path(file).name.encode() + Path(file).read_bytes())
    return digest.hexdigest()


def _collect(module: ModuleType, files: set[str]) -> None:
    """Add the module's file and those of the modules of its package that it imports from."""
    file = getattr(module, "__file__", None)
    package = module.__name__.partition(".")[0]
    if file is None or file in files or package in sys.stdlib_module_names or package in ("pydantic", "torch"):
        return
    files.add(file)
    for value in vars(module).values():
        used = value if inspect.ismodule(value) else sys.modules.get(getattr(value, "__module__", None) or "")
        if used is not None and used.__name__.partition(".")[0] == package:
            _collect(used, files)

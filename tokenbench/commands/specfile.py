"""Run specs as TOML files: the options of `tokenbench run`, with strategies as names or as tables, and those of executors.

suite = "image"
budgets = ["1/3", 64]

[[strategies]]
name = "clse"
temp = 0.2
layers = [1, 11, 21]
merger = "tome"

[slurm]
partition = "gpu"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tokenbench.commands.executors import spec_keys
from tokenbench.errors import UsageError
from tokenbench.registry.names import NamedStrategy, make_strategy
from tokenbench.registry.plugins import Registry
from tokenbench.runner.request import Request

__all__ = ["read_spec"]

MOST_BYTES = 2**20
LISTS = ("tasks", "strategies", "budgets", "models", "seeds", "data", "tasks_dir")


def read_spec(path: Path, registry: Registry) -> tuple[Request, dict[str, Any]]:
    """Read the options that a file sets.

    Args:
        path: The file.
        registry: The plug-ins in which strategies and executors are looked up.

    Returns:
        What to run, and the options that say where, as they stand in the file.

    Raises:
        UsageError: The file cannot be read, or is wrong. The message says where.
    """
    try:
        options = tomllib.loads(_read(path))
    except OSError as error:
        raise UsageError(f"run spec {path}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"run spec {path} is nested too deep") from None
    except ValueError as error:  # not UTF-8, not TOML, or numbers of thousands of digits
        raise UsageError(f"run spec {path} is not TOML: {error}") from None
    try:
        for name in LISTS:
            if not isinstance(options.get(name, []), list):
                raise UsageError(f"{name} must be a list, not {options[name]!r:.60}")
        if "strategies" in options:
            options["strategies"] = [_strategy(entry, registry) for entry in options["strategies"]]
        places = spec_keys(registry) - set(Request.model_fields)
        where = {name: options.pop(name) for name in places if name in options}
        return Request.of(options, places), where
    except UsageError as error:
        raise UsageError(f"run spec {path}: {error}", error.hint) from None


def _read(path: Path) -> str:
    if not path.is_file():
        raise OSError("No such file" if not path.exists() else "not a regular file")
    if path.stat().st_size > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES >> 20} MiB")
    return path.read_text(encoding="utf-8")


def _strategy(entry: Any, registry: Registry) -> Any:
    """Make the strategy that a table describes. An entry that is no table is returned as it is."""
    return _make(dict(entry), registry) if isinstance(entry, dict) else entry


def _make(values: dict[str, Any], registry: Registry) -> NamedStrategy:
    name, schedule, merger = (values.pop(key, None) for key in ("name", "schedule", "merger"))
    if not isinstance(name, str):
        raise UsageError("strategies: a strategy table has no name", 'write name = "clse"')
    for key, part in (("schedule", schedule), ("merger", merger)):
        if part is not None and (not isinstance(part, str) or not part):
            raise UsageError(f"strategies: {key} of '{name}' must be a name, not {part!r:.60}")
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return make_strategy(name, lists, schedule, merger, registry)

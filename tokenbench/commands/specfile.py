"""Run specs as TOML files: the options of `tokenbench run`, with strategies as names or as tables.

suite = "image"
budgets = ["1/3", 64]

[[strategies]]
name = "clse"
temp = 0.2
layers = [1, 11, 21]
merger = "tome"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tokenbench.contract.strategy import Strategy
from tokenbench.cost.matching import Mode
from tokenbench.errors import UsageError
from tokenbench.registry.names import canonical, parsed
from tokenbench.registry.plugins import Registry

__all__ = ["read_spec"]

MOST_BYTES = 2**20

Texts = Annotated[
    list[str], BeforeValidator(lambda value: [str(v) for v in value] if isinstance(value, list) else value)
]


class _File(BaseModel):
    """What a file may say; each entry is the option of the same name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    suite: str | None = None
    tasks: Texts | None = None
    strategies: list[str | dict[str, Any]] | None = None
    budgets: Texts | None = None
    models: Texts | None = None
    seeds: Texts | None = None
    data: Texts | None = None
    tasks_dir: Texts | None = None
    floors: bool | None = None
    strict: bool | None = None
    match: Mode | None = None
    limit: int | None = Field(None, ge=1)
    until: Literal["decided"] | None = None
    looks: int | None = Field(None, ge=2, le=100)
    spending: Literal["obrien-fleming", "pocock"] | None = None
    margin: float | None = Field(None, ge=0, allow_inf_nan=False)
    batch_size: int | None = Field(None, ge=1)
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = None


def read_spec(path: Path, known: Registry) -> dict[str, Any]:
    """The options a file sets, as the command line gives them. Raises UsageError that says where it is wrong."""
    try:
        content = _File.model_validate(tomllib.loads(_read(path)))
    except OSError as error:
        raise UsageError(f"run spec {path}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"run spec {path} is nested too deep") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known_names = f"known: {', '.join(_File.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"run spec {path}: {where}: {first['msg']}", known_names) from None
    except ValueError as error:  # no text, no TOML, numbers of thousands of digits
        raise UsageError(f"run spec {path} is not TOML: {error}") from None
    options = content.model_dump(exclude_none=True)
    if content.strategies is not None:
        options["strategies"] = [_text(entry, path, known) for entry in content.strategies]
    lists = ("tasks", "strategies", "budgets", "models", "seeds", "data", "tasks_dir")
    return {name: [value] if name in lists else value for name, value in options.items()}


def _read(path: Path) -> str:
    if not path.is_file():
        raise OSError("No such file" if not path.exists() else "it is not a file")
    if path.stat().st_size > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES >> 20} MiB")
    return path.read_text(encoding="utf-8")


def _text(entry: str | dict[str, Any], path: Path, known: Registry) -> str:
    """A strategy's table as the command line writes it."""
    if isinstance(entry, str):
        return entry
    values = dict(entry)
    name, schedule, merger = (values.pop(key, None) for key in ("name", "schedule", "merger"))
    if not isinstance(name, str):
        raise UsageError(f"run spec {path}: a table of strategies has no name", 'write name = "clse"')
    cls: type[Strategy] = known.get("strategies", name)
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key, part in (("schedule", schedule), ("merger", merger)):
        if part is not None and (not isinstance(part, str) or not part):
            raise UsageError(f"run spec {path}: {key} of '{name}' must be a name, not {part!r:.60}")
    text = canonical(name, parsed(name, cls, lists))
    return text + (f"@{schedule}" if schedule else "") + (f"+{merger}" if merger else "")

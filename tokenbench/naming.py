"""Names with parameters, as users write them: `clse:temp=0.2:layers=1/11/21`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tokenbench.errors import UsageError, unknown
from tokenbench.plugins import Registry
from tokenbench.strategy import Strategy

__all__ = ["NamedStrategy", "parse_strategy"]


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy and its canonical name: only parameters that differ from the default, in the order of the fields."""

    name: str
    strategy: Strategy


def parse_strategy(text: str, known: Registry) -> NamedStrategy:
    """Read `name:parameter=value:…`. Raises UsageError for an unknown name or parameter, or a bad value."""
    name, *pairs = text.strip().split(":")
    cls: type[Strategy] = known.get("strategies", name)
    fields = {field.alias or key: field for key, field in cls.model_fields.items()}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in fields:
            raise unknown(f"parameter of '{name}'", key, fields)
        if not equals:
            raise UsageError(f"strategy '{text}': parameter '{key}' has no value", f"write {name}:{key}=VALUE")
        values[key] = value
    try:
        strategy = cls(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else ""
        raise UsageError(f"strategy '{text}': {where}={first['input']}: {first['msg']}") from None
    return NamedStrategy(_canonical(name, strategy), strategy)


def _canonical(name: str, strategy: Strategy) -> str:
    parts = [name]
    for key, field in type(strategy).model_fields.items():
        value = getattr(strategy, key)
        if value != field.get_default():
            text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts.append(f"{field.alias or key}={text}")
    return ":".join(parts)

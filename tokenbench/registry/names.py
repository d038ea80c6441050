"""Names with parameters, as users write them: `clse:temp=0.2:layers=1/11/21`, `fastv@pdrop+merge`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tokenbench.contract.strategy import Merger, Strategy
from tokenbench.errors import UsageError, unknown
from tokenbench.registry.composition import compose
from tokenbench.registry.plugins import Registry

__all__ = ["NamedStrategy", "canonical", "parse_strategy", "parsed"]

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy and its canonical name: only parameters that differ from the default, in the order of the fields."""

    name: str
    strategy: Strategy


def parse_strategy(text: str, known: Registry) -> NamedStrategy:
    """Read `name:parameter=value:…`, `SCORER@SCHEDULE+MERGER`. Raises UsageError for what is unknown, bad or does not fit."""
    scored, plus, merger_text = text.strip().partition("+")
    scorer_text, at, schedule_text = scored.partition("@")
    name, scorer = _parse(scorer_text, Strategy, "strategies", known)
    schedule_of = merger = None
    if at:
        own, schedule_of = _parse(schedule_text, Strategy, "strategies", known)
        name += f"@{own}"
    if plus:
        own, merger = _parse(merger_text, Merger, "mergers", known)
        name += f"+{own}"
    if not at and not plus:
        return NamedStrategy(name, scorer)
    return NamedStrategy(name, compose(name, scorer, schedule_of, merger))


def _parse(text: str, kind: type[Part], kinds: str, known: Registry) -> tuple[str, Part]:
    """Canonical name and instance of one part."""
    name, *pairs = text.split(":")
    cls: type[Part] = known.get(kinds, name)
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals and key in parameters(cls):
            raise UsageError(f"'{text}': parameter '{key}' has no value", f"write {name}:{key}=VALUE")
        values[key] = value
    part = parsed(name, cls, values)
    return canonical(name, part), part


def parsed(name: str, cls: type[Part], values: dict[str, Any]) -> Part:
    """The part with these parameters. Raises UsageError for an unknown one or a bad value."""
    for key in values:
        if key not in parameters(cls):
            raise unknown(f"parameter of '{name}'", key, parameters(cls))
    try:
        return cls(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else ""
        raise UsageError(f"'{name}': {where}={str(first['input'])[:60]}: {first['msg']}") from None


def parameters(cls: type[BaseModel]) -> dict[str, Any]:
    """Its pydantic fields, by the names users write."""
    return {field.alias or key: field for key, field in cls.model_fields.items()}


def canonical(name: str, part: BaseModel) -> str:
    """The name with the parameters that differ from the default."""
    parts = [name]
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if value != field.get_default():
            text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
            text = text.replace("e+", "e")  # a plus stands before a merger
            parts.append(f"{field.alias or key}={text}")
    return ":".join(parts)

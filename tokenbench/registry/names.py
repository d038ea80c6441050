"""Names with parameters, as users write them: `clse:temp=0.2:layers=1/11/21`, `fastv@pdrop+merge`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tokenbench.contract.strategy import Merger, Strategy
from tokenbench.errors import UsageError, printable, unknown
from tokenbench.registry.composition import Composed, compose
from tokenbench.registry.plugins import Registry, is_name

__all__ = ["NamedStrategy", "canonical", "make_strategy", "name_strategy", "parse_strategy", "parsed"]

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy with its canonical name."""

    name: str
    """The name with only the parameters that differ from the default, in the order of the fields."""
    strategy: Strategy
    """What the name stands for."""
    unregistered: str = ""
    """The class (`module.Class`) that no plug-in registers, so that only this process can make the strategy; empty if all are."""


def parse_strategy(text: str, registry: Registry) -> NamedStrategy:
    """Read `name:parameter=value:…`, `SCORER@SCHEDULE+MERGER`.

    Raises:
        UsageError: for what is unknown, bad or does not fit.
    """
    scored, plus, merger = text.strip().partition("+")
    scorer, at, schedule = scored.partition("@")
    named = _parse(scorer, Strategy, "strategies", registry)
    return _combine(*named, schedule if at else None, merger if plus else None, registry)


def make_strategy(
    name: str, values: Mapping[str, Any], schedule: str | None, merger: str | None, registry: Registry
) -> NamedStrategy:
    """The registered strategy `name` with these parameters.

    Args:
        name: a registered name, without parameters.
        values: parameters by name.
        schedule: the strategy whose schedule it takes, as `parse_strategy` reads it.
        merger: the merger that takes what it drops.
        registry: where the names are looked up.

    Raises:
        UsageError: for what is unknown, bad or does not fit.
    """
    part = parsed(name, registry.get("strategies", name), dict(values))
    return _combine(canonical(name, part), part, schedule, merger, registry)


def name_strategy(strategy: Strategy, registry: Registry) -> NamedStrategy:
    """A strategy object with its canonical name.

    A class that no plug-in registers goes by its own name: `Mine(layer=3)` is `Mine:layer=3`.

    Raises:
        UsageError: for parameters that the name of a registered class cannot say, so that no other process could make the same
            strategy from it, and for a class of one's own whose name is taken or cannot be a name.
    """
    if not isinstance(strategy, Composed):
        name, own = _name_part(strategy, "strategies", registry)
        unregistered = [own]
    else:
        name, own = _name_part(strategy.scorer, "strategies", registry)
        unregistered = [own]
        if strategy.schedule_of != strategy.scorer or strategy.merger is None:
            part, own = _name_part(strategy.schedule_of, "strategies", registry)
            name, unregistered = f"{name}@{part}", [*unregistered, own]
        if strategy.merger is not None:
            part, own = _name_part(strategy.merger, "mergers", registry)
            name, unregistered = f"{name}+{part}", [*unregistered, own]
    named = NamedStrategy(name, strategy, ", ".join(dict.fromkeys(filter(None, unregistered))))
    if not named.unregistered:
        _check_name(named, registry)
    return named


def _name_part(part: BaseModel, kinds: str, registry: Registry) -> tuple[str, str]:
    """A part's canonical name, and its class if no plug-in registers it."""
    cls = type(part)
    if (name := registry.name_of(kinds, cls)) is not None:
        return canonical(name, part), ""
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not is_name(cls.__name__):
        raise UsageError(
            f"the class {where!a} has a name that a strategy cannot have", "use only a-z, A-Z, 0-9 and _ in its name"
        )
    if cls.__name__ in registry.names(kinds):
        raise UsageError(f"the class {where} has the same name as a registered class", "rename it")
    return printable(canonical(cls.__name__, part)), where


def _check_name(named: NamedStrategy, registry: Registry) -> None:
    """Refuse an object that its name does not say the whole of."""
    try:
        again = parse_strategy(named.name, registry).strategy
    except UsageError as error:
        reason = str(error)
    else:
        if again == named.strategy:
            return
        reason = f"the name stands for {again!r:.200}"
    raise UsageError(
        f"{named.strategy!r:.200} cannot be written as a name, from which another process would make it: {reason}",
        "use parameters that the command line can give",
    )


def _combine(
    name: str, scorer: Strategy, schedule: str | None, merger: str | None, registry: Registry
) -> NamedStrategy:
    """A scorer by itself, or composed with the others."""
    schedule_of = merged_by = None
    if schedule is not None:
        own, schedule_of = _parse(schedule, Strategy, "strategies", registry)
        name += f"@{own}"
    if merger is not None:
        own, merged_by = _parse(merger, Merger, "mergers", registry)
        name += f"+{own}"
    if schedule_of is None and merged_by is None:
        return NamedStrategy(name, scorer)
    return NamedStrategy(name, compose(name, scorer, schedule_of, merged_by))


def _parse(text: str, kind: type[Part], kinds: str, registry: Registry) -> tuple[str, Part]:
    """Canonical name and instance of one part."""
    name, *pairs = text.split(":")
    cls: type[Part] = registry.get(kinds, name)
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

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

__all__ = ["NamedStrategy", "canonical_name", "make_part", "make_strategy", "name_strategy", "parse_strategy"]

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy with its canonical name."""

    name: str
    """The name with only those parameters that differ from the default, in the order of the fields."""
    strategy: Strategy
    """The strategy object."""
    unregistered: str = ""
    """The classes (`module.Class`) that no plug-in registers, so that only this process can make the strategy; empty if there are none."""


def parse_strategy(text: str, registry: Registry) -> NamedStrategy:
    """Make a strategy from its name, such as `fastv:layer=3` or `SCORER@SCHEDULE+MERGER`.

    Raises:
        UsageError: A name or parameter is unknown, a value is invalid, or the parts do not fit together.
    """
    scored, plus, merger = text.strip().partition("+")
    scorer, at, schedule = scored.partition("@")
    named = _parse(scorer, Strategy, "strategies", registry)
    return _combine(*named, schedule if at else None, merger if plus else None, registry)


def make_strategy(
    name: str, values: Mapping[str, Any], schedule: str | None, merger: str | None, registry: Registry
) -> NamedStrategy:
    """Make a registered strategy with parameters.

    Args:
        name: A registered name, without parameters.
        values: The parameters by name.
        schedule: The name of the strategy whose schedule is used, with its parameters.
        merger: The name of the merger of dropped tokens, with its parameters.
        registry: The plug-ins that register strategies and mergers.

    Raises:
        UsageError: A name or parameter is unknown, a value is invalid, or the parts do not fit together.
    """
    part = make_part(name, registry.get("strategies", name), dict(values))
    return _combine(canonical_name(name, part), part, schedule, merger, registry)


def name_strategy(strategy: Strategy, registry: Registry) -> NamedStrategy:
    """Find the canonical name of a strategy object.

    A class that no plug-in registers has its own name: `Mine(layer=3)` is `Mine:layer=3`.

    Raises:
        UsageError: The name of a registered class cannot express the parameters, so that another process could not make the same
            strategy from it; or the name of an unregistered class is taken or invalid.
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
    """Return the canonical name of a part, and its class if no plug-in registers it."""
    cls = type(part)
    if (name := registry.name_of(kinds, cls)) is not None:
        return canonical_name(name, part), ""
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not is_name(cls.__name__):
        raise UsageError(
            f"the class {where!a} has a name that a strategy cannot have", "use only a-z, A-Z, 0-9 and _ in its name"
        )
    if cls.__name__ in registry.names(kinds):
        raise UsageError(f"the class {where} has the same name as a registered class", "rename it")
    return printable(canonical_name(cls.__name__, part)), where


def _check_name(named: NamedStrategy, registry: Registry) -> None:
    """Raise UsageError for an object whose name does not express all its parameters."""
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
    """Compose a scorer with a schedule and a merger, if there are any."""
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
    """Make one part from its name. Return its canonical name and the part."""
    name, *pairs = text.split(":")
    cls: type[Part] = registry.get(kinds, name)
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals and key in parameters(cls):
            raise UsageError(f"'{text}': parameter '{key}' has no value", f"write {name}:{key}=VALUE")
        values[key] = value
    part = make_part(name, cls, values)
    return canonical_name(name, part), part


def make_part(name: str, cls: type[Part], values: dict[str, Any]) -> Part:
    """Make a part with parameters.

    Args:
        name: The name of the part, for errors.
        cls: Its class.
        values: The parameters by name.

    Raises:
        UsageError: A parameter is unknown, or a value is invalid.
    """
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
    """Return the pydantic fields of a part, by the names that users write."""
    return {field.alias or key: field for key, field in cls.model_fields.items()}


def canonical_name(name: str, part: BaseModel) -> str:
    """Return a name with the parameters that differ from the default."""
    parts = [name]
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if value != field.get_default():
            text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
            text = text.replace("e+", "e")  # a plus sign would begin a merger
            parts.append(f"{field.alias or key}={text}")
    return ":".join(parts)

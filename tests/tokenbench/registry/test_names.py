"""The names of strategies: every parameter of every strategy, written and read again."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenbench import UsageError
from tokenbench.registry.names import canonical_name, make_part, parse_strategy
from tokenbench.registry.plugins import registry

NAMES = registry().names("strategies")
NUMBERS = st.integers(-2, 60) | st.floats(1e-30, 1e30) | st.floats(0, 1) | st.sampled_from([1e20, 5e-324, 0.1 + 0.2])


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that a field may or may not take."""
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is tuple:
        return st.lists(NUMBERS, min_size=1, max_size=4).map(lambda numbers: tuple(sorted(set(numbers))))
    return st.booleans() | NUMBERS


def accepted(name: str, cls: Any, key: str, value: Any) -> bool:
    try:
        make_part(name, cls, {key: value})
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_the_canonical_name_parses_to_itself(name: str, data: st.DataObject) -> None:
    cls = registry().get("strategies", name)
    drawn = {field.alias or key: data.draw(values(field.annotation)) for key, field in cls.model_fields.items()}
    own = {key: value for key, value in drawn.items() if accepted(name, cls, key, value)}
    try:
        part = make_part(name, cls, own)
    except UsageError:  # each alone is right, but not together
        part = cls()
    written = canonical_name(name, part)
    assert parse_strategy(written, registry()).name == written
    assert parse_strategy(written, registry()).strategy == part


@given(st.sampled_from(NAMES), st.text(max_size=30))
def test_any_text_behind_a_name_is_a_strategy_or_a_usage_error(name: str, text: str) -> None:
    try:
        named = parse_strategy(name + text, registry())
    except UsageError:
        return
    assert parse_strategy(named.name, registry()).name == named.name

"""Run specs, whole and mutated: options, or one line that says what is wrong.

For longer: `python -m pytest tests/fuzz --hypothesis-profile long`.
"""

from __future__ import annotations

import json
import math
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.spec_door import GOOD
from tokenbench.commands.specfile import read_spec
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.runner.request import Request

NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
BUDGET = st.sampled_from(["1/3", "2/6", "33.3%", ".5", "64"])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "suite": NAME,
        "tasks": st.lists(NAME),
        "strategies": st.lists(NAME),
        "budgets": st.lists(BUDGET),
        "models": st.lists(NAME),
        "data": st.lists(NAME),
        "floors": st.booleans(),
        "match": st.sampled_from(["nominal", "tokens", "flops"]),
        "limit": st.integers(1, 2**62),
        "batch_size": st.integers(1, 2**62),
        "device": NAME,
    },
)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value).replace("inf", "inf")
    return '""' if value is None else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def document(options: dict[str, Any]) -> bytes:
    return "\n".join(f"{toml(str(key))} = {toml(value)}" for key, value in options.items()).encode(errors="replace")


def read(content: bytes) -> Request | None:
    """What a spec says; None if it is refused as it should be. Anything else is a bug, and raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.toml"
        path.write_bytes(content)
        try:
            return read_spec(path, registry())[0]
        except UsageError:
            return None


@given(OPTIONS)
def test_a_spec_says_what_was_written(options: dict[str, Any]) -> None:
    """Names are looked up later: any text is one."""
    request = read(document(options))
    assert request is not None
    assert request.model_fields_set == options.keys()
    said = {name: getattr(request, name) for name in options}
    texts = {name: [str(one) for one in value] if isinstance(value, tuple) else value for name, value in said.items()}
    assert texts == options


@given(mutated(tomllib.loads(GOOD)))
def test_a_mutated_spec_is_read_or_refused(options: Any) -> None:
    read(document(options))


@given(damaged(GOOD.encode()))
def test_a_damaged_spec_is_read_or_refused(content: bytes) -> None:
    read(content)

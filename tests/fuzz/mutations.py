"""Changes to a well-formed document: a value replaced, taken away or doubled somewhere in it, or bytes damaged."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -1, 2**63, "../../x", "a\nb", "\x1b[2J", "\ud800", "", "1/2", "vanilla", "nan"])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([at] if at else []), *(path for key, part in inner for path in places(part, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document after one to three changes."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        paths = places(document)
        if not paths:
            return document
        *above, last = draw(st.sampled_from(paths))
        place = document
        for key in above:
            place = place[key]
        change = draw(st.sampled_from(["replace", "replace", "remove", "double"]))
        if change == "replace":
            place[last] = draw(VALUES)
        elif change == "remove":
            del place[last]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[last]))
        else:
            place[draw(st.text(max_size=5))] = copy.deepcopy(place[last])
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes cut, with others put in, or with a part repeated."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 40)))
    middle = draw(st.binary(max_size=8) | st.just(content[start:end] * 2))
    return content[:start] + middle + (b"" if draw(st.booleans()) else content[end:])

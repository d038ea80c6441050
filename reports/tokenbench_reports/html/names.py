"""Strategies' names where there is little room; the whole name is then the title of the element."""

from collections.abc import Callable, Iterable
from typing import Any

from tokenbench_reports.sentences import Part, name_of, shorten, tell_apart

LONGEST = 26
"""The most signs of a strategy's name in tables, panels and the headline."""


def name_filters(strategies: Iterable[str]) -> dict[str, Callable[[Any], str]]:
    """The templates' filters ``short``, for a name, and ``named``, for a part of a sentence.

    Args:
        strategies: All strategies of the page, which are told apart from each other.
    """
    names = tell_apart(strategies, LONGEST)

    def short(strategy: str) -> str:
        return names.get(strategy) or shorten(strategy, LONGEST)

    def named(part: Part) -> str:
        return short(part.strategy) if part == name_of(part.strategy) else part.text

    return {"short": short, "named": named}

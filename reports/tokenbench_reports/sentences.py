"""Sentences in parts, so that a page can give every strategy its colour where the sentence names it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenbench.errors import printable

__all__ = ["Part", "Sentence", "list_names", "name_of", "sentence", "shorten", "text_of"]

LONGEST = 40
"""Longer names are shortened in a sentence and in a narrow table; other tables and the files hold them whole."""


@dataclass(frozen=True)
class Part:
    """A part of a sentence."""

    text: str
    """What is read; it has no control characters."""
    strategy: str = ""
    """The strategy that the text names; empty for other words."""


Sentence = tuple[Part, ...]


def sentence(*pieces: "str | Part | Sentence") -> Sentence:
    """Join words and names."""
    parts: list[Part] = []
    for piece in pieces:
        parts += [Part(piece)] if isinstance(piece, str) else [piece] if isinstance(piece, Part) else piece
    return tuple(part for part in parts if part.text)


def text_of(said: Sentence) -> str:
    """The sentence as text."""
    return "".join(part.text for part in said)


def name_of(strategy: str, text: str = "") -> Part:
    """The name of a strategy, or other words that stand for it."""
    return Part(text or shorten(strategy), strategy)


def list_names(strategies: Sequence[str], most: int = 3) -> Sentence:
    """``a, b and c``, or ``a, b and 4 more`` for more than the given number of names."""
    shown = strategies if len(strategies) <= most else strategies[: most - 1]
    items = [name_of(strategy) for strategy in shown]
    if len(shown) < len(strategies):
        items.append(Part(f"{len(strategies) - len(shown)} more"))
    joined: list[Part] = []
    for at, item in enumerate(items):
        joined += ([Part(" and " if at == len(items) - 1 else ", ")] if at else []) + [item]
    return tuple(joined)


def shorten(name: str, longest: int = LONGEST) -> str:
    """A name that fits, without its middle if it must be: variants of a strategy often differ at the end alone."""
    text = printable(name)
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"

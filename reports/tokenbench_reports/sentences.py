"""Sentences in parts, so that a page can give every strategy its colour where the sentence names it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenbench.errors import printable

__all__ = ["Part", "Sentence", "list_names", "name_of", "sentence", "shorten", "tell_apart", "text_of"]

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


def tell_apart(names: Iterable[str], longest: int) -> dict[str, str]:
    """Short names, no two of them alike, for a place that holds so many signs.

    Variants of a strategy (``clse:temp=0.2:kv=keep``) first lose the settings that all of them share, then the names of
    the others.
    """
    whole = list(dict.fromkeys(names))
    families: dict[str, list[list[str]]] = {}
    for name in whole:
        families.setdefault(name.partition(":")[0], []).append(printable(name).split(":"))
    short: dict[str, str] = {}
    for name in sorted(whole, key=len):
        text = _fit(printable(name), families[name.partition(":")[0]], longest)
        at, taken = 1, set(short.values())
        while text in taken:
            at += 1
            text = f"{shorten(name, longest - len(f' ({at})'))} ({at})"
        short[name] = text
    return short


def _fit(name: str, family: Sequence[Sequence[str]], longest: int) -> str:
    """The first of a few forms of a name that fits."""
    head, *settings = name.split(":")
    shared = set.intersection(*map(set, family)) if len(family) > 1 else set()
    own = [setting for setting in settings if setting not in shared]
    gap = ["…"] if len(own) < len(settings) else []
    forms = (name, ":".join([head, *gap, *own]), ":".join([head, *gap, *(one.rpartition("=")[2] for one in own)]))
    return next((form for form in forms if len(form) <= longest), shorten(forms[1], longest))

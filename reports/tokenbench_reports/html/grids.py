"""Tables as the page shows them: text, a number to sort by, and a tone."""

from dataclasses import dataclass, field

from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench_reports.wording import NOTHING


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a cell, with a line at vanilla; in per cent of the cell's width."""

    low: float
    value: float
    high: float
    hundred: float


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        sort: number to sort by; None sorts by the text.
        tone: ``good``, ``bad``, ``dim`` or nothing; ``t0`` .. ``t9`` for a tint.
        hint: a longer text on hover.
        bar: an interval drawn behind the text.
        sign: a glyph that says the tone without colour.
    """

    text: str
    sort: float | None = None
    tone: str = ""
    hint: str = ""
    bar: Bar | None = None
    sign: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: headers, the first ``keys`` of which identify a row.

    Attributes:
        caption: says what the numbers are.
        headers: names of the columns.
        rows: cells.
        keys: number of identifying columns.
        strong: positions of the rows to stand out.
        filters: positions of the columns whose values can be chosen from a list.
    """

    caption: str
    headers: list[str]
    rows: list[list[Cell]]
    keys: int = 1
    strong: frozenset[int] = frozenset()
    filters: list[int] = field(default_factory=list)

    def choices(self, column: int) -> list[str]:
        """The values of a column, once each, in the order they appear."""
        return list(dict.fromkeys(row[column].text for row in self.rows))


def numeric(text: str, value: float, tone: str = "", hint: str = "", bar: Bar | None = None) -> Cell:
    """A cell that sorts by its number; what has none sorts last."""
    known = value == value
    return Cell(text, float(value) if known else float("-inf"), tone if known else "dim", hint, bar)


def tinted(text: str, value: float, low: float, high: float, hint: str = "") -> Cell:
    """A cell tinted by where its number lies between two ends."""
    if value != value:
        return Cell(NOTHING, float("-inf"), "dim")
    share = (value - low) / (high - low) if high > low else 1.0
    return Cell(text, float(value), f"t{min(9, max(0, int(10 * share)))}", hint)


_TONES = {"good": "good", "bad": "bad", "open": "dim"}


def judgement(verdict: Verdict, text: str = "", hint: str = "") -> Cell:
    """A verdict with a sign beside its colour; ``text`` where more is said than its words."""
    sign = {1: "▲", -1: "▼"}.get(
        verdict.sign, "✓" if verdict.tone == "good" else "?" if verdict.kind is Kind.NOT_DECIDED else "·"
    )
    return Cell(text or verdict.words, tone=_TONES[verdict.tone], sign=sign, hint=hint)


def reproduction(word: str) -> Cell:
    """Whether a published number was met, with a sign beside its colour."""
    tone, sign = next((look for start, look in _REPRODUCED.items() if word.startswith(start)), ("dim", "·"))
    return Cell(word, tone=tone, sign=sign)


_REPRODUCED = {"reproduced": ("good", "✓"), "not reproduced": ("bad", "✗")}


def plain(caption: str, headers: list[str], rows: list[list[str]], keys: int) -> Grid:
    """A table of text whose last column is a verdict; the second column can be chosen by value, and the third where it identifies."""
    return Grid(
        caption,
        headers,
        [[*map(Cell, row[:-1]), reproduction(row[-1])] for row in rows],
        keys,
        filters=list(range(1, min(keys, 3))),
    )

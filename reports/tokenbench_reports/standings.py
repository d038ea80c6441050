"""The one table of the terminal: every strategy at the budget of the headline, as wide and as long as there is room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isnan
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.noise import is_again
from tokenbench.comparison.wording import NOTHING, UNKNOWN, count_of, limit, marks_of, number, percent
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import printable
from tokenbench_reports.findings import Case, Cell, Finding, find, vanilla_of
from tokenbench_reports.sentences import shorten

__all__ = ["standings"]

PLOT = 26
"""Columns of the drawing."""
BUDGETS = 2
"""Other budgets that have a column."""
NAME = 24
"""Names are shortened to this before any column is left out."""
HEAD = 2
"""Lines above the rows."""
FEW = 3
"""Strategies that did not run at the budget, and are named all the same."""
COSTS = 2
"""Up to this place in the order in which columns are left out, names are shortened as far as possible first."""
SHORTEST = 12
"""Names are not shortened further."""


@dataclass(frozen=True)
class _Column:
    """One column, with what it takes."""

    header: str
    """What stands above it."""
    texts: list[str]
    """One text for each row."""
    drop: int = 0
    """The higher, the earlier it is left out where there is no room; 0 for never."""

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.header, *self.texts))


@dataclass(frozen=True)
class Place:
    """Where a table is printed."""

    width: int
    """Columns of the terminal."""
    lines: int
    """How many lines the table may take; a sentence says what was left out."""
    colours: Mapping[str, str]
    """The style of strategies that have one."""
    title: str
    """What the title begins with."""


def standings(comparison: Comparison, model: str, benches: Sequence[Mapping[str, Any]], place: Place) -> list[Text]:
    """Lay out the table of one model, line by line; no line if there is nothing to compare.

    Args:
        comparison: What was compared.
        model: The model.
        benches: What was measured of time and memory (see ``Run.bench``).
        place: Where it is printed.
    """
    findings = find(comparison, model)
    if not findings:
        return []
    first, others = findings[0], findings[1:]
    others = others if len(others) <= BUDGETS else [*others[: BUDGETS - 1], others[-1]]
    vanilla = vanilla_of(comparison, model)
    times = _times(benches, first, model)
    notes = [*_absent(findings, comparison, model), _legend(first, vanilla, bool(times))]
    under = [line for note in notes for line in wrap(note, place.width)]
    methods, floors, hidden = _choose(first, place.lines - HEAD - len(under))
    names = methods + floors
    columns = _columns(comparison, first, others, names, vanilla, times)
    name_width, columns = _fit(names, columns, place.width)
    lines = [Text(f"{place.title}, % of the unpruned model's", "bold")]
    lines.append(_row("", [column.header for column in columns], columns, name_width, "dim"))
    for at, name in enumerate(names):
        if at == len(methods):
            lines.append(Text("trivial baselines", "dim"))
        texts = [column.texts[at] for column in columns]
        lines.append(_row(shorten(name, name_width), texts, columns, name_width, place.colours.get(name, "")))
    return lines + [Text(note, "dim") for note in ([hidden] if hidden else []) + under]


def _choose(found: Finding, room: int) -> tuple[list[str], list[str], str]:
    """The methods and floors that there is room for, and a sentence on the rest."""
    methods, floors = found.methods, found.floors
    lines = len(methods) + len(floors) + (1 if floors else 0)
    if lines <= room:
        return methods, floors, ""
    kept = floors[:1]
    shown = methods[: max(1, room - len(kept) - 2)]
    hidden = [(len(methods) - len(shown), "more method"), (len(floors) - len(kept), "more trivial baseline")]
    names = " and ".join(count_of(count, what) for count, what in hidden if count)
    return shown, kept, f"Not shown here: {names}; see the report, or --details."


def _columns(
    comparison: Comparison,
    first: Finding,
    others: Sequence[Finding],
    names: Sequence[str],
    vanilla: Cell,
    times: Mapping[str, float],
) -> list[_Column]:
    """All columns, in their order."""
    marks = marks_of(comparison.margin)
    cells = [first.cells[name] for name in names]
    low, high = _axis(cells)
    columns = [
        _Column(
            _scale(low, high),
            [_draw(cell, low, high, name in first.floors) for name, cell in zip(names, cells, strict=True)],
            5,
        ),
        _Column(f"at {_brief(first)}", [_value(first, name) for name in names]),
        _Column(f"[{100 - 100 * comparison.alpha:g} % interval]", [_interval(cell, marks) for cell in cells], 1),
        *(_Column(f"at {_brief(one)}", [_value(one, name) for name in names], 4) for one in others),
        _Column("tokens", [number(cell["realised_tokens"]) for cell in cells], 2),
        _Column("FLOPs", [_share(cell, vanilla, "flops") for cell in cells], 2),
        _Column("KV", [_share(cell, vanilla, "cache_bytes") for cell in cells], 2),
        _Column("TTFT", [f"{times[name]:.2f}×" if name in times else NOTHING for name in names], 3),
    ]
    return [column for column in columns if any(text.strip() not in ("", NOTHING) for text in column.texts)]


def _fit(names: Sequence[str], columns: list[_Column], width: int) -> tuple[int, list[_Column]]:
    """Shorten names, then leave out columns, then shorten names further, until a line fits."""

    def room() -> int:
        return width - sum(column.width + 1 for column in columns)

    longest = max(cell_len(printable(name)) for name in names)
    while any(column.drop for column in columns):
        last = max(column.drop for column in columns)
        if room() >= min(longest, NAME if last > COSTS else SHORTEST):
            break
        columns = [column for column in columns if column.drop != last]
    return min(longest, max(room(), SHORTEST)), columns


def _row(name: str, texts: Sequence[str], columns: Sequence[_Column], name_width: int, style: str) -> Text:
    line = Text(name, style)
    line.pad_right(max(0, name_width - line.cell_len))
    for text, column in zip(texts, columns, strict=True):
        line.append(" " * (1 + column.width - cell_len(text)) + text, "dim" if style == "dim" else "")
    line.rstrip()
    return line


def _value(found: Finding, name: str) -> str:
    """What a strategy keeps, with a star where it leads; a blank stands where others have the star."""
    if name not in found.cells:
        return NOTHING + " "
    leads = found.case in (Case.BEST, Case.LEAD, Case.OPEN) and name in found.leaders
    return percent(found.cells[name]["retention"]) + ("*" if leads else " ")


def _interval(cell: Cell, marks: list[float]) -> str:
    low, high = cell["retention_low"], cell["retention_high"]
    return "" if isnan(low) else f"[{limit(low, marks)}, {limit(high, marks)}]"


def _share(cell: Cell, vanilla: Cell, name: str) -> str:
    share = cell[name] / vanilla[name]
    return NOTHING if isnan(share) else f"{percent(share, 0)}%"


def _times(benches: Sequence[Mapping[str, Any]], found: Finding, model: str) -> dict[str, float]:
    """By strategy, the time to the first token as a share of the stock model's, where it was measured."""
    return {
        row["strategy"]: row["ttft_ratio"]["estimate"]
        for bench in benches
        if bench["model"] == model
        for row in bench["rows"]
        if row["budget"] == found.budget
    }


def _axis(cells: Sequence[Cell]) -> tuple[float, float]:
    """The ends of the drawing in per cent: from a multiple of 20 below all estimates to 100, or to what is kept beyond."""
    values = [100 * cell["retention"] for cell in cells]
    return max(0.0, min(80.0, 20 * floor(min(values) / 20))), max(105.0, min(120.0, max(values)))


def _place(value: float, low: float, high: float) -> int:
    return round((min(high, max(low, value)) - low) / (high - low) * (PLOT - 1))


def _scale(low: float, high: float) -> str:
    """The labels of the axis, each ending where its value lies, but for the first."""
    line = [" "] * PLOT
    step = 20 if high - low > 40 else 10
    for level in range(int(low), 101, step):
        text, at = str(level), _place(level, low, high)
        start = max(0, at - len(text) + 1)
        line[start : start + len(text)] = text
    return "".join(line)


def _draw(cell: Cell, low: float, high: float, trivial: bool) -> str:
    """The interval, the mark of the estimate, and the line of the unpruned model."""
    line = [" "] * PLOT
    ends = [100 * cell[name] for name in ("retention_low", "retention_high")]
    if not any(map(isnan, ends)):
        start, end = (_place(value, low, high) for value in ends)
        line[start : end + 1] = "─" * (end + 1 - start)
    hundred = _place(100, low, high)
    line[hundred] = "┊" if line[hundred] == " " else line[hundred]
    line[_place(100 * cell["retention"], low, high)] = "○" if trivial else "●"
    return "".join(line)


def _legend(found: Finding, vanilla: Cell, timed: bool) -> str:
    """What the signs and the columns mean."""
    star = (
        ""
        if found.case in (Case.FLOOR, Case.ONE, Case.MANY, Case.UNTESTED, Case.TRIVIAL)
        else "* the highest at its budget, or not told apart from it. "
    )
    time = "; TTFT: time to first token against it, on this machine" if timed else ""
    if all(isnan(vanilla[name]) for name in ("realised_tokens", "flops", "cache_bytes")):
        return f"{star}Visual tokens, FLOPs and KV cache are {UNKNOWN}, so that nothing is said about cost{time}."
    return (
        f"{star}At {_brief(found)}, tokens: visual tokens as the mean over the layers, of {number(vanilla['realised_tokens'], 0)}; "
        f"FLOPs, KV cache: shares of the unpruned model's{time}."
    )


def _absent(findings: Sequence[Finding], comparison: Comparison, model: str) -> list[str]:
    """What the strategies keep that did not run at the budget of the headline."""
    first = findings[0]
    cells = comparison.summary
    cells = cells[
        (cells["model"] == model) & (cells["task"] == MEAN) & ~cells["strategy"].isin([VANILLA, *first.cells])
    ]
    cells = cells[cells["retention"].notna() & ~cells["strategy"].map(is_again).astype(bool)]
    rows = cells.drop_duplicates("strategy").to_dict("records")
    if not rows:
        return []
    kept = [
        f"{shorten(row['strategy'])} keeps {percent(row['retention'])} at {shorten(row['budget'], 8)}" for row in rows
    ]
    rest = f", and {len(kept) - FEW} more" if len(kept) > FEW else ""
    return [f"Not at {_brief(first)}: {', '.join(kept[:FEW])}{rest}."]


def _brief(found: Finding) -> str:
    return shorten(found.budget, 8)

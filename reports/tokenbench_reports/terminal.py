"""The report on the terminal: what was found, one table that fits, and where the rest lies."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from rich.console import Console
from rich.text import Text

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.turns import describe_change
from tokenbench.comparison.wording import percent
from tokenbench.contract.cells import VANILLA
from tokenbench.contract.report import Report
from tokenbench.errors import printable
from tokenbench.store.run import Run
from tokenbench_reports.console import READABLE, open_console
from tokenbench_reports.document import Opening, make_opening
from tokenbench_reports.headline import Headline
from tokenbench_reports.sentences import Part, Sentence
from tokenbench_reports.standings import Place, standings

LINES = 38
"""The most lines that a report on one model takes at ``READABLE`` columns; the command prints two of its own."""
ROWS = 6
"""Lines of a table that are printed however little room there is."""
WARNINGS = 3
"""Warnings that are printed, by their first sentence."""
GLUE = "\ue000"
"""Stands for a blank at which no line ends; it is in no text, since ``printable`` escapes it."""
PAGE = "report.html"
COLOURS = ("blue", "magenta", "green", "cyan", "yellow")
"""Of the strategies that the headline and its support name, in this order."""


class TerminalReport(Report):
    """The headline, one table, and where the rest lies; writes no file."""

    name: ClassVar[str] = "terminal"
    description: ClassVar[str] = "headline and one table on the terminal, 40 lines at most"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Print the report to ``out``."""
        about = run.about()
        console = open_console(out, READABLE)
        for line in _lines(comparison, make_opening(comparison, about), about, console, list(_rest(run, folder))):
            console.print(line, soft_wrap=True)
        return []


def _lines(
    comparison: Comparison, content: Opening, about: Mapping[str, object], console: Console, rest: Sequence[str]
) -> Iterator[Text]:
    """The report line by line: the headline of every model, warnings, the table of every model, where the rest lies."""
    width = min(console.width, READABLE)

    def wrap(*blocks: Text) -> list[Text]:
        return [line for block in blocks for line in _wrap(block, console, width)]

    headlines, several = content.headlines, len(content.headlines) > 1
    colours = [_choose_colours(found) for found in headlines]
    above = wrap(Text(content.label, "bold yellow")) if content.label else []
    for found, own in zip(headlines, colours, strict=True):
        above += [Text()] if above and several else []
        above += wrap(*_headline(found, own, several, labelled=not content.label))
    above += wrap(*(Text(f"! {text}", "yellow") for text in _warnings(content)))
    texts = [found.pairs or _scores(comparison.of(found.model), found.model) for found in headlines]
    turns = [printable(describe_change(comparison, found.model, found.budget)) for found in headlines]
    pairs = [wrap(*(Text(said) for said in both if said)) for both in zip(texts, turns, strict=True)]
    tail = wrap(*map(Text, rest))
    blanks = 2 + sum(2 if below else 1 for below in pairs)
    room = LINES * len(headlines) - len(above) - len(tail) - sum(map(len, pairs)) - blanks
    yield from [Text(), *above]
    for found, own, below in zip(headlines, colours, pairs, strict=True):
        title = f"{found.model}: accuracy kept" if several else "Accuracy kept"
        place = Place(width, max(ROWS, room // len(headlines)), own, title)
        table = standings(comparison.of(found.model), found.model, _benches(about), place)
        yield from [Text(), *table] if table else []
        yield from [Text(), *below] if below else []
    yield from [Text(), *tail]


def _scores(comparison: Comparison, model: str) -> str:
    """The scores, where no accuracy kept is defined; empty where it is, or where vanilla ran alone."""
    mean = comparison.summary[(comparison.summary["model"] == model) & (comparison.summary["task"] == MEAN)]
    others = mean[mean["strategy"] != VANILLA]
    if others.empty or others["retention"].notna().any():
        return ""
    cells = zip(mean["strategy"], mean["budget"], mean["score"], strict=True)
    names = [f"{name}{'' if name == VANILLA else f' at {budget}'} {percent(score)}" for name, budget, score in cells]
    return printable(f"Scores, %: {', '.join(names)}.")


def _wrap(block: Text, console: Console, width: int) -> list[Text]:
    """Lines that end between words, but not between a number and its per cent sign."""
    block.plain = block.plain.replace(" %", f"{GLUE}%")
    lines = list(block.wrap(console, width))
    for line in lines:
        line.rstrip()
        line.plain = line.plain.replace(GLUE, " ")
    return lines


def _headline(found: Headline, colours: Mapping[str, str], named: bool, labelled: bool) -> list[Text]:
    """The headline, if it must be with the model's name and with its label before it; support, scope and warnings below."""
    support: Sentence = tuple(part for said in found.support for part in (*said, Part(" ")))
    parts = (Part(f"{printable(found.model)}: "), *found.parts) if named else found.parts
    blocks = [
        Text(found.label if labelled else "", "bold yellow"),
        _styled(parts, colours, "bold"),
        _styled(support, colours),
    ]
    blocks += [
        Text(found.scope[:1].upper() + found.scope[1:], "dim"),
        *(Text(f"! {text}", "yellow") for text in found.warnings),
    ]
    return [block for block in blocks if block]


def _styled(parts: Sentence, colours: Mapping[str, str], style: str = "") -> Text:
    return Text.assemble(*((part.text, f"{style} {colours.get(part.strategy, '')}".strip()) for part in parts))


def _choose_colours(found: Headline) -> dict[str, str]:
    """The style of every strategy that is named first in the headline, then in its support."""
    named = dict.fromkeys(part.strategy for said in (found.parts, *found.support) for part in said if part.strategy)
    return dict(zip(named, COLOURS, strict=False))


def _warnings(content: Opening) -> list[str]:
    """The first sentence of the first warnings, and how many there are more."""
    first = [text.partition(". ")[0] for text in content.warnings[:WARNINGS]]
    shown = [text if text.endswith((".", "?")) else f"{text}." for text in first]
    more = len(content.warnings) - len(shown)
    return [*shown, f"{more} more warning{'s' if more > 1 else ''}: see --details."] if more else shown


def _benches(about: Mapping[str, object]) -> Sequence[Mapping[str, Any]]:
    benches = about.get("bench")
    return benches if isinstance(benches, list) else []


def _rest(run: Run, folder: Path) -> Iterator[str]:
    """Where everything else is: the page, if it was written, and the command that prints all tables."""
    alone = len(run.folders) == 1  # the page of one run does not show the others
    page = next((path for path in (folder / PAGE, run.folder / "report" / PAGE) if alone and path.exists()), None)
    if page is not None:
        yield f"report   {printable(str(page))}   (tables, plots, every question)"
    yield f"details  tokenbench compare {printable(shlex.join(map(str, run.folders)))} --details"

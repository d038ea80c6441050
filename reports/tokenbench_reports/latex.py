"""Tables for a paper. They need the package booktabs and nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench_reports.document import document
from tokenbench_reports.standing import Standing, standings
from tokenbench_reports.wording import counted, interval, marks_of, number, percent, range_of

SIGNS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "−": "$-$", "≠": r"$\neq$", "×": r"$\times$", "±": r"$\pm$", "–": "--", "…": r"\ldots{}", "“": "``",
    "”": "''", "’": "'", "·": r"$\cdot$", "\n": " ", "\t": " ", "[": "{[}", "*": "{*}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
LONGEST = 60
"""Longer names would leave the page."""


class LatexReport(Report):
    """``tables.tex``, for ``\\input``; and ``tables-alone.tex``, which compiles by itself."""

    name: ClassVar[str] = "latex"
    description: ClassVar[str] = "tables.tex: tables for a paper, booktabs only"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the tables, and a document around them."""
        label = document(comparison, run.about()).label
        body = "\n".join(line for model in comparison.models for line in _model(comparison, model, label))
        alone = (
            "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{tables}\n\\end{document}\n"
        )
        return [write_text(folder / "tables.tex", body + "\n"), write_text(folder / "tables-alone.tex", alone)]


def escaped(text: str) -> str:
    """Text as TeX prints it; what pdflatex has no letter for is named by its code."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(SIGNS.get(sign) or (sign if " " <= sign <= "~" else f"{{[}}U+{ord(sign):04X}]") for sign in text)


def _model(comparison: Comparison, model: str, label: str) -> Iterator[str]:
    summary = comparison.summary[comparison.summary["model"] == model]
    mean = summary[summary["task"] == MEAN]
    verdicts = comparison.pairs[(comparison.pairs["model"] == model) & (comparison.pairs["family"] == "F1")]
    words = {
        (a, b): verdict.words
        for a, b, verdict in zip(verdicts["a"], verdicts["budget"], verdicts["verdict"], strict=True)
    }
    warning = f" {label}." if label else ""
    for group in standings(comparison, model):
        yield from _cells(model, group, mean, words, warning, comparison.margin)
        yield from _tasks(model, group, summary[summary["task"] != MEAN], warning)


def _cells(
    model: str, group: Standing, mean: pd.DataFrame, words: dict[tuple[str, str], str], warning: str, margin: float
) -> Iterator[str]:
    vanilla = mean[mean["strategy"] == "vanilla"].iloc[0]
    here = mean[mean["budget"] == group.budget].set_index("strategy")
    rows = [["vanilla", "100.0", number(vanilla["realised_tokens"]), "100", "100", "", ""]]
    for name in group.strategies:
        cell: Any = here.loc[name]
        costs = [percent(cell[cost] / vanilla[cost], 0) for cost in ("flops", "cache_bytes")]
        kept = interval(cell["retention"], cell["retention_low"], cell["retention_high"], marks=marks_of(margin))
        rank = range_of(*group.ranks(name))
        rows.append([name, kept, number(cell["realised_tokens"]), *costs, rank, words.get((name, group.budget), "")])
    caption = (
        f"Retention in per cent of vanilla's score with simultaneous 95 % intervals, {model} at budget {group.budget}, "
        f"{counted(int(vanilla['n']), 'question')} on {counted(int(vanilla['clusters']), 'image')}. FLOPs and KV cache in per cent of "
        "vanilla's. Bold: not distinguishable from the highest. Verdicts against vanilla are read off these intervals; ranks are adjusted for all pairs (max-T)."
        + warning
    )
    headers = ["strategy", "retention", "tokens", "FLOPs", "KV", "rank", "against vanilla"]
    bold = {at + 1 for at, name in enumerate(group.strategies) if name in group.top and len(group.strategies) > 1}
    yield from _table(caption, headers, "lrrrrrl", rows, bold)


def _tasks(model: str, group: Standing, cells: pd.DataFrame, warning: str) -> Iterator[str]:
    scores = cells[cells["budget"].isin([group.budget, "all"])].pivot(index="strategy", columns="task", values="score")
    values: dict[Any, Any] = scores.T.to_dict("list")
    rows = [[name, *map(percent, values[name])] for name in ("vanilla", *group.strategies)]
    caption = f"Scores in per cent by task, {model} at budget {group.budget}.{warning}"
    yield from _table(caption, ["strategy", *map(str, scores.columns)], "l" + "r" * scores.shape[1], rows, set())


def _table(
    caption: str, headers: Sequence[str], columns: str, rows: Sequence[Sequence[str]], bold: set[int]
) -> Iterator[str]:
    size = r"\small" if len(columns) < 8 else r"\scriptsize"
    yield from (
        r"\begin{table}",
        r"\centering",
        size,
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_prose(caption)}}}",
    )
    yield from (rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _row(headers), r"\midrule")
    for at, row in enumerate(rows):
        yield _row(row, bold=at in bold)
        if row[0] == "vanilla":
            yield r"\midrule"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _prose(text: str) -> str:
    return " ".join(escaped(word) for word in text.split())


def _row(cells: Sequence[str], *, bold: bool = False) -> str:
    first, *rest = map(escaped, cells)
    return " & ".join([rf"\textbf{{{first}}}" if bold else first, *rest]) + r" \\"

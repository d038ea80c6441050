"""Tables for a paper. They need the package booktabs and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.tables import cells_table, tasks_table
from tokenbench.comparison.wording import count_of
from tokenbench.contract.cells import VANILLA
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench.tables import Room, Table
from tokenbench_reports.document import make_frame
from tokenbench_reports.field import field_table
from tokenbench_reports.tex import escape, prose


class LatexReport(Report):
    r"""``tables.tex``, for ``\input``; and ``tables-alone.tex``, which compiles by itself."""

    name: ClassVar[str] = "latex"
    description: ClassVar[str] = "tables.tex: tables for a paper, booktabs only"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the tables, and a document around them."""
        about = run.about()
        label = make_frame(comparison, about).label
        body = "\n".join(
            line
            for model in comparison.models
            for line in (*field_table(comparison, model, about, label), *_model(comparison, model, label))
        )
        alone = (
            "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{tables}\n\\end{document}\n"
        )
        return [write_text(folder / "tables.tex", body + "\n"), write_text(folder / "tables-alone.tex", alone)]


def _model(comparison: Comparison, model: str, label: str) -> Iterator[str]:
    """Two tables a budget: the cells over all tasks, and the scores by task."""
    summary = comparison.summary
    vanilla = summary[(summary["model"] == model) & (summary["task"] == MEAN) & (summary["strategy"] == VANILLA)].iloc[
        0
    ]
    counts = f"{count_of(int(vanilla['n']), 'question')} on {count_of(int(vanilla['clusters']), 'image')}"
    warning = f" {label}." if label else ""
    cells, tasks = (make(comparison, model).fit(Room.PAPER) for make in (cells_table, tasks_table))
    for budget in dict.fromkeys(row.group for row in cells.rows if row.group):
        caption = (
            f"Accuracy kept, in per cent of vanilla's score with simultaneous 95 % intervals, {model} at budget {budget}, {counts}. FLOPs and "
            "KV cache in per cent of vanilla's. Bold: not distinguishable from the highest. Verdicts against vanilla are read off these "
            f"intervals; ranks are adjusted for all pairs (max-T).{warning}"
        )
        yield from _table(caption, _at(cells, budget))
        yield from _table(f"Scores in per cent by task, {model} at budget {budget}.{warning}", _at(tasks, budget))


def _at(table: Table, budget: str) -> Table:
    """The table at one budget, below vanilla."""
    return replace(table, rows=tuple(row for row in table.rows if row.group in ("", budget)))


def _table(caption: str, table: Table) -> Iterator[str]:
    aligned = "".join(column.align[0] for column in table.columns)
    size = r"\small" if len(aligned) < 8 else r"\scriptsize"
    yield from (
        r"\begin{table}",
        r"\centering",
        size,
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{prose(caption)}}}",
    )
    headers = [column.short or column.header for column in table.columns]
    yield from (rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", _row(headers), r"\midrule")
    for row in table.rows:
        yield _row([entry.brief for entry in row.entries], bold=row.strong)
        if not row.group:
            yield r"\midrule"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _row(texts: Sequence[str], *, bold: bool = False) -> str:
    first, *rest = map(escape, texts)
    return " & ".join([rf"\textbf{{{first}}}" if bold else first, *rest]) + r" \\"

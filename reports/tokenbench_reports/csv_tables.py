"""The tables of a comparison as files for other programs."""

from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import csv_text, write_text
from tokenbench.store.run import Run


class CsvReport(Report):
    """``summary.csv``, ``pairs.csv``, ``where.csv`` and ``turns.csv``, unrounded, scores and retention as fractions."""

    name: ClassVar[str] = "csv"
    description: ClassVar[str] = (
        "summary.csv, pairs.csv and where.csv, unrounded; scores and accuracy kept (retention) as fractions; turns.csv of a run with turns"
    )

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the tables."""
        tables = {"summary.csv": comparison.summary, "pairs.csv": comparison.pairs, "where.csv": comparison.where}
        if comparison.turns is not None:
            tables["turns.csv"] = comparison.turns
        return [write_text(folder / name, csv_text(table)) for name, table in tables.items()]

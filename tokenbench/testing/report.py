"""The checks of report formats, on made-up runs."""

from __future__ import annotations

import copy
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import MARK
from tokenbench.store.run import Run
from tokenbench.testing.check import Check, checks
from tokenbench.testing.made_up import HOSTILE, MadeUp, made_up

__all__ = ["check_report", "report_checks"]

_CHECKS: list[Check] = []


def check_report(report: Report) -> None:
    """Run every check on a report format.

    Raises:
        AssertionError: A check fails. The message says what is wrong and how to fix it.
    """
    for check in report_checks():
        check(report)


def report_checks() -> list[Check]:
    """Return the checks of a report format."""
    return list(_CHECKS)


@dataclass
class Desk:
    """A made-up run, and folders to write its report."""

    comparison: Comparison
    """The comparison of the run."""
    run: Run
    """The made-up run."""
    root: Path
    """A folder with the run directory, an empty folder for the report, and one that is the working directory meanwhile."""

    @property
    def folder(self) -> Path:
        """The folder for the report."""
        return self.root / "report"

    def write(self, report: Report) -> tuple[list[Path], str]:
        """Write a report. Return the files that it says it wrote, and what it printed."""
        out = io.StringIO()
        with chdir(self.root / "elsewhere"):
            written = report.write(self.comparison, self.run, self.folder, out)
        return list(written), out.getvalue()

    def files(self) -> set[Path]:
        """Return the files in the report's folder."""
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def others(self) -> dict[str, int]:
        """Return the files outside that folder, with the times of their last changes."""
        outside = (path for path in self.root.rglob("*") if path.is_file() and not path.is_relative_to(self.folder))
        return {str(path): path.stat().st_mtime_ns for path in outside}


@checks(_CHECKS, "set `name` and `description` on the class: one line each")
def says_what_it_is(report: Report) -> None:
    """It has a name and a description of one line."""
    for what in ("name", "description"):
        text = getattr(report, what, "")
        assert isinstance(text, str) and text.strip() and "\n" not in text, f"its {what} is {text!r}"


@checks(_CHECKS, "write below `folder` alone, and return every file")
def writes_into_its_folder_only(report: Report) -> None:
    """It shows something, writes into its folder only, and returns exactly the files it wrote."""
    with _desk(MadeUp()) as desk:
        before = desk.others()
        written, printed = desk.write(report)
        assert desk.others() == before, f"it wrote outside its folder: {_names(desk.others().keys() - before.keys())}"
        assert written or printed.strip(), "it writes no file and prints nothing"
        made = {path.resolve() for path in desk.files() if path.name != MARK}
        told = {(desk.root / "elsewhere" / path).resolve() for path in written}
        assert told == made, f"it returns {_names(told - made)} and wrote {_names(made - told)}"


@checks(_CHECKS, "overwrite existing files: a report is written again after every change of a run")
def can_be_written_again(report: Report) -> None:
    """Written a second time into the same folder, it shows the same."""
    with _desk(MadeUp()) as desk:
        first, again = desk.write(report), desk.write(report)
        assert first[1] == again[1], "it prints something else the second time"
        assert len(first[0]) == len(again[0]), f"{len(first[0])} files, then {len(again[0])}"


@checks(_CHECKS, "work on copies: `comparison.summary.copy()`")
def leaves_the_comparison_as_it_is(report: Report) -> None:
    """It changes neither the comparison nor what is known of the run."""
    with _desk(MadeUp()) as desk:
        tables = desk.comparison.summary.copy(), desk.comparison.pairs.copy()
        about = json.dumps(copy.deepcopy(desk.run.about()))
        desk.write(report)
        assert desk.comparison.summary.equals(tables[0]), "it changes comparison.summary"
        assert desk.comparison.pairs.equals(tables[1]), "it changes comparison.pairs"
        assert json.dumps(desk.run.about()) == about, "it changes run.about()"


@checks(_CHECKS, "a comparison may have one task, one model, and no pair of strategies")
def copes_with_one_task(report: Report) -> None:
    """It shows a run of a single task, and one of several models."""
    for kind in (MadeUp(tasks=("reading",)), MadeUp(models=("first", "second"))):
        _write_on(report, kind)


@checks(_CHECKS, "run.about()['failures'] names cells without numbers; they are in no table")
def copes_with_failures(report: Report) -> None:
    """It shows a run in which a strategy failed."""
    _write_on(report, MadeUp(failed=True))


@checks(_CHECKS, "run.about()['spec']['limit'] is a number if only the first samples were run")
def copes_with_a_limit(report: Report) -> None:
    """It shows a run of the first samples only."""
    _write_on(report, MadeUp(limit=24))


@checks(_CHECKS, "escape what comes from models, suites and users, and write UTF-8")
def copes_with_hostile_strings(report: Report) -> None:
    """Names and answers with marks of HTML, LaTeX, Markdown and templates do no harm; text files are UTF-8."""
    kind = MadeUp(tasks=(f"task {HOSTILE}", "plain"), models=(f"model {HOSTILE}",), text=HOSTILE, failed=True)
    for path, text in _write_on(report, kind):
        if path.suffix in (".html", ".htm", ".svg"):
            assert "<script>alert(1)" not in text, f"{path.name} runs what an answer says"


def _write_on(report: Report, kind: MadeUp) -> list[tuple[Path, str]]:
    """Write a report on a made-up run, check that it shows something, and return its text files with their content."""
    with _desk(kind) as desk:
        written, printed = desk.write(report)
        assert written or printed.strip(), "it shows nothing"
        text = (".html", ".htm", ".svg", ".md", ".txt", ".csv", ".json", ".tex", ".toml", ".yaml", ".xml")
        return [(path, path.read_text(encoding="utf-8")) for path in desk.files() if path.suffix in text]


@contextmanager
def _desk(kind: MadeUp) -> Iterator[Desk]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        for folder in ("report", "elsewhere"):
            (root / folder).mkdir()
        comparison, run = made_up(root / "run", kind)
        yield Desk(comparison, run, root)


def _names(paths: Any) -> str:
    return ", ".join(sorted(Path(path).name for path in paths)) or "nothing else"

"""The files of the site: a static leaderboard that opens from a folder, without a server and offline."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tokenbench.comparison import MEAN
from tokenbench.comparison.wording import count_of
from tokenbench.contract.cells import plain_name
from tokenbench.store.export import export_run
from tokenbench.store.new_folder import new_folder
from tokenbench.store.report_files import csv_text, subfolder, write_text
from tokenbench.store.run import Run
from tokenbench_reports.csv_tables import CsvReport
from tokenbench_reports.html import HERE as PAGE
from tokenbench_reports.html import HtmlReport
from tokenbench_reports.html.marks import look_of
from tokenbench_reports.html.names import name_filters
from tokenbench_reports.html.templates import make_environment
from tokenbench_reports.publish.boards import Board, Entrant, make_boards
from tokenbench_reports.publish.checking import Check
from tokenbench_reports.publish.history import make_histories

__all__ = ["write_site"]

HERE = Path(__file__).parent
SCRIPTS = ("basics.js", "plots.js")
"""The parts of a report's script that the site uses."""


def write_site(runs: Sequence[Run], checks: Sequence[Check], folder: Path) -> list[Board]:
    """Write the site to a new folder, which appears whole or not at all.

    Args:
        runs: The runs.
        checks: What was recomputed of each.
        folder: The folder to make; it may exist if it is empty.

    Returns:
        The leaderboards on it.

    Raises:
        UsageError: The folder holds something, or a run has nothing to compare.
        MachineError: The folder cannot be written.
    """
    entrants = [
        Entrant(slug, run, run.compare(), check.numbers, check.answers, check.unknown)
        for slug, run, check in zip(name_folders(runs), runs, checks, strict=True)
    ]
    boards = make_boards(entrants)
    with new_folder(folder, "-o") as made:
        for one in entrants:
            own = subfolder(subfolder(made, "runs"), one.slug)
            _write_reports(one.run, one.comparison, own)
            export_run(one.run, own / "answers")
        for board in boards:
            if len(board.entrants) > 1:
                _write_reports(board.run, board.comparison, subfolder(subfolder(made, "boards"), board.name))
        write_text(made / "leaderboard.csv", csv_text(_table(boards)))
        write_text(made / "index.html", _page(entrants, boards, folder.name))
    return boards


def name_folders(runs: Sequence[Run]) -> list[str]:
    """Return a name of its own for every run, made of that of its folder, that may stand in an address."""
    names: list[str] = []
    for run in runs:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", run.folder.resolve().name).strip("-.") or "run"
        name = next(name for name in (base, *(f"{base}-{at}" for at in range(2, len(runs) + 2))) if name not in names)
        names.append(name)
    return names


def _write_reports(run: Run, comparison: object, folder: Path) -> None:
    for report in (HtmlReport(), CsvReport()):
        report.write(comparison, run, folder, io.StringIO())  # type: ignore[arg-type]


def _table(boards: Sequence[Board]) -> pd.DataFrame:
    """Return every row of every leaderboard."""
    rows = [
        {
            "board": board.name, "model": board.model, "strategy": row["strategy"], "budget": row["budget"],
            "rank": board.rank(row["strategy"], row["budget"]),
            **{name: row[name] for name in ("retention", "retention_low", "retention_high", "score", "realised_tokens", "flops", "cache_bytes")},
            "run": board.source(row["strategy"], row["budget"]).slug,
            "tokenbench": board.source(row["strategy"], row["budget"]).version,
        }
        for board in boards
        for row in board.comparison.summary.to_dict("records")
        if row["model"] == board.model and row["task"] == MEAN
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _page(entrants: Sequence[Entrant], boards: Sequence[Board], name: str) -> str:
    style = _text(PAGE / "page.css") + _text(HERE / "site.css")
    script = "".join(['"use strict";\n(() => {\n', *(_text(PAGE / "script" / name) for name in SCRIPTS), "})();\n"])
    strategies = {cell.strategy for board in boards for cell in board.every}
    filters: dict[str, Any] = {"look": lambda strategy, view: look_of(view.marks, strategy), **name_filters(strategies)}
    models = list(dict.fromkeys(board.model for board in boards))
    answers = sum(one.answers for one in entrants)
    whole = not any(one.unknown for one in entrants)
    return make_environment(filters, HERE, PAGE).get_template("site.html").render(
        title=f"{count_of(len(set(map(plain_name, strategies))), 'way', 'ways')} to prune visual tokens on {count_of(len(models), 'model')}",
        deck=f"{count_of(len(entrants), 'run')} with {answers:,} answers. "
        + ("Every number but times was recomputed, and leads to its samples and its command." if whole
           else "Numbers were recomputed, except where the list of runs says otherwise, and lead to their samples and their command."),
        boards=boards,
        titles=[board.model for board in boards],
        histories=make_histories(entrants),
        entrants=entrants,
        margin=lambda board: f"{board.comparison.margin:g} {'point' if board.comparison.margin == 1 else 'points'}",
        command=shlex.join(["tokenbench", "publish", *_relative(entrants), "-o", name]),
        style=style,
        script=script,
        policy=_policy(style, script),
    )  # fmt: skip


def _relative(entrants: Sequence[Entrant]) -> list[str]:
    """Return the runs' folders as seen from the folder that holds all of them, since a page does not say where that is."""
    folders = [one.run.folder.resolve() for one in entrants]
    place = os.path.commonpath([folder.parent for folder in folders])
    return [folder.relative_to(place).as_posix() for folder in folders]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A content security policy: nothing is loaded, and only this style and this script, by their hashes, are used."""
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"

"""The run directory: what is computed is never lost and never counted twice.

    RUN/run.json                          resolved spec, cells, versions, hardware, looks
    RUN/cells/<cell id>.parquet, .json    final records of a cell, written at once; and its summary
    RUN/cells/<cell id>.failed.json       why a cell has none
    RUN/cells/<cell id>.parquet.broken    a final file whose content was damaged; the cell is run again
    RUN/journal/<cell id>.<host>.<pid>.jsonl   records while the cell runs
    RUN/logs/<cell id>.log                what happened to the cell
    RUN/left-out/<host>.<pid>.jsonl       samples that a model cannot be asked, left out for all strategies
    RUN/lock, RUN/running.json, RUN/workers.json   who runs it now, and with which workers
    RUN/report/

A record goes to the journal as soon as it exists. A cell that has all the records it was asked for is written to one Parquet file,
which an atomic rename moves into place; only then are its journals removed. When the run grows, its cells are written again in the
same way, with more records. A torn line of a journal counts as if it had never been written.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from tokenbench.errors import MachineError, UsageError
from tokenbench.store import files, run_json
from tokenbench.store.foreign import read_json
from tokenbench.store.journals import Journals, Question
from tokenbench.store.left_out import LeftOuts
from tokenbench.store.manifest import CellFailure, CellSummary
from tokenbench.store.record_file import (
    RECORD,
    DamagedError,
    Shrink,
    count_records,
    keep_whole,
    pack,
    read_many,
    read_records,
)

__all__ = ["Store"]

OWN = ("cells", "journal", "logs", "report", "lock", "running.json", "workers.json", "left-out", run_json.LOCK)
"""The names that a run directory may hold before it has a run.json."""
BROKEN = re.compile(r"\.parquet\.broken(\.\d+)?$")


class Store:
    """One run directory.

    Cells are named by their ids, questions by (key of the sample, digest of its question).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"
        self._journal = folder / "journal"
        self._logs = folder / "logs"
        self._writer = f"{socket.gethostname()}.{os.getpid()}"
        self.journals = Journals(self._journal, folder, self._writer)
        self.left_out = LeftOuts(folder, self._writer)
        self._finals: dict[str, tuple[object, frozenset[Question]]] = {}  # by cell, with the version of its file

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open an existing run.

        Raises:
            UsageError: There is no run in this folder.
        """
        if not (folder / "run.json").is_symlink() and not (folder / "run.json").is_file():
            raise UsageError(f"{folder} is not a run directory: it has no run.json")
        return cls(folder)

    def make_folders(self) -> None:
        """Make the directory and its folders, unless they exist.

        Raises:
            MachineError: The directory cannot be written.
        """
        try:
            for folder in (self._cells, self._journal, self._logs, self.folder / "report"):
                files.make_folder(folder, self.folder)
        except OSError as error:
            raise MachineError(f"cannot write the run to {self.folder}: {error.strerror or error}") from None

    def start(self, manifest: dict[str, Any]) -> None:
        """Write run.json for a new run, or for one that is resumed or grows. The looks that it records are kept.

        Raises:
            UsageError: The directory holds something other than a run.
            MachineError: The directory cannot be written.
        """
        self.check()
        self.make_folders()
        for folder in (self.folder, self._cells):
            files.sweep(folder, self.folder)
        run_json.write_manifest(self.folder, manifest)

    def check(self) -> None:
        """Check that a run may start or be resumed here, without writing anything.

        Raises:
            UsageError: The directory is a file, or holds something other than a run.
        """
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise UsageError(f"the output {self.folder} is a file, not a folder", "choose a new folder with -o")
        # A process that was killed before it could write run.json leaves its temporary file.
        there = [name for name in files.names(self.folder, self.folder) if not files.is_temporary(name)]
        if not run_json.is_run(self.folder) and set(there) - set(OWN):
            raise UsageError(
                f"the output {self.folder} is not empty and does not contain a run", "choose a new folder with -o"
            )

    def has_final_records(self, cell: str) -> bool:
        """Return whether a cell has final records; a run that grew since may ask it for more."""
        return files.is_file(self._parquet(cell), self.folder)

    def finished_cells(self) -> set[str]:
        """Return the cells that have final records. The folder is listed once for all of them."""
        return self._cells_with(".parquet")

    def failed_cells(self) -> set[str]:
        """Return the cells for which `fail` recorded a failure; `failure` says whether it still holds."""
        return self._cells_with(".failed.json")

    def _cells_with(self, ending: str) -> set[str]:
        return {name.removesuffix(ending) for name in files.names(self._cells, self.folder) if name.endswith(ending)}

    def count(self, cell: str) -> int:
        """Return the number of final records of a cell, as its file's metadata states it; `sys.maxsize` if the file is damaged."""
        try:
            return count_records(self._parquet(cell), self.folder) if self.has_final_records(cell) else 0
        except DamagedError:
            return sys.maxsize

    def final_questions(self, cell: str) -> Set[Question]:
        """Return the questions for which a cell has final records.

        A final file whose content is damaged is set aside, so that the cell is run again.

        Raises:
            MachineError: The file cannot be read now. Nothing is lost: the same command can be run again.
        """
        if not self.has_final_records(cell):
            return set()
        version = files.version(self._parquet(cell), self.folder)
        version_read, questions = self._finals.get(cell, (None, frozenset[Question]()))
        if version_read != version:
            final = self._read_final(cell)
            questions = frozenset(_questions(final)) if final is not None else frozenset()
            self._finals[cell] = (version, questions)
        return questions

    def answered_questions(self, cell: str) -> Set[Question]:
        """Return the questions of a cell that need not be asked: those with final or journaled records."""
        return self.final_questions(cell) | self.journals.questions(cell)

    def records_of(self, cell: str) -> dict[Question, dict[str, Any]]:
        """Return all records of a cell, final and journaled ones. The final record of a question takes precedence."""
        final = self._read_final(cell)
        records = dict(zip(_questions(final), final.to_pylist(), strict=True)) if final is not None else {}
        return self.journals.records(cell) | records

    def count_answers(self, cell: str, samples: int) -> int:
        """Return how many of the first `samples` samples of a cell are answered.

        A final file is read whole only if there is a journal beside it.
        """
        if (final := self.count(cell)) >= samples or not self.journals.files(cell):
            return min(samples, final)
        if not final:
            return min(samples, self.journals.count(cell))
        return min(samples, len(self.answered_questions(cell)))

    def _read_final(self, cell: str) -> pa.Table | None:
        if not self.has_final_records(cell):
            return None
        try:
            return read_records(self._parquet(cell), self.folder, RECORD)
        except DamagedError as error:
            self.log(cell, f"{error}; it is set aside, and the cell is run again")
            with suppress(FileNotFoundError):  # another worker has just done so
                files.set_aside(self._parquet(cell), self.folder)
            return None

    def broken_files(self) -> list[str]:
        """Return the names of the damaged cell files that were set aside."""
        return [name for name in files.names(self._cells, self.folder) if BROKEN.search(name)]

    def _parquet(self, cell: str) -> Path:
        return self._cells / f"{cell}.parquet"

    def finish(
        self,
        cell: str,
        asked: Mapping[str, str],
        about: dict[str, Any],
        records: Mapping[Question, dict[str, Any]] | None = None,
    ) -> None:
        """Write the final file of a complete cell: exactly one record per sample.

        Args:
            cell: The cell.
            asked: The digest of each sample's question, in the order of the records. Records of other questions are dropped.
            about: What the summary of the cell says besides its number of samples and mean score.
            records: The records of the cell, if they have been read already.

        Raises:
            MachineError: A record is missing or corrupt.
        """
        records = self.records_of(cell) if records is None else records
        try:
            table, content = pack([records[question] for question in asked.items()], RECORD)
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise MachineError(
                f"the journal of cell {cell} in {self._journal} is corrupt: {error}",
                f"delete {self._journal / cell}.*.jsonl and run again",
            ) from None
        score = sum(table["score"].to_pylist()) / len(asked)
        summary = {**about, "samples": len(asked), "score": score}
        self._write(self._cells / f"{cell}.json", summary)
        files.write_atomically(self._parquet(cell), content, self.folder)
        self.log(cell, f"published: {len(asked)} samples, mean score {score:.4f}")

    def summary(self, cell: str) -> dict[str, Any]:
        """Return what `finish` was told about a finished cell, with its number of samples and mean score."""
        path = self._cells / f"{cell}.json"
        about: dict[str, Any] = read_json(
            path, self.folder, CellSummary, f"delete the files of cell {cell} and run again"
        )
        return about

    def fail(self, cell: str, about: dict[str, Any]) -> None:
        """Record why a cell cannot be finished. It is not run again until the failure is cleared, or its identity changes.

        Args:
            cell: The cell.
            about: Its names, the kind of failure, the reason, and the number of samples that it was asked.
        """
        self._write(self._cells / f"{cell}.failed.json", about)

    def failure(self, cell: str) -> dict[str, Any] | None:
        """Return what `fail` recorded for a cell; None if the cell has since finished all that it was asked then."""
        path = self._cells / f"{cell}.failed.json"
        if not files.is_file(path, self.folder):
            return None
        about: dict[str, Any] = read_json(path, self.folder, CellFailure, "delete it and run again")
        return about if self.count(cell) < about.get("samples", 1) else None

    def clear_failure(self, cell: str) -> None:
        """Forget that a cell failed, so that it is run again."""
        files.remove(self._cells / f"{cell}.failed.json", self.folder)

    def clean_up(self, cell: str, unfit: Set[Question] = frozenset()) -> None:
        """Remove the journals of a cell if its final file holds all their records, and a failure that it has overcome.

        Args:
            cell: The cell.
            unfit: Questions that are left out of the final file.
        """
        if self.journals.files(cell) and self.journals.questions(cell) - unfit <= self.final_questions(cell):
            self.journals.forget(cell)
        if not self.failure(cell):
            self.clear_failure(cell)

    def log(self, cell: str, text: str) -> None:
        """Append a line to a cell's log, with the time (UTC) and the process that writes."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self._writer} {text.rstrip()}\n"
        files.append(self._logs / f"{cell}.log", self.folder, line.encode(errors="backslashreplace"))

    def orphans(self, cells: Iterable[str]) -> list[str]:
        """Return the finished cells that are none of these. What they depend on has since changed."""
        return sorted(self.finished_cells() - set(cells))

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        files.write_atomically(path, json.dumps(content, indent=2).encode(), self.folder)

    def columns(
        self, cells: Sequence[str], columns: Collection[str], packed: Collection[str] = (), shrink: Shrink = keep_whole
    ) -> Iterator[pa.Table]:
        """Yield some columns of the final records of each of these cells, with the arguments of `read_many`."""
        return read_many([self._parquet(cell) for cell in cells], self.folder, RECORD, columns, packed, shrink)


def _questions(records: pa.Table) -> Iterator[Question]:
    """Return the questions of final records. Records of older versions have no digest."""
    digests = records["asked"].to_pylist() if "asked" in records.column_names else [""] * len(records)
    return zip(records["sample"].to_pylist(), (digest or "" for digest in digests), strict=True)

"""The run directory: what is computed is never lost and never counted twice.

    RUN/run.json                          resolved spec, cells, versions, hardware, looks
    RUN/cells/<cell id>.parquet, .json    final records of a cell, published at once; and its summary
    RUN/cells/<cell id>.failed.json       why a cell has none
    RUN/cells/<cell id>.parquet.broken    a final file whose content was damaged; the cell is run again
    RUN/journal/<cell id>.<host>.<pid>.jsonl   records while the cell runs
    RUN/logs/<cell id>.log                what happened to the cell
    RUN/left-out/<host>.<pid>.jsonl       samples that a model cannot be asked, left out for all strategies
    RUN/lock, RUN/running.json            who runs it now
    RUN/report/

A record goes to the journal as soon as it exists. A cell that has all records it was asked for is written to one Parquet file,
moved into place by an atomic rename, and only then loses its journals. When the run grows, its cells are published again with more
records, in the same way. A torn line of a journal is as if it had never been written.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tokenbench.errors import MachineError, UsageError
from tokenbench.store import files
from tokenbench.store.foreign import conforming, read_json
from tokenbench.store.journals import Journals, Question
from tokenbench.store.left_out import LeftOuts
from tokenbench.store.manifest import CellFailure, CellSummary, Manifest, Versioned
from tokenbench.store.record_file import RECORD, DamagedError, count_records, read_many, read_records

__all__ = ["SCHEMA_VERSION", "Store"]

SCHEMA_VERSION = 3
AMENDED, PATIENCE = "run.lock", 10.0  # seconds; it is held for moments
OWN = ("cells", "journal", "logs", "report", "lock", "running.json", "left-out", AMENDED)
"""What is there before run.json."""
BROKEN = re.compile(r"\.parquet\.broken(\.\d+)?$")


class Store:
    """One run directory."""

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
        """An existing run. Raises UsageError if there is none."""
        if not (folder / "run.json").is_symlink() and not (folder / "run.json").is_file():
            raise UsageError(f"{folder} is not a run directory: it has no run.json")
        return cls(folder)

    def make(self) -> None:
        """Make the directory, unless it is there. Raises MachineError if it cannot be written."""
        try:
            for folder in (self._cells, self._journal, self._logs, self.folder / "report"):
                files.make_folder(folder, self.folder)
        except OSError as error:
            raise MachineError(f"cannot write the run to {self.folder}: {error.strerror or error}") from None

    def start(self, manifest: dict[str, Any]) -> None:
        """Write run.json: of a new run, or of one that goes on or grows. Its looks stay.

        Raises UsageError if the directory holds something else, MachineError if it cannot be written.
        """
        self.check()
        self.make()
        for folder in (self.folder, self._cells):
            files.sweep(folder, self.folder)
        with self._amending():
            looks = self.manifest().get("looks", []) if self.is_run() else []
            self._publish(self.folder / "run.json", {**manifest, "looks": looks}, indent=1)

    def is_run(self) -> bool:
        """Whether the directory holds a run."""
        return files.is_file(self.folder / "run.json", self.folder)

    def check(self) -> None:
        """Raise unless a run may start or go on here. Writes nothing."""
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise UsageError(f"the output {self.folder} is a file, not a folder", "choose a new folder with -o")
        # A process that was killed before it could publish run.json leaves its temporary file.
        there = [name for name in files.names(self.folder, self.folder) if not files.is_temporary(name)]
        if not self.is_run() and set(there) - set(OWN):
            raise UsageError(
                f"the output {self.folder} is not empty and does not contain a run", "choose a new folder with -o"
            )

    def look(self, unless: Callable[[list[dict[str, Any]]], bool], look: dict[str, Any]) -> None:
        """Remember in run.json that verdicts were shown, unless those of the looks that are there tell otherwise.

        Raises OSError if it cannot be written.
        """
        with self._amending():
            manifest = self.manifest()
            looks = manifest.get("looks", [])
            if not unless(looks):
                self._publish(self.folder / "run.json", {**manifest, "looks": [*looks, look]}, indent=1)

    @contextmanager
    def _amending(self) -> Iterator[None]:
        """Alone with run.json, for the moment that it takes to change it."""
        from filelock import FileLock

        files.check_lock(self.folder / AMENDED, self.folder)
        with FileLock(self.folder / AMENDED, timeout=PATIENCE):
            yield

    def manifest(self) -> dict[str, Any]:
        """The content of run.json."""
        path, hint = self.folder / "run.json", "restore it, or start a new run elsewhere"
        manifest: dict[str, Any] = read_json(path, self.folder, Versioned, hint)
        version = manifest["schema_version"]
        if version > SCHEMA_VERSION:
            raise UsageError(f"{path} was written by a newer TokenBench (schema {version})", "upgrade tokenbench")
        if version < SCHEMA_VERSION:
            raise UsageError(
                f"{path} was written by an older TokenBench (schema {version})", "run it again in another folder"
            )
        conforming(manifest, path, Manifest, hint)
        return manifest

    def is_published(self, cell: str) -> bool:
        """Whether a cell has final records; a run that grew since may ask it for more."""
        return files.is_file(self._parquet(cell), self.folder)

    def finished(self) -> set[str]:
        """The cells that have final records: one look at the folder for all of them."""
        return self._cells_with(".parquet")

    def failed(self) -> set[str]:
        """The cells of which something is remembered that `failure` may tell."""
        return self._cells_with(".failed.json")

    def _cells_with(self, ending: str) -> set[str]:
        return {name.removesuffix(ending) for name in files.names(self._cells, self.folder) if name.endswith(ending)}

    def count(self, cell: str) -> int:
        """How many final records a cell has, by the head of its file; all there can be if it is damaged."""
        try:
            return count_records(self._parquet(cell), self.folder) if self.is_published(cell) else 0
        except DamagedError:
            return sys.maxsize

    def published(self, cell: str) -> Set[Question]:
        """The questions that a cell has final records of.

        A published file whose content is damaged is set aside, so that the cell is run again. Raises MachineError if it
        cannot be read now, for whatever passing reason: that costs nothing but running the same command again.
        """
        if not self.is_published(cell):
            return set()
        version = files.version(self._parquet(cell), self.folder)
        known, questions = self._finals.get(cell, (None, frozenset[Question]()))
        if known != version:
            final = self._final(cell)
            questions = frozenset(_questions(final)) if final is not None else frozenset()
            self._finals[cell] = (version, questions)
        return questions

    def done(self, cell: str) -> Set[Question]:
        """The questions of a cell that need not be asked: final and journaled ones."""
        return self.published(cell) | self.journals.questions(cell)

    def records_of(self, cell: str) -> dict[Question, dict[str, Any]]:
        """All records of a cell by question, final and journaled ones; of two the final one counts."""
        final = self._final(cell)
        rows = dict(zip(_questions(final), final.to_pylist(), strict=True)) if final is not None else {}
        return self.journals.records(cell) | rows

    def answers(self, cell: str, samples: int) -> int:
        """How many of the first samples of a cell are answered. A published file is read only beside a journal."""
        if (final := self.count(cell)) >= samples or not self.journals.files(cell):
            return min(samples, final)
        if not final:
            return min(samples, self.journals.count(cell))
        return min(samples, len(self.done(cell)))

    def _final(self, cell: str) -> pa.Table | None:
        if not self.is_published(cell):
            return None
        try:
            return self.records(cell)
        except DamagedError as error:
            self.log(cell, f"{error}; it is set aside, and the cell is run again")
            with suppress(FileNotFoundError):  # another worker has just done so
                files.set_aside(self._parquet(cell), self.folder)
            return None

    def broken(self) -> list[str]:
        """The damaged files of cells that were set aside, by their names."""
        return [name for name in files.names(self._cells, self.folder) if BROKEN.search(name)]

    def _parquet(self, cell: str) -> Path:
        return self._cells / f"{cell}.parquet"

    def append(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Add (cell, record) pairs to the cells' journals; the lines of one cell in one write."""
        self.journals.append(records)

    def finish(
        self,
        cell: str,
        asked: Mapping[str, str],
        about: dict[str, Any],
        records: Mapping[Question, dict[str, Any]] | None = None,
    ) -> None:
        """Publish a complete cell: exactly one record a sample, in their order.

        asked: sample -> digest of its question. Final records of other questions are dropped. records: those of the cell, if they
        have been read already.
        """
        records = self.records_of(cell) if records is None else records
        try:
            table = pa.Table.from_pylist([records[question] for question in asked.items()], schema=RECORD)
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise MachineError(
                f"the journal of cell {cell} in {self._journal} is corrupt: {error}",
                f"delete {self._journal / cell}.*.jsonl and run again",
            ) from None
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        score = sum(table["score"].to_pylist()) / len(asked)
        summary = {**about, "samples": len(asked), "score": score}
        self._publish(self._cells / f"{cell}.json", summary)
        files.publish(self._parquet(cell), sink.getvalue().to_pybytes(), self.folder)
        self.log(cell, f"published: {len(asked)} samples, mean score {score:.4f}")

    def summary(self, cell: str) -> dict[str, Any]:
        """What `finish` was told about a published cell, with its number of samples and mean score."""
        path = self._cells / f"{cell}.json"
        about: dict[str, Any] = read_json(
            path, self.folder, CellSummary, f"delete the files of cell {cell} and run again"
        )
        return about

    def fail(self, cell: str, about: dict[str, Any]) -> None:
        """Remember why a cell cannot be finished; it is left alone until it is forgiven, or its identity changes.

        about: kind and reason, and of how many samples it was asked.
        """
        self._publish(self._cells / f"{cell}.failed.json", about)

    def failure(self, cell: str) -> dict[str, Any] | None:
        """What `fail` remembered of a cell, unless it has published since all that it was asked then."""
        path = self._cells / f"{cell}.failed.json"
        if not files.is_file(path, self.folder):
            return None
        about: dict[str, Any] = read_json(path, self.folder, CellFailure, "delete it and run again")
        return about if self.count(cell) < about.get("samples", 1) else None

    def forgive(self, cell: str) -> None:
        """Forget that a cell failed, so that it is tried again."""
        files.remove(self._cells / f"{cell}.failed.json", self.folder)

    def sweep(self, cell: str, unfit: Set[Question] = frozenset()) -> None:
        """Remove the journals of a cell, if all in them is published, and a failure that it has overcome."""
        if self.journals.files(cell) and self.journals.questions(cell) - unfit <= self.published(cell):
            self.journals.forget(cell)
        if not self.failure(cell):
            self.forgive(cell)

    def log(self, cell: str, text: str) -> None:
        """Add to a cell's log, with the time (UTC) and who writes."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self._writer} {text.rstrip()}\n"
        files.append(self._logs / f"{cell}.log", self.folder, line.encode(errors="backslashreplace"))

    def orphans(self, cells: Iterable[str]) -> list[str]:
        """Published cells that are none of these: of other versions of what a cell depends on."""
        return sorted(self.finished() - set(cells))

    def records(self, cell: str) -> pa.Table:
        """The published records of a cell."""
        return read_records(self._parquet(cell), self.folder, RECORD)

    def _publish(self, path: Path, content: Mapping[str, Any], indent: int = 2) -> None:
        files.publish(path, json.dumps(content, indent=indent).encode(), self.folder)

    def columns(
        self, cells: Sequence[str], columns: Collection[str], packed: Collection[str] = ()
    ) -> Iterator[pa.Table]:
        """Some columns of the published records of each of these cells. packed: as `read_many` takes them."""
        return read_many([self._parquet(cell) for cell in cells], self.folder, RECORD, columns, packed)


def _questions(records: pa.Table) -> Iterator[Question]:
    """Of final records; those of older versions do not say what was asked."""
    digests = records["asked"].to_pylist() if "asked" in records.column_names else [""] * len(records)
    return zip(records["sample"].to_pylist(), (digest or "" for digest in digests), strict=True)

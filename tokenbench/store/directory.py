"""The run directory: what is computed is never lost and never counted twice.

    RUN/run.json                          resolved spec, cells, versions, hardware
    RUN/cells/<cell id>.parquet, .json    final records of a cell, published at once; and its summary
    RUN/cells/<cell id>.failed.json       why a cell has none
    RUN/cells/<cell id>.parquet.broken    a final file whose content was damaged; the cell is run again
    RUN/journal/<cell id>.<host>.<pid>.jsonl   records while the cell runs
    RUN/logs/<cell id>.log                what happened to the cell
    RUN/lock, RUN/running.json            who runs it now
    RUN/report/

A record goes to the journal as soon as it exists. A complete cell is written to one Parquet file, moved into place by an
atomic rename, and only then loses its journals. A torn line of a journal is as if it had never been written.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tokenbench.errors import MachineError, UsageError
from tokenbench.store import files
from tokenbench.store.foreign import conforming, read_json
from tokenbench.store.manifest import CellFailure, CellSummary, Manifest, Versioned
from tokenbench.store.record_file import DamagedError, read_records

__all__ = ["SCHEMA_VERSION", "Store"]

SCHEMA_VERSION = 3
OWN = ("cells", "journal", "logs", "report", "lock", "running.json")  # what is there before run.json
BROKEN = re.compile(r"\.parquet\.broken(\.\d+)?$")

RECORD = pa.schema(
    [
        ("sample", pa.string()),
        ("cluster", pa.string()),
        ("unit", pa.string()),
        ("stratum", pa.string()),
        ("answer", pa.string()),
        ("target", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.list_(pa.int32())),
        ("visual_tokens", pa.int32()),
        ("lattice", pa.list_(pa.int32())),
        ("tokens_per_layer", pa.list_(pa.int32())),
        ("realised_tokens", pa.float64()),
        ("text_tokens", pa.int32()),
        ("flops", pa.float64()),
        ("cache_bytes", pa.float64()),
        ("evidence_recall", pa.float64()),
        ("seconds", pa.float64()),
    ]
)


class Store:
    """One run directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"
        self._journal = folder / "journal"
        self._logs = folder / "logs"
        self._writer = f"{socket.gethostname()}.{os.getpid()}"

    @classmethod
    def open(cls, folder: Path) -> Store:
        """An existing run. Raises UsageError if there is none."""
        if not (folder / "run.json").is_symlink() and not (folder / "run.json").is_file():
            raise UsageError(f"{folder} is not a run directory: it holds no run.json")
        return cls(folder)

    def make(self) -> None:
        """Make the directory, unless it is there. Raises MachineError if it cannot be written."""
        try:
            for folder in (self._cells, self._journal, self._logs, self.folder / "report"):
                files.make_folder(folder, self.folder)
        except OSError as error:
            raise MachineError(f"cannot write the run to {self.folder}: {error.strerror or error}") from None

    def start(self, manifest: dict[str, Any]) -> None:
        """Begin the run, or take up the one that is there; it must be of the same spec.

        Raises UsageError if the directory holds another run or something else, MachineError if it cannot be written.
        """
        self.check(manifest["spec"])
        self.make()
        for folder in (self.folder, self._cells):
            files.sweep(folder, self.folder)
        self._publish(self.folder / "run.json", manifest, indent=1)

    def check(self, spec: dict[str, Any]) -> None:
        """Raise unless a run of this spec may start or go on here. Writes nothing."""
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise UsageError(f"the output {self.folder} is a file", "name a new folder with -o")
        if not files.is_file(self.folder / "run.json", self.folder):
            # A process that was killed before it could publish run.json leaves its temporary file.
            if any(name not in OWN and not files.is_temporary(name) for name in files.names(self.folder, self.folder)):
                raise UsageError(f"the output {self.folder} is not empty and holds no run", "name a new folder with -o")
            return
        there = self.manifest()["spec"]
        if there != spec:
            changes = [
                f"{k}: {there.get(k)} -> {spec.get(k)}" for k in sorted({*there, *spec}) if there.get(k) != spec.get(k)
            ]
            raise UsageError(
                f"{self.folder} holds a run with other settings ({'; '.join(changes)})",
                "name another folder with -o, or repeat that run's settings",
            )

    def manifest(self) -> dict[str, Any]:
        """The content of run.json."""
        path, hint = self.folder / "run.json", "restore it, or start a new run elsewhere"
        manifest: dict[str, Any] = read_json(path, self.folder, Versioned, hint)
        version = manifest["schema_version"]
        if version > SCHEMA_VERSION:
            raise UsageError(f"{path} was written by a newer TokenBench (schema {version})", "upgrade tokenbench")
        if version < SCHEMA_VERSION:
            raise UsageError(f"{path} was written by an older TokenBench (schema {version})", "run it again elsewhere")
        conforming(manifest, path, Manifest, hint)
        return manifest

    def is_done(self, cell: str) -> bool:
        """Whether a cell is complete and published."""
        return files.is_file(self._cells / f"{cell}.parquet", self.folder)

    def journaled(self, cell: str) -> dict[str, dict[str, Any]]:
        """The records of an unfinished cell by sample, whoever wrote them; the first one counts."""
        records: dict[str, dict[str, Any]] = {}
        for path in self._journals(cell):
            with suppress(FileNotFoundError):  # the cell was published meanwhile, and its journals removed
                for line in files.read_lines(path, self.folder):
                    try:
                        record = json.loads(line)
                        records.setdefault(record["sample"], record)
                    except (ValueError, KeyError, TypeError, RecursionError):
                        continue  # torn by a crash, or junk: the sample is done again
        return records

    def done(self, cell: str) -> Set[str]:
        """The samples of a cell that need not be run: journaled ones, or all of a published cell.

        A published file whose content is damaged is set aside, so that the cell is run again. Raises MachineError if it
        cannot be read now, for whatever passing reason: that costs nothing but the same command once more.
        """
        if self.is_done(cell):
            try:
                return set(self.records(cell)["sample"].to_pylist())
            except DamagedError as error:
                self.log(cell, f"{error}; it is set aside, and the cell is run again")
                with suppress(FileNotFoundError):  # another worker has just done so
                    files.set_aside(self._cells / f"{cell}.parquet", self.folder)
        return self.journaled(cell).keys()

    def broken(self) -> list[str]:
        """The damaged files of cells that were set aside, by their names."""
        return [name for name in files.names(self._cells, self.folder) if BROKEN.search(name)]

    def answers(self, cell: str, samples: int) -> int:
        """How many of a cell's samples are answered; no published file is read."""
        return samples if self.is_done(cell) else len(self.journaled(cell))

    def append(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Add (cell, record) pairs to the cells' journals; the lines of one cell in one write."""
        lines: dict[str, list[str]] = {}
        for cell, record in records:
            lines.setdefault(cell, []).append(json.dumps(record))
        for cell, cell_lines in lines.items():
            # The first newline ends a line that a full disk or a crash may have torn.
            text = "\n" + "\n".join(cell_lines) + "\n"
            files.append(self._journal / f"{cell}.{self._writer}.jsonl", self.folder, text.encode())

    def finish(self, cell: str, samples: Sequence[str], about: dict[str, Any]) -> None:
        """Publish a complete cell: exactly one record a sample, in the order of `samples`."""
        journal = self.journaled(cell)
        try:
            table = pa.Table.from_pylist([journal[sample] for sample in samples], schema=RECORD)
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise MachineError(
                f"a journal of cell {cell} in {self._journal} holds what no run wrote: {error}",
                f"delete {self._journal / cell}.*.jsonl and run again",
            ) from None
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        score = sum(table["score"].to_pylist()) / len(samples)
        summary = {**about, "samples": len(samples), "score": score}
        self._publish(self._cells / f"{cell}.json", summary)
        files.publish(self._cells / f"{cell}.parquet", sink.getvalue().to_pybytes(), self.folder)
        self.log(cell, f"published: {len(samples)} samples, mean score {score:.4f}")

    def summary(self, cell: str) -> dict[str, Any]:
        """What `finish` was told about a published cell, with its number of samples and mean score."""
        path = self._cells / f"{cell}.json"
        about: dict[str, Any] = read_json(
            path, self.folder, CellSummary, f"delete the files of cell {cell} and run again"
        )
        return about

    def fail(self, cell: str, about: dict[str, Any]) -> None:
        """Remember why a cell cannot be finished; it is left alone until it is forgiven, or its identity changes."""
        self._publish(self._cells / f"{cell}.failed.json", about)

    def failure(self, cell: str) -> dict[str, Any] | None:
        """What `fail` remembered of a cell that is not done."""
        path = self._cells / f"{cell}.failed.json"
        if self.is_done(cell) or not files.is_file(path, self.folder):
            return None
        about: dict[str, Any] = read_json(path, self.folder, CellFailure, "delete it and run again")
        return about

    def forgive(self, cell: str) -> None:
        """Forget that a cell failed, so that it is tried again."""
        files.remove(self._cells / f"{cell}.failed.json", self.folder)

    def sweep(self, cell: str) -> None:
        """Remove the journals of a published cell, and what it failed with before."""
        for path in self._journals(cell):
            files.remove(path, self.folder)
        self.forgive(cell)

    def log(self, cell: str, text: str) -> None:
        """Add to a cell's log, with the time (UTC) and who writes."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self._writer} {text.rstrip()}\n"
        files.append(self._logs / f"{cell}.log", self.folder, line.encode(errors="backslashreplace"))

    def orphans(self, cells: Iterable[str]) -> list[str]:
        """Published cells that are none of these: of other versions of what a cell depends on."""
        there = {Path(name).stem for name in files.names(self._cells, self.folder) if name.endswith(".parquet")}
        return sorted(there - set(cells))

    def records(self, cell: str) -> pa.Table:
        """The published records of a cell."""
        return read_records(self._cells / f"{cell}.parquet", self.folder, RECORD)

    def _journals(self, cell: str) -> list[Path]:
        found = files.names(self._journal, self.folder)
        return [self._journal / name for name in found if name.startswith(f"{cell}.") and name.endswith(".jsonl")]

    def _publish(self, path: Path, content: Mapping[str, Any], indent: int = 2) -> None:
        files.publish(path, json.dumps(content, indent=indent).encode(), self.folder)

"""All answers that the workers of a run ever wrote, also those whose journals are gone by the end."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["Answers"]


class Answers:
    """Opens every journal of a run as soon as it appears, and reads it when the run has ended: an open file outlives its name."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files, self._stop = folder, dict[str, IO[bytes]](), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Answers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.counts = self._read()
        for handle in self._files.values():
            handle.close()

    @property
    def twice(self) -> int:
        """How many answers were computed more often than once, each counted as often as it was computed in vain."""
        return self.counts.total() - len(self.counts)

    @property
    def writers(self) -> set[str]:
        """The processes that have answered so far, each with its machine."""
        return {
            name.partition(".")[2] for name, handle in list(self._files.items()) if os.fstat(handle.fileno()).st_size
        }

    def now(self) -> int:
        """How many answers there are so far."""
        return len(self._read())

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._open()
        self._open()

    def _open(self) -> None:
        for path in (self._folder / "journal").glob("*.jsonl"):
            if path.name not in self._files:
                try:
                    self._files[path.name] = path.open("rb")
                except FileNotFoundError:
                    continue

    def _read(self) -> Counter[tuple[str, str, str]]:
        """How often each (cell, sample, question) was answered."""
        found: Counter[tuple[str, str, str]] = Counter()
        for name, handle in list(self._files.items()):
            handle.seek(0)
            for line in handle.read().split(b"\n"):
                if line.endswith(b"}"):
                    record = json.loads(line)
                    found[name.partition(".")[0], record["sample"], record["asked"]] += 1
        return found

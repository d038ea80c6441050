"""The progress of a run: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from tokenbench.errors import printable

__all__ = ["Progress", "Silent", "progress"]

INTERVAL = 30.0


class Progress(Protocol):
    """Something that shows progress."""

    def advance(self, answers: int, what: str) -> None:
        """Show that there are so many more answers, and that `what` is running."""

    def tell(self, sentence: str) -> None:
        """Show a message immediately that the user may have to act on: a job that waits, a worker that was lost."""


@contextmanager
def progress(total: int, out: TextIO, quiet: bool = False) -> Iterator[Progress]:
    """Show progress over a number of answers.

    Args:
        total: The number of answers.
        out: Where to write.
        quiet: Show nothing.
    """
    if quiet:
        yield Silent()
    elif out.isatty():
        yield from _bar(total, out)
    else:
        yield _Lines(total, out)


class Silent:
    """Shows nothing."""

    def advance(self, answers: int, what: str) -> None:
        """Do nothing."""

    def tell(self, sentence: str) -> None:
        """Do nothing."""


class _Lines:
    def __init__(self, total: int, out: TextIO) -> None:
        self._total, self._out, self._done = total, out, 0
        self._start = self._last = time.monotonic()

    def advance(self, answers: int, what: str) -> None:
        self._done += answers
        now = time.monotonic()
        if now - self._last < INTERVAL and self._done < self._total:
            return
        self._last = now
        seconds = (now - self._start) / self._done * (self._total - self._done) if self._done else None
        left = f", {seconds:.0f} s left" if seconds is not None else ""
        self.tell(f"{self._done}/{self._total} answers, {what}{left}")

    def tell(self, sentence: str) -> None:
        self._out.write(f"{printable(sentence)}\n")
        self._out.flush()


def _bar(total: int, out: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(file=out), transient=True) as bar:
        task = bar.add_task("answers", total=total)

        class _Bar:
            def advance(self, answers: int, what: str) -> None:
                bar.update(task, advance=answers, description=printable(what))

            def tell(self, sentence: str) -> None:
                bar.console.print(printable(sentence), markup=False, highlight=False)

        yield _Bar()

"""RUN/questions.jsonl: the questions of a run that another tool ran, as its logs hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.errors import MachineError
from tokenbench.store import files

if TYPE_CHECKING:
    from tokenbench.contract.suite import Sample

__all__ = ["FILE", "read_questions", "write_questions"]

FILE = "questions.jsonl"
NAMES = ("task", "sample", "cluster", "question", "target")


def write_questions(folder: Path, questions: Iterable[tuple[str, str, str, str, str]]) -> None:
    """Write the questions of a run that another tool ran: the task, the key, the image, the text and the right answer of each."""
    lines = [json.dumps(dict(zip(NAMES, one, strict=True))) + "\n" for one in questions]
    files.write_atomically(folder / FILE, "".join(lines).encode(), folder)


def read_questions(folder: Path) -> dict[tuple[str, str], Sample]:
    """Return the questions in the file. They have texts, and no pictures; a sample without a text has its key in place of it."""
    from tokenbench.contract.suite import Sample

    found: dict[tuple[str, str], Sample] = {}
    if not files.is_file(folder / FILE, folder):
        return found
    for line in files.read_lines(folder / FILE, folder):
        try:
            task, key, cluster, question, target = (str(json.loads(line)[name]) for name in NAMES)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise MachineError(f"{folder / FILE} is damaged", "import the run again") from None
        found[task, key] = Sample(key, cluster, question or key, target, list)
    return found

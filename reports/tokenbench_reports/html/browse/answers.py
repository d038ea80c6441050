"""What every cell answered to every question, read from the run in slices that fit into memory."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from tokenbench.contract.suite import Sample
from tokenbench_reports.html.browse.index import Index

__all__ = ["ANSWERED", "Known", "Read", "answer_items", "answer_of", "asked_sample", "cut", "slices", "target_of"]

ANSWERED = ("sample", "answer", "target", "score")
ROWS = 200_000
"""Answers that are in memory at once."""
LONGEST = 300
"""Longer answers are cut."""
LONGEST_TEXT = 240
"""Longer questions are cut in the list and for the search; the question itself is shown up to ``WHOLE``."""
WHOLE = 4000
Known = Mapping[tuple[str, str], Sample] | str
"""The run's questions by task and key, or why they cannot be shown."""
Read = Callable[[Sequence[str], Collection[tuple[str, str]]], pd.DataFrame]
"""Returns some columns of the model's answers to some questions, of one seed of each cell."""


def slices(index: Index, numbers: Sequence[int], read: Read, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows of some questions by cell, in the order of the numbers.

    Args:
        index: The questions and cells.
        numbers: The questions, ascending.
        read: Reads answers.
        columns: The columns to read.

    Yields:
        The number of a question, and for every cell a dict of the columns, or None where the answer is missing.
    """
    place = {cell: at for at, cell in enumerate(index.cells)}
    step = max(1, ROWS // max(1, len(index.cells)))
    for start in range(0, len(numbers), step):
        part = numbers[start : start + step]
        of = {index.questions[at]: at for at in part}
        found: dict[int, list[Any]] = {at: [None] * len(index.cells) for at in part}
        for row in read(columns, of.keys()).to_dict("records"):
            at, cell = (
                of.get((str(row["task"]), str(row["sample"]))),
                place.get((str(row["strategy"]), str(row["budget"]))),
            )
            if at is not None and cell is not None:
                found[at][cell] = row
        yield from found.items()


def answer_items(index: Index, read: Read, known: Known) -> Iterator[tuple[int, str, list[Any]]]:
    """Yield every question with its answers.

    Yields:
        Its number, its text cut for the list, and [right answer, texts of answers, which of them every cell gave,
        scores, whole text]. Cells that did not answer have -1, and unknown answers no text. Scores are 0 if all are 0 or 1, and the whole text is
        empty if the list has all of it.
    """
    for at, rows in slices(index, range(len(index.questions)), read, ANSWERED):
        there = [row for row in rows if row is not None]
        target = target_of(rows)
        words = {text: number for number, text in enumerate(dict.fromkeys(answer_of(row) for row in there))}
        given = [-1 if row is None else words[answer_of(row)] for row in rows]
        scores = [
            None if row is None or row["score"] != row["score"] else round(float(row["score"]), 3) for row in rows
        ]
        sample = asked_sample(index.questions[at], target, known)
        whole = index.questions[at][1] if sample is None else sample.question
        soft = any(score not in (None, 0.0, 1.0) for score in scores)
        item = [cut(target, LONGEST), list(words), given, scores if soft else 0]
        yield at, cut(whole, LONGEST_TEXT), [*item, cut(whole, WHOLE) if len(whole) > LONGEST_TEXT else ""]


def asked_sample(question: tuple[str, str], target: str, known: Known) -> Sample | None:
    """The suite's question, if it still is the run's.

    Args:
        question: Task and sample.
        target: The right answer that the run recorded.
        known: The run's questions.
    """
    sample = None if isinstance(known, str) else known.get(question)
    return sample if sample is not None and str(sample.target) == target else None


def target_of(rows: Sequence[Mapping[str, Any] | None]) -> str:
    """The right answer that the run recorded."""
    return next((str(row["target"]) for row in rows if row is not None), "")


def cut(text: str, most: int) -> str:
    """At most so many characters, saying so."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def answer_of(row: Mapping[str, Any], most: int = LONGEST) -> str | None:
    """What a cell answered, cut to so many characters; None if that is unknown."""
    return cut(row["answer"], most) if isinstance(row["answer"], str) else None

"""Every question with every cell's answer, in as little room as the page's script can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenbench.contract.suite import Sample
from tokenbench_reports.html.gallery import RIGHT

MOST, MOST_ANSWERS, MOST_TEXT = 2000, 100_000, 600_000
"""Questions, answers and signs of text that a page holds of one model."""
LONGEST = 120
"""Longer questions and answers are cut."""


@dataclass(frozen=True)
class Questions:
    """Questions and answers as the page's script takes them."""

    tasks: list[str]
    """The tasks."""
    asked: list[tuple[int, str, int]]
    """(task, question, right answer) of every question; answers are numbers of ``words``."""
    words: list[str]
    """The texts of all answers, once each."""
    answers: dict[str, list[int]]
    """By strategy and budget, the answer to every question; -1 if there is none."""
    right: dict[str, str]
    """By strategy and budget, 1 for every question that was answered right, else 0."""
    of: int
    """How many questions the run has."""

    def name(self, strategy: str, budget: str) -> str | None:
        """The key of a cell; a strategy without budgets, such as vanilla, has one for all."""
        keys = [key for key in self.answers if key.startswith(f"{strategy}\n")]
        exact = f"{strategy}\n{budget}"
        return exact if exact in self.answers else keys[0] if len(keys) == 1 else None


def choose_questions(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The (task, sample) pairs that are listed: all, or as many as a page can hold, evenly from all there are."""
    cells = max(1, rows.groupby(["strategy", "budget"], observed=True).ngroups)
    keys = rows[["task", "sample"]].drop_duplicates()
    most = max(60, min(MOST, MOST_ANSWERS // cells))
    chosen = keys.iloc[:: max(1, -(-len(keys) // most))]
    return [(str(task), str(sample)) for task, sample in chosen.itertuples(index=False)]


def list_questions(
    chosen: Sequence[tuple[str, str]], rows: pd.DataFrame, known: Mapping[tuple[str, str], Sample] | str, of: int
) -> Questions:
    """Arrange the questions.

    Args:
        chosen: The (task, sample) pairs.
        rows: The model's answers to them, one for each cell and question.
        known: The run's questions, or why they cannot be shown: then their keys stand for them.
        of: How many questions the run has.
    """
    place = {pair: at for at, pair in enumerate(chosen)}
    cells = {
        f"{name}\n{budget}": own
        for (name, budget), own in rows.groupby(["strategy", "budget"], sort=False, observed=True)
    }
    words: dict[str, int] = {}
    targets = {
        (str(t), str(s)): str(target)
        for t, s, target in rows[["task", "sample", "target"]]
        .drop_duplicates(["task", "sample"])
        .itertuples(index=False)
    }
    by_cell = {key: _by_place(own, place) for key, own in cells.items()}
    tasks = list(dict.fromkeys(task for task, _ in chosen))
    asked: list[tuple[int, str, int]] = []
    room = MOST_TEXT
    for at, (task, sample) in enumerate(chosen):
        text = _text(task, sample, known, targets)
        new = {_cut(own[at][0]) for own in by_cell.values() if at in own} - words.keys()
        room -= len(text) + sum(map(len, new))
        if room < 0 and asked:
            break
        for word in (_cut(targets.get((task, sample), "")), *sorted(new)):
            words.setdefault(word, len(words))
        asked.append((tasks.index(task), text, words[_cut(targets.get((task, sample), ""))]))
    listed = range(len(asked))
    return Questions(
        tasks,
        asked,
        list(words),
        {key: [words.get(_cut(own[at][0]), -1) if at in own else -1 for at in listed] for key, own in by_cell.items()},
        {key: "".join("1" if own.get(at, ("", False))[1] else "0" for at in listed) for key, own in by_cell.items()},
        of,
    )


def _by_place(rows: pd.DataFrame, place: Mapping[tuple[str, str], int]) -> dict[int, tuple[str, bool]]:
    columns = rows[["task", "sample", "answer", "score"]].itertuples(index=False)
    return {place[str(t), str(s)]: (str(answer), bool(score >= RIGHT)) for t, s, answer, score in columns}


def _text(
    task: str, sample: str, known: Mapping[tuple[str, str], Sample] | str, targets: Mapping[tuple[str, str], str]
) -> str:
    """The question, if the suite's is still the run's; else its key."""
    question = None if isinstance(known, str) else known.get((task, sample))
    there = question is not None and str(question.target) == targets.get((task, sample))
    return _cut(question.question if question is not None and there else sample)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def as_json(questions: Questions) -> dict[str, Any]:
    """What the script reads."""
    return {name: getattr(questions, name) for name in ("tasks", "asked", "words", "answers", "right")}

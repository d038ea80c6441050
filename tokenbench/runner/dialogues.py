"""Questions about one image that are asked of the same tokens: the first one chooses them, the later ones find what it left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from tokenbench.contract.suite import Sample, Task
from tokenbench.errors import UsageError
from tokenbench.runner.batches import Question

__all__ = ["batch_dialogues", "check_turns", "complete", "form_dialogues", "halve"]


def form_dialogues(samples: Sequence[Sample], turns: int) -> list[Sample]:
    """Return the samples of a task, each with its turn and the first question of its dialogue.

    The questions about an image make dialogues of `turns` questions, by their places in the data and then in the order of the task; the
    last dialogue may be shorter. More samples therefore change the dialogues of those that are there only if their places are earlier.

    Args:
        samples: The samples, in the order in which a run takes them up.
        turns: The largest number of questions of a dialogue.
    """
    asked: dict[str, list[Sample]] = {}
    formed = []
    for sample in _order_images(samples):
        before = asked.setdefault(sample.cluster, [])
        turn = len(before) % turns
        formed.append(replace(sample, turn=turn + 1, opening=before[-turn]) if turn else sample)
        before.append(sample)
    return formed


def _order_images(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Yield the samples with those of each image by their places. Every image keeps its positions among the others."""
    of_image: dict[str, list[Sample]] = {}
    for sample in samples:
        of_image.setdefault(sample.cluster, []).append(sample)
    ordered = {cluster: iter(sorted(own, key=lambda one: one.place)) for cluster, own in of_image.items()}
    return (next(ordered[sample.cluster]) for sample in samples)


def check_turns(turns: int, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Check that some dialogue has a second question.

    Args:
        turns: The largest number of questions of a dialogue.
        samples: The samples of each task.

    Raises:
        UsageError: There is none in any task.
    """
    if turns == 1 or any(sample.opening for own in samples.values() for sample in own):
        return
    names = ", ".join(samples)
    raise UsageError(
        f"--turns {turns} needs several questions about an image, and no image has a second one among the samples of {names}",
        "raise --limit, choose other tasks, or leave out --turns",
    )


def complete(questions: Sequence[Question], all_of: Mapping[str, Mapping[str, Sample]]) -> list[Question]:
    """Return questions with the first ones of their dialogues, which choose the tokens, before them.

    Args:
        questions: Some questions, with those of a dialogue in a row.
        all_of: The samples of each task, by key.
    """
    there = {(task.name, sample.key) for task, sample in questions}
    completed: list[Question] = []
    for task, sample in questions:
        opening = sample.opening
        if opening and (task.name, opening.key) not in there:
            there.add((task.name, opening.key))
            completed.append((task, all_of[task.name][opening.key]))
        completed.append((task, sample))
    return completed


def batch_dialogues(questions: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Yield batches of about `size` questions. No dialogue is divided, so that one may be larger."""
    batch: list[Question] = []
    for dialogue in _dialogues(questions):
        if batch and len(batch) + len(dialogue) > size:
            yield batch
            batch = []
        batch += dialogue
    if batch:
        yield batch


def halve(questions: Sequence[Question]) -> list[Sequence[Question]]:
    """Divide a batch in two.

    A single dialogue is divided, too, and both parts ask its first question. One of two questions or fewer is returned as one part.
    """
    dialogues = _dialogues(questions)
    if len(dialogues) > 1:
        half = len(dialogues) // 2
        return [[one for dialogue in part for one in dialogue] for part in (dialogues[:half], dialogues[half:])]
    opening, later = questions[:1], questions[1:]
    if len(later) < 2:
        return [questions]
    return [[*opening, *later[: len(later) // 2]], [*opening, *later[len(later) // 2 :]]]


def _dialogues(questions: Iterable[Question]) -> list[list[Question]]:
    """Return the questions of each dialogue, which are consecutive."""

    def opening(question: Question) -> tuple[Task, str]:
        task, sample = question
        return task, (sample.opening or sample).key

    return [list(own) for _, own in groupby(questions, key=opening)]

"""Asks the questions of a batch under many arms: first questions, then the later ones of their dialogues."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch

from tokenbench.engine import Pruner, RowTrace
from tokenbench.errors import MachineError, StrategyError
from tokenbench.models.batch import Encoded, Loaded
from tokenbench.runner.batches import Question
from tokenbench.runner.dialogues import halve
from tokenbench.runner.passes import BatchQuestions, Outcome, OutOfMemory, run_plans
from tokenbench.runner.records import check_pruned
from tokenbench.runner.work import Work

__all__ = ["ask_batch"]


def ask_batch(
    work: Work,
    pruner: Pruner,
    questions: Sequence[Question],
    loaded: Loaded,
    wanted: Sequence[int],
    failed: set[int],
    most_tokens: int | None = None,
) -> Iterator[tuple[Sequence[Question], Outcome]]:
    """Run the wanted arms on a batch, or on its halves if memory is short.

    Args:
        work: The model's share of the run.
        pruner: The pruner that is attached to the model.
        questions: The questions, with the first one of each dialogue.
        loaded: Their samples.
        wanted: The numbers of the arms whose answers are wanted.
        failed: The numbers of the arms that are left out.
        most_tokens: The largest number of new tokens; by default, that of each task.

    Yields:
        The questions of the batch or half, and the outcome of an arm.

    Raises:
        MachineError: One question does not fit into memory.
    """
    left = list(wanted)
    try:
        for outcome in _ask(work, pruner, questions, loaded, left, failed, most_tokens):
            yield questions, _check_outcome(work, outcome)
            left.remove(outcome.plan)
        return
    except (OutOfMemory, torch.OutOfMemoryError):
        halves = halve(questions)
        if len(halves) == 1:
            raise MachineError(
                f"'{work.model.name}' does not fit into memory even with one question per batch",
                "use a smaller --dtype or another device",
            ) from None
    rows = {id(sample): b for b, (_, sample) in enumerate(questions)}
    for half in halves:
        parts = loaded.select([rows[id(sample)] for _, sample in half])
        yield from ask_batch(work, pruner, half, parts, left, failed, most_tokens)


def _ask(
    work: Work,
    pruner: Pruner,
    questions: Sequence[Question],
    loaded: Loaded,
    wanted: Sequence[int],
    failed: Collection[int],
    most_tokens: int | None,
) -> Iterator[Outcome]:
    """Yield the outcome of every wanted arm. Images are encoded once, for first and for later questions."""
    encoded = work.model.encode_images(loaded, work.requests)
    openings = [b for b, (_, sample) in enumerate(questions) if sample.opening is None]
    later = [b for b, (_, sample) in enumerate(questions) if sample.opening is not None]
    first = _prepare(work, questions, loaded, encoded, openings, most_tokens)
    if not later:
        yield from run_plans(work.model, pruner, work.plans, wanted, failed, first, work.size)
        return
    # All arms, whichever are wanted, so that a resumed run has the same passes and computes the same numbers.
    standing = [i for i in range(len(work.plans)) if i not in failed]
    done: dict[int, Outcome] = {}
    for outcome in run_plans(work.model, pruner, work.plans, standing, failed, first, work.size, remember=True):
        if outcome.error is None:
            done[outcome.plan] = outcome
        elif outcome.plan in wanted:
            yield outcome
    place = {(task.name, questions[b][1].key): at for at, b in enumerate(openings) for task in [questions[b][0]]}
    opening = [place[task.name, sample.opening.key] for task, sample in (questions[b] for b in later) if sample.opening]
    traces = {plan: [outcome.rows[at] for at in opening] for plan, outcome in done.items()}
    asked = replace(
        _prepare(work, questions, loaded, encoded, later, most_tokens),
        traces={i: rows for i, rows in traces.items() if i != 0},
    )
    out = {i for i in range(len(work.plans)) if i not in done}
    for outcome in run_plans(work.model, pruner, work.plans, [i for i in wanted if i in done], out, asked, work.size):
        yield outcome if outcome.error else _join(done[outcome.plan], outcome, openings, later, traces[outcome.plan])


def _prepare(
    work: Work,
    questions: Sequence[Question],
    loaded: Loaded,
    encoded: Mapping[str, Sequence[Encoded]],
    rows: Sequence[int],
    most_tokens: int | None,
) -> BatchQuestions:
    """Return some questions of a batch, ready to run."""
    own = [questions[b] for b in rows]
    batch = work.model.make_batch(loaded if len(own) == len(questions) else loaded.select(rows), encoded)
    keys = [f"{task.name}/{sample.key}" for task, sample in own]
    plans = {
        (i, b): work.own_plans[i, task.name]
        for b, (task, _) in enumerate(own)
        for i in range(len(work.plans))
        if (i, task.name) in work.own_plans
    }
    return BatchQuestions(batch, keys, [most_tokens or task.max_new_tokens for task, _ in own], plans)


def _join(
    first: Outcome, later: Outcome, openings: Sequence[int], rows: Sequence[int], traces: Sequence[RowTrace]
) -> Outcome:
    """Return the outcome of a plan on a whole batch. A later question costs what it would cost if it were asked alone.

    Args:
        first: The outcome on the first questions.
        later: The outcome on the later ones.
        openings: The rows of the first questions in the batch.
        rows: The rows of the later ones.
        traces: For each later question, the trace of its dialogue's first one.
    """
    own = [replace(trace, text=row.text, values=[]) for trace, row in zip(traces, later.rows, strict=True)]
    order = sorted(range(len(openings) + len(rows)), key=[*openings, *rows].__getitem__)
    answers, clips = [*first.answers, *later.answers], [*first.clips, *later.clips]
    seconds, both = [*first.seconds, *later.seconds], list(chain(first.rows, own))
    return Outcome(
        first.plan,
        [answers[at] for at in order],
        [both[at] for at in order],
        [clips[at] for at in order],
        [seconds[at] for at in order],
    )


def _check_outcome(work: Work, outcome: Outcome) -> Outcome:
    """Return the outcome, or an error in its place if the strategy kept everything."""
    try:
        for row in outcome.rows:
            check_pruned(work.plans[outcome.plan], row)
    except StrategyError as error:
        return Outcome(outcome.plan, error=error)
    return outcome

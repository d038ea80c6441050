"""Loads the samples of batches, and finds those that a model cannot be asked, whatever the strategy."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple

from tokenbench.contract.suite import Sample, Task
from tokenbench.errors import SampleError, TokenBenchError, UsageError, brief
from tokenbench.models.batch import Loaded
from tokenbench.models.model import Model
from tokenbench.runner.batches import Question, QuestionBatch
from tokenbench.runner.media import Media

if TYPE_CHECKING:
    from tokenbench.models.batch import Load

__all__ = ["CONTEXT", "LoadedBatch", "is_passing", "load_ahead", "load_batch"]

CONTEXT = "the model's context"
"""What the reason names where a prompt is too long, which another attempt cannot mend."""
# Errors of the machine, not of the sample: the sample may load when the same command is run again.
PASSING = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "EINTR", "EAGAIN", "EBUSY", "ENODEV",
        "ENOTCONN", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip


class LoadedBatch(NamedTuple):
    """The questions of a batch, after loading."""

    questions: Sequence[Question]
    """The questions that the model can be asked."""
    loaded: Loaded | None
    """Their samples; None if there are no such questions."""
    unfit: list[tuple[Question, SampleError]]
    """The questions that the model cannot be asked, each with the reason."""


def load_ahead(
    model: Model, batches: Sequence[QuestionBatch], is_unfit: Callable[[Question], bool], media: Media
) -> Iterator[tuple[QuestionBatch, LoadedBatch]]:
    """Yield every batch with its images. The next batch is loaded while one runs.

    Args:
        model: The model.
        batches: The batches.
        is_unfit: Returns whether a question has been found to be unfit before. Such questions are skipped.
        media: Holds images and clips that several batches ask about.
    """
    media.expect(batches)
    with ThreadPoolExecutor(1) as ahead:

        def load(at: int) -> Future[LoadedBatch] | None:
            if at == len(batches):
                return None
            return ahead.submit(load_next, at, [one for one in batches[at].questions if not is_unfit(one)])

        def load_next(at: int, questions: Sequence[Question]) -> LoadedBatch:
            media.begin(at)
            return load_batch(model, questions, media.load)

        coming = load(0)
        for at, batch in enumerate(batches):
            assert coming is not None
            loaded, coming = coming.result(), load(at + 1)
            yield batch, loaded


def load_batch(model: Model, questions: Sequence[Question], load: Load = methodcaller("load")) -> LoadedBatch:
    """Load the samples of questions. Whether a question is unfit depends only on the question and the model.

    Args:
        model: The model.
        questions: The questions; those on the same images are consecutive.
        load: Loads what a sample and the others of its cluster show.
    """
    unfit = [(one, trouble) for one in questions if (trouble := _check_wording(model, one)) is not None]
    good, parts = list[Question](), list[Loaded]()
    for _, cluster in groupby(_without(questions, unfit), key=lambda question: question[1].cluster):
        fit, loaded, troubles = _load_cluster(model, list(cluster), load)
        good += fit
        parts += [loaded] if loaded is not None else []
        unfit += troubles
    if not parts:
        return LoadedBatch([], None, unfit)
    loaded = Loaded.join(parts)
    batch = _leave_out(LoadedBatch(good, loaded, unfit), _too_long(model, good, loaded))
    if batch.loaded is None:
        return batch
    return _leave_out(batch, _without_opening(model, batch.questions, batch.loaded, batch.unfit))


def _leave_out(batch: LoadedBatch, troubles: Sequence[tuple[Question, SampleError]]) -> LoadedBatch:
    """Return a batch without questions that were found to be unfit."""
    if not troubles or batch.loaded is None:
        return batch
    gone = {id(sample) for (_, sample), _ in troubles}
    places = [at for at, (_, sample) in enumerate(batch.questions) if id(sample) not in gone]
    left = batch.loaded.select(places) if places else None
    return LoadedBatch([batch.questions[at] for at in places], left, [*batch.unfit, *troubles])


def _load_cluster(model: Model, questions: Sequence[Question], load: Load) -> LoadedBatch:
    """Load the samples of questions about the same images."""
    try:
        return LoadedBatch(questions, _load(model, questions, load), [])
    except MemoryError:
        raise
    except Exception as error:  # of a suite or of a processor, on any image there is
        unfit = [(one, trouble) for one in questions if (trouble := _diagnose(model, one)) is not None]
        if not unfit:
            raise error from None
        good = _without(questions, unfit)
        return LoadedBatch(good, _load(model, good, load), unfit)


def is_passing(error: BaseException) -> bool:
    """Return whether the machine is to blame for an error, not the sample."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in PASSING:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def _load(model: Model, questions: Sequence[Question], load: Load) -> Loaded | None:
    return model.load_samples([sample for _, sample in questions], load) if questions else None


def _without(questions: Sequence[Question], unfit: Collection[tuple[Question, SampleError]]) -> list[Question]:
    gone = {id(sample) for (_, sample), _ in unfit}
    return [one for one in questions if id(one[1]) not in gone]


def _check_wording(model: Model, question: Question) -> SampleError | None:
    """Return an error for a question that contains the placeholder of an image, which would be read as one more image."""
    task, sample = question
    held = [sign for sign in model.placeholders if sign in sample.question]
    return (
        _sample_error(task, sample, f"its question contains {held[0]}, which is the placeholder of an image")
        if held
        else None
    )


def _too_long(model: Model, questions: Sequence[Question], loaded: Loaded) -> list[tuple[Question, SampleError]]:
    if model.context is None:
        return []
    lengths = loaded.inputs["attention_mask"].sum(1).tolist()
    mends = {
        name: "; --frames can show fewer frames" if "video" in kinds else "" for name, kinds in loaded.kinds.items()
    }
    return [
        (
            one,
            _sample_error(
                *one, f"its prompt has {length:,} tokens, and {CONTEXT} {model.context:,}{mends[one[1].cluster]}"
            ),
        )
        for one, length in zip(questions, lengths, strict=True)
        if length > model.context
    ]


def _without_opening(
    model: Model,
    questions: Sequence[Question],
    loaded: Loaded,
    unfit: Sequence[tuple[Question, SampleError]],
) -> list[tuple[Question, SampleError]]:
    """Return the later questions of dialogues whose first question is not there, or stands after other words."""
    if not any(sample.opening for _, sample in questions):
        return []
    same, reasons = model.first_alike(loaded), {(task.name, one.key): error for (task, one), error in unfit}
    rows = {(task.name, sample.key): b for b, (task, sample) in enumerate(questions)}
    found = []
    for b, (task, sample) in enumerate(questions):
        if sample.opening is None:
            continue
        name = task.name, sample.opening.key
        if name not in rows:
            why = f"the first question of its dialogue, {sample.opening.key}, is left out"
            error = _sample_error(task, sample, why)
            error.__cause__ = reasons.get(name)
            found.append(((task, sample), error))
        elif same[rows[name]] != same[b]:
            why = (
                f"its images follow other words than those of the first question of its dialogue, {sample.opening.key}"
            )
            found.append(((task, sample), _sample_error(task, sample, why)))
    return found


def _diagnose(model: Model, question: Question) -> SampleError | None:
    """Return why a sample cannot be loaded; None if it can, or if the model accepts no such samples at all."""
    task, sample = question
    try:
        sample.load()
    except Exception as error:
        return _sample_error(task, sample, error)
    try:
        model.load_samples([sample])
    except UsageError:
        return None
    except Exception as error:
        return _sample_error(task, sample, error)
    return None


def _sample_error(task: Task, sample: Sample, error: Exception | str) -> SampleError:
    reason = str(error) if isinstance(error, TokenBenchError | str) else brief(error)
    where = f" ({sample.origin})" if sample.origin else ""
    named = SampleError(f"task '{task.name}': sample {sample.key}{where} cannot be loaded: {reason}")
    named.reason = reason
    named.__cause__ = error if isinstance(error, Exception) else None
    return named

"""What a batch shows to a model: its samples, loaded, without those that the model cannot be asked, whatever the strategy."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from tokenbench.contract.suite import Sample, Task
from tokenbench.errors import SampleError, TokenBenchError, UsageError, brief
from tokenbench.models.model import Loaded, Model
from tokenbench.runner.work import Batch, Question

__all__ = ["Shown", "is_passing", "loaded_ahead", "shown"]

# Errors of the machine, not of the sample: it may well be shown when the same command is run again.
PASSING = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "EINTR", "EAGAIN", "EBUSY", "ENODEV",
        "ENOTCONN", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip


class Shown(NamedTuple):
    """questions: that the model can be asked, and what it needs for them, if there are any. unfit: the others, each with the reason."""

    questions: Sequence[Question]
    loaded: Loaded | None
    unfit: list[tuple[Question, SampleError]]


def loaded_ahead(
    model: Model, batches: Sequence[Batch], known: Callable[[Question], bool]
) -> Iterator[tuple[Batch, Shown]]:
    """Every batch with its images; the next one is loaded while one runs. known: whether a question is known to be unfit."""
    with ThreadPoolExecutor(1) as ahead:

        def load(at: int) -> Future[Shown] | None:
            if at == len(batches):
                return None
            return ahead.submit(shown, model, [one for one in batches[at].questions if not known(one)])

        coming = load(0)
        for at, batch in enumerate(batches):
            assert coming is not None
            found, coming = coming.result(), load(at + 1)
            yield batch, found


def shown(model: Model, questions: Sequence[Question]) -> Shown:
    """Load questions. Which of them are unfit depends on themselves and the model alone."""
    unfit = [(one, trouble) for one in questions if (trouble := _wording(model, one)) is not None]
    good = _without(questions, unfit)
    try:
        loaded = _load(model, good)
    except MemoryError:
        raise
    except Exception as error:  # of a suite or of a processor, on any image there is
        found = [(one, trouble) for one in good if (trouble := _trouble(model, one)) is not None]
        if not found:
            raise error from None
        unfit += found
        good = _without(questions, unfit)
        loaded = _load(model, good)
    if loaded is not None and (long := _too_long(model, good, loaded)):
        unfit += long
        good = _without(questions, unfit)
        loaded = _load(model, good)
    return Shown(good, loaded, unfit)


def is_passing(error: BaseException) -> bool:
    """Whether the machine is to blame, not the sample."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in PASSING:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def _load(model: Model, questions: Sequence[Question]) -> Loaded | None:
    return model.load_samples([sample for _, sample in questions]) if questions else None


def _without(questions: Sequence[Question], unfit: Collection[tuple[Question, SampleError]]) -> list[Question]:
    gone = {id(sample) for (_, sample), _ in unfit}
    return [one for one in questions if id(one[1]) not in gone]


def _wording(model: Model, question: Question) -> SampleError | None:
    """A question that holds the sign for an image would be read as one more image."""
    task, sample = question
    held = [sign for sign in model.placeholders if sign in sample.question]
    return (
        _named(task, sample, f"its question contains {held[0]}, which is the placeholder of an image") if held else None
    )


def _too_long(model: Model, questions: Sequence[Question], loaded: Loaded) -> list[tuple[Question, SampleError]]:
    if model.context is None:
        return []
    lengths = loaded.inputs["attention_mask"].sum(1).tolist()
    return [
        (one, _named(*one, f"its prompt has {length:,} tokens, and the model's context {model.context:,}"))
        for one, length in zip(questions, lengths, strict=True)
        if length > model.context
    ]


def _trouble(model: Model, question: Question) -> SampleError | None:
    """Why a sample cannot be shown; None if it can, or if the model takes none like it."""
    task, sample = question
    try:
        sample.load()
    except Exception as error:
        return _named(task, sample, error)
    try:
        model.load_samples([sample])
    except UsageError:
        return None
    except Exception as error:
        return _named(task, sample, error)
    return None


def _named(task: Task, sample: Sample, error: Exception | str) -> SampleError:
    reason = str(error) if isinstance(error, TokenBenchError | str) else brief(error)
    where = f" ({sample.origin})" if sample.origin else ""
    named = SampleError(f"task '{task.name}': sample {sample.key}{where} cannot be loaded: {reason}")
    named.reason = reason
    named.__cause__ = error if isinstance(error, Exception) else None
    return named

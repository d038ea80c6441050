"""Runs one batch of questions under many plans.

Vanilla runs first; questions on the same image share what they have in common. The other plans continue from vanilla's checkpoint,
side by side, and their answers are decoded together.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tokenbench.contract.sizes import ModelSize
from tokenbench.cost.macs import cache_bytes
from tokenbench.engine import LayerCheckpoint, Pruner, Question, RowPlan, RowTrace, replay
from tokenbench.errors import InfeasibleError, StrategyError
from tokenbench.models.answering import Answering
from tokenbench.models.batch import Batch
from tokenbench.models.model import Model
from tokenbench.runner.grouping import count_tokens, group_decodes, group_plans
from tokenbench.runner.memory import free_bytes, row_bytes

__all__ = ["BatchQuestions", "OutOfMemory", "Outcome", "run_plans"]

MEMORY = 0.6
"""The share of the free memory that plans which run together may take."""


class OutOfMemory(Exception):  # noqa: N818 - it is caught, never shown
    """All rows of the batch under a single plan do not fit into memory."""


@dataclass(frozen=True)
class BatchQuestions:
    """A batch of questions that is ready to run."""

    batch: Batch
    """The samples after the encoder."""
    keys: Sequence[str]
    """The name of each row, which seeds its random numbers."""
    limits: Sequence[int]
    """The largest number of new tokens of each row."""
    own_plans: Mapping[tuple[int, int], RowPlan] = field(default_factory=dict)
    """The plans that run in place of others, by (number of the other plan, row): calibrated for the row's task."""
    traces: Mapping[int, Sequence[RowTrace]] = field(default_factory=dict)
    """What each plan chose for the first question of each row's dialogue, by the number of the plan; empty if the rows are
    first questions."""

    def starts(self, plan: int, plans: Sequence[RowPlan]) -> int:
        """Return the first layer that a plan computes by itself; vanilla's pass serves the layers before it.

        A later question that is asked of a trimmed KV cache is computed from the first layer on.
        """
        stages = plans[plan].typical
        return 0 if not stages or (self.traces and plans[plan].trim) else stages[0].layer

    def plans_of(self, number: int, plan: RowPlan, questions: Sequence[Question | None]) -> list[RowPlan]:
        """Return what a plan means for each row, whose user asked a question."""
        if number not in self.traces:
            rows = enumerate(zip(self.keys, questions, strict=True))
            return [self.own_plans.get((number, b), plan).of(key, question) for b, (key, question) in rows]
        traces = zip(self.traces[number], self.keys, strict=True)
        return [replay(self.own_plans.get((number, b), plan), *pair) for b, pair in enumerate(traces)]

    def alike(self, number: int) -> list[int]:
        """Return, for each row, the first row that keeps the same of the same images under a plan."""
        first: dict[tuple[int, int, int], int] = {}
        chosen = self.traces.get(number, [None] * len(self.keys))
        return [
            first.setdefault((same, id(trace), id(self.own_plans.get((number, b)))), b)
            for b, (same, trace) in enumerate(zip(self.batch.same, chosen, strict=True))
        ]


@dataclass(frozen=True)
class Outcome:
    """The answers of one plan to a batch, or the error with which it failed."""

    plan: int
    """The number of the plan."""
    answers: Sequence[str] = ()
    """The answer of each row."""
    rows: Sequence[RowTrace] = ()
    """The trace of each row."""
    clips: Sequence[bool] = ()
    """Whether a row begins with a clip."""
    seconds: Sequence[float] = ()
    """Each row's share of the time that its pass took."""
    error: StrategyError | InfeasibleError | None = None
    """The error with which the plan failed; None if it did not fail."""


def run_plans(
    model: Model,
    pruner: Pruner,
    plans: Sequence[RowPlan],
    wanted: Sequence[int],
    failed: Collection[int],
    asked: BatchQuestions,
    size: ModelSize | None = None,
    remember: bool = False,
) -> Iterator[Outcome]:
    """Run plans over a whole batch.

    Plans that are prefilled side by side are so however many of them are wanted, so that a resumed run computes the same numbers and
    keeps the same tokens. Only what is due is decoded together, which can change the rounding of an answer's later tokens.

    Args:
        model: The model.
        pruner: The pruner that is attached to the model.
        plans: All plans. Plan 0 is vanilla.
        wanted: The numbers of the plans whose outcomes are wanted.
        failed: The numbers of the plans that are left out, since they failed or are not asked. Without vanilla, there is no checkpoint
            from which the others could continue.
        asked: The questions.
        size: The sizes of the model, if they are known. Otherwise, plans run one by one.
        remember: Whether later questions will be asked of what the traces hold.

    Yields:
        The outcome of every wanted plan.

    Raises:
        OutOfMemory: A single plan does not fit into memory.
    """
    starts = {i: asked.starts(i, plans) for i in range(1, len(plans))}
    together = _group(model, plans, asked, size, starts)
    standing = [[[i for i in group if i not in failed] for group in groups] for groups in together]
    due = [[group for group in groups if set(wanted).intersection(group)] for groups in standing]
    sharing = [i for groups in due for group in groups for i in group if starts[i] > 0 and 0 not in failed]
    run, checkpoint = _Run(model, pruner, plans, asked, remember), None
    if 0 in wanted or sharing:
        pruner.checkpoint_for = [plans[i] for i in sharing]
        vanilla = run.prefill([0], None)
        pruner.checkpoint_for = ()
        checkpoint, pruner.checkpoint = pruner.checkpoint, None
        if 0 in wanted:
            yield from run.decode([vanilla])
        del vanilla
    for groups in filter(None, due):
        passes = [(group, checkpoint if starts[group[0]] > 0 else None) for group in groups]
        for outcome in _run_together(run, passes):
            if outcome.plan in wanted:
                yield outcome


Pass = tuple[list[int], LayerCheckpoint | None]
"""Plans that are prefilled together, and what they go on from."""


def _group(
    model: Model, plans: Sequence[RowPlan], asked: BatchQuestions, size: ModelSize | None, starts: Mapping[int, int]
) -> list[list[list[int]]]:
    """Return the numbers of the plans except vanilla, by what is decoded together, then by what is prefilled together."""
    rows, visual = len(asked.keys), max(model.visual_tokens(asked.batch))
    text = asked.batch.inputs["input_ids"].shape[1] - visual
    lengths = {i: count_tokens(plans[i], visual, text) for i in starts}
    free = MEMORY * free_bytes(model.device) / rows

    def fit(groups: Sequence[list[int]]) -> bool:
        if size is None:
            return False
        held = [i for group in groups for i in group] if len(groups) > 1 else []
        number, prompt = model.number_bytes, visual + text
        caches = sum(cache_bytes(size.decoder, lengths[i][1], number) for i in held)
        prefills = (sum(row_bytes(size.decoder, prompt, lengths[i][0], number) for i in group) for group in groups)
        return caches + max(prefills) <= free

    groups = group_plans(
        {i: computed for i, (computed, _) in lengths.items()}, starts, lambda group: fit([list(group)])
    )
    return group_decodes(groups, fit)


@dataclass(frozen=True)
class _Prefilled:
    """Plans whose prompts have run."""

    plans: Sequence[int]
    """The numbers of the plans."""
    answering: Answering
    """Their rows."""
    traces: Sequence[RowTrace]
    """The trace of each row."""
    seconds: float
    """The time that it took."""


@dataclass(frozen=True)
class _Run:
    """Runs plans side by side over one batch."""

    model: Model
    """The model."""
    pruner: Pruner
    """The pruner that is attached to the model."""
    plans: Sequence[RowPlan]
    """All plans, by number."""
    asked: BatchQuestions
    """The questions."""
    remember: bool
    """Whether later questions will be asked of what the traces hold."""

    def prefill(self, group: Sequence[int], checkpoint: LayerCheckpoint | None) -> _Prefilled:
        batch, limits, count = self.asked.batch, self.asked.limits, len(self.asked.keys)
        questions = [self.model.question(sample) for sample in batch.samples]
        plans = [plan for i in group for plan in self.asked.plans_of(i, self.plans[i], questions)]
        start = time.perf_counter()
        first_alike = [at * count + first for at, i in enumerate(group) for first in self.asked.alike(i)]
        with self.pruner.sharing(first_alike, checkpoint, self.remember, next_token_only=True):
            answering = self.model.prefill(batch, self.pruner, plans, limits)
        return _Prefilled(group, answering, self.pruner.rows, time.perf_counter() - start)

    def decode(self, passes: Sequence[_Prefilled]) -> list[Outcome]:
        start, count = time.perf_counter(), len(self.asked.keys)
        answers = self.model.decode([one.answering for one in passes])
        each = (time.perf_counter() - start) / sum(len(one.plans) for one in passes)
        outcomes = []
        for one, texts in zip(passes, answers, strict=True):
            seconds = [(one.seconds / len(one.plans) + each) / count] * count
            for at, i in enumerate(one.plans):
                rows = slice(at * count, (at + 1) * count)
                outcomes.append(Outcome(i, texts[rows], one.traces[rows], self.asked.batch.clips, seconds))
        return outcomes


def _run_together(run: _Run, passes: Sequence[Pass]) -> Iterator[Outcome]:
    """Run passes and decode them together; in halves if memory is short."""
    try:
        outcomes, halves = _run_passes(run, passes), None
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        outcomes, halves = [], _halve(passes)
        if halves is None:
            raise OutOfMemory from error
    for half in halves or ():  # the tensors of what failed are free by now
        yield from _run_together(run, half)
    yield from outcomes


def _run_passes(run: _Run, passes: Sequence[Pass]) -> list[Outcome]:
    """Prefill pass by pass, each again without a plan that fails, and decode all of them."""
    begun, failures = list[_Prefilled](), list[Outcome]()
    for group, checkpoint in passes:
        standing = group
        while standing:
            try:
                begun.append(run.prefill(standing, checkpoint))
                break
            except (StrategyError, InfeasibleError) as error:
                failed = standing[(error.row or 0) // len(run.asked.keys)]
                failures.append(Outcome(failed, error=error))
                traceback.clear_frames(error.__traceback__)  # whose tensors would stay until all is decoded
                standing = [i for i in standing if i != failed]
    return [*failures, *(run.decode(begun) if begun else ())]


def _halve(passes: Sequence[Pass]) -> tuple[Sequence[Pass], Sequence[Pass]] | None:
    """Half of the passes each, or half of the plans of the only one; None if that is a single plan."""
    if len(passes) > 1:
        return passes[: len(passes) // 2], passes[len(passes) // 2 :]
    ((group, checkpoint),) = passes
    half = len(group) // 2
    return ([(group[:half], checkpoint)], [(group[half:], checkpoint)]) if half else None


def _is_memory(error: BaseException) -> bool:
    return not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error)

"""Runs one batch of questions under many plans.

Vanilla runs first; questions on the same image share what they have in common. The other plans continue from vanilla's checkpoint,
side by side.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tokenbench.contract.sizes import ModelSize
from tokenbench.cost.matching import tokens_per_layer
from tokenbench.engine import LayerCheckpoint, Pruner, Question, RowPlan, RowTrace, replay
from tokenbench.errors import InfeasibleError, StrategyError
from tokenbench.models.batch import Batch
from tokenbench.models.model import Model
from tokenbench.runner.memory import free_bytes, row_bytes

__all__ = ["BatchQuestions", "OutOfMemory", "Outcome", "group_plans", "run_plans"]

PADDING = 0.05
"""The largest share of padding in a pass, whose rows are padded to the longest. More costs more than another pass."""
MEMORY = 0.6
"""The share of the free memory that a pass may take."""


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
        first: dict[tuple[int, int], int] = {}
        chosen = self.traces.get(number, [None] * len(self.keys))
        return [
            first.setdefault((same, id(trace)), b)
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

    Plans that run side by side do so however many of them are wanted, so that a resumed run computes the same numbers.

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
    row = _Row.of(model, asked.batch)
    later = [(i, plan) for i, plan in enumerate(plans) if i != 0]
    starts = {i: asked.starts(i, plans) for i, _ in later}
    together = group_plans(later, row.visual, row.text, _most_plans(model, row, size, len(asked.keys)), starts)
    standing = [[i for i in group if i not in failed] for group in together]
    due = [group for group in standing if set(wanted).intersection(group)]
    sharing = [i for group in due for i in group if starts[i] > 0 and 0 not in failed]
    run = _Run(model, pruner, plans, asked, remember)
    if 0 in wanted or sharing:
        pruner.checkpoint_for = [plans[i] for i in sharing]
        vanilla = run([0], None)
        pruner.checkpoint_for = ()
        yield from (outcome for outcome in vanilla if 0 in wanted)
    checkpoint, pruner.checkpoint = pruner.checkpoint, None
    for group in due:
        for outcome in _run_group(run, group, checkpoint if starts[group[0]] > 0 else None):
            if outcome.plan in wanted:
                yield outcome


def group_plans(
    plans: Sequence[tuple[int, RowPlan]], visual: int, text: int, most: int, starts: Mapping[int, int]
) -> list[list[int]]:
    """Group plans that run side by side: those with the same first layer and so similar lengths that padding is cheap.

    Args:
        plans: The plans with their numbers. The same plans make the same groups.
        visual: The number of visual tokens of the longest row.
        text: The number of text tokens of the longest row.
        most: The largest number of plans in a group.
        starts: The first layer that each plan computes by itself, by number.

    Returns:
        The numbers of the plans in each group.
    """
    lengths = {i: _lengths(plan, visual, text) for i, plan in plans}
    order = sorted((i for i, _ in plans), key=lambda i: (starts[i], -sum(lengths[i]), i))
    together: list[list[int]] = []
    for i in order:
        group = [*together[-1], i] if together else [i]
        alike = starts[group[0]] == starts[i]
        own = sum(sum(lengths[j]) for j in group)
        padded = len(group) * sum(map(max, zip(*(lengths[j] for j in group), strict=True)))
        if together and alike and len(group) <= most and padded <= (1 + PADDING) * own:
            together[-1] = group
        else:
            together.append([i])
    return together


@dataclass(frozen=True)
class _Row:
    """The longest row of a batch."""

    visual: int
    """The number of its visual tokens."""
    text: int
    """The number of its text tokens, padding included."""

    @classmethod
    def of(cls, model: Model, batch: Batch) -> _Row:
        visual = max(model.visual_tokens(batch))
        return cls(visual, batch.inputs["input_ids"].shape[1] - visual)


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

    def __call__(self, group: Sequence[int], checkpoint: LayerCheckpoint | None) -> list[Outcome]:
        batch, limits, count = self.asked.batch, self.asked.limits, len(self.asked.keys)
        questions = [self.model.question(sample) for sample in batch.samples]
        plans = [plan for i in group for plan in self.asked.plans_of(i, self.plans[i], questions)]
        start = time.perf_counter()
        first_alike = [at * count + first for at, i in enumerate(group) for first in self.asked.alike(i)]
        with self.pruner.sharing(first_alike, checkpoint, self.remember, next_token_only=True):
            answers, rows = self.model.generate(batch, self.pruner, plans, limits)
        seconds = [(time.perf_counter() - start) / len(plans)] * count
        parts = [slice(a * count, (a + 1) * count) for a in range(len(group))]
        return [Outcome(i, answers[at], rows[at], batch.clips, seconds) for i, at in zip(group, parts, strict=True)]


def _run_group(run: _Run, group: list[int], checkpoint: LayerCheckpoint | None) -> Iterator[Outcome]:
    """Run a group of plans: again without a plan that fails, or in halves if memory is short."""
    while group:
        try:
            outcomes = run(group, checkpoint)
        except (StrategyError, InfeasibleError) as error:
            failed = group[(error.row or 0) // len(run.asked.keys)]
            yield Outcome(failed, error=error)
            group = [i for i in group if i != failed]
            continue
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_memory(error):
                raise
            if len(group) == 1:
                raise OutOfMemory from error
            outcomes = []
        if not outcomes:  # the failed pass's tensors are free by now
            half = len(group) // 2
            yield from _run_group(run, group[:half], checkpoint)
            group = group[half:]
            continue
        yield from outcomes
        return


def _is_memory(error: BaseException) -> bool:
    return not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error)


def _lengths(plan: RowPlan, visual: int, text: int) -> list[float]:
    """Return the number of tokens in every decoder layer."""
    try:
        stages = plan.stages(visual, text)
    except InfeasibleError:
        stages = plan.typical
    fixed = [stage for stage in stages if stage.keep is not None]
    return [n + text for n in tokens_per_layer(fixed, visual, plan.depth)]


def _most_plans(model: Model, row: _Row, size: ModelSize | None, rows: int) -> int:
    """Return how many plans fit side by side into the free memory."""
    if size is None:
        return 1
    free = MEMORY * free_bytes(model.device)
    return max(1, int(free / rows / row_bytes(size.decoder, row.visual + row.text, model.number_bytes)))

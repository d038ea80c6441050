"""One batch of questions under many plans.

Vanilla runs first, what several questions on one image have in common once; the others go on from its checkpoint, side by side.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch

from tokenbench.contract.sizes import ModelSize
from tokenbench.cost.matching import tokens_per_layer
from tokenbench.engine import LayerCheckpoint, Plan, Pruner, RowTrace
from tokenbench.errors import InfeasibleError, StrategyError
from tokenbench.models.model import Batch, Model
from tokenbench.runner.memory import free_bytes, row_bytes

__all__ = ["Asked", "OutOfMemory", "Outcome", "groups", "outcomes"]

# Rows of one pass are padded to the longest; more than this share of padding costs more than another pass.
PADDING = 0.05
MEMORY = 0.6  # share of the free memory that a pass may take


class OutOfMemory(Exception):  # noqa: N818 - it is caught, never shown
    """A single plan does not fit into memory with all rows of the batch."""


@dataclass(frozen=True)
class Asked:
    """Questions, ready to run. keys, limits: of every row, the name that seeds its random numbers and how many tokens it may
    answer with.
    """

    batch: Batch
    keys: Sequence[str]
    limits: Sequence[int]


@dataclass(frozen=True)
class Outcome:
    """What became of plan number `plan` on a batch: answers and traces of its rows, or the error it failed with.

    clips: whether a row shows a clip first. seconds: a row's share of the time its pass took.
    """

    plan: int
    answers: Sequence[str] = ()
    rows: Sequence[RowTrace] = ()
    clips: Sequence[bool] = ()
    seconds: float = 0.0
    error: StrategyError | InfeasibleError | None = None


def outcomes(
    model: Model,
    pruner: Pruner,
    plans: Sequence[Plan],
    wanted: Sequence[int],
    failed: Collection[int],
    asked: Asked,
    size: ModelSize | None = None,
) -> Iterator[Outcome]:
    """Of every wanted plan, in passes over the whole batch. Plan 0 is vanilla.

    failed: plans that are left out, because they failed or are not asked; without vanilla there is no checkpoint to go on from. Plans
    that run side by side do so however many of them are wanted, so that a resumed run computes the same numbers. Raises OutOfMemory
    for what does not fit even alone.
    """
    row = _Row.of(model, asked.batch)
    later = [(i, plan) for i, plan in enumerate(plans) if i != 0]
    together = groups(later, row.visual, row.text, _most_plans(model, row, size, len(asked.keys)))
    standing = [[i for i in group if i not in failed] for group in together]
    due = [group for group in standing if set(wanted).intersection(group)]
    sharing = [i for group in due for i in group if _first(plans[i]) > 0 and 0 not in failed]
    run = _Run(model, pruner, plans, asked)
    if 0 in wanted or sharing:
        pruner.checkpoint_for = [plans[i] for i in sharing]
        vanilla = run([0], None)
        pruner.checkpoint_for = ()
        yield from (outcome for outcome in vanilla if 0 in wanted)
    checkpoint, pruner.checkpoint = pruner.checkpoint, None
    for group in due:
        for outcome in _passes(run, group, checkpoint if _first(plans[group[0]]) > 0 else None):
            if outcome.plan in wanted:
                yield outcome


def groups(plans: Sequence[tuple[int, Plan]], visual: int, text: int, most: int) -> list[list[int]]:
    """Which plans run side by side: those with the same first layer and so nearly the same lengths that padding is cheap.

    At most `most` of them. The same plans make the same groups.
    """
    lengths = {i: _lengths(plan, visual, text) for i, plan in plans}
    order = sorted((i for i, _ in plans), key=lambda i: (_first(dict(plans)[i]), -sum(lengths[i]), i))
    found: list[list[int]] = []
    for i in order:
        group = [*found[-1], i] if found else [i]
        alike = _first(dict(plans)[group[0]]) == _first(dict(plans)[i])
        own = sum(sum(lengths[j]) for j in group)
        padded = len(group) * sum(map(max, zip(*(lengths[j] for j in group), strict=True)))
        if found and alike and len(group) <= most and padded <= (1 + PADDING) * own:
            found[-1] = group
        else:
            found.append([i])
    return found


@dataclass(frozen=True)
class _Row:
    """The longest row of a batch."""

    visual: int
    text: int

    @classmethod
    def of(cls, model: Model, batch: Batch) -> _Row:
        visual = max(model.visual_tokens(batch))
        return cls(visual, batch.inputs["input_ids"].shape[1] - visual)


@dataclass(frozen=True)
class _Run:
    """Runs plans side by side over one batch."""

    model: Model
    pruner: Pruner
    plans: Sequence[Plan]
    asked: Asked

    def __call__(self, group: Sequence[int], checkpoint: LayerCheckpoint | None) -> list[Outcome]:
        batch, limits, count = self.asked.batch, self.asked.limits, len(self.asked.keys)
        plans = [self.plans[i].of(key) for i in group for key in self.asked.keys]
        start = time.perf_counter()
        first_alike = [at * count + first for at in range(len(group)) for first in batch.same]
        with self.pruner.sharing(first_alike, checkpoint):
            answers, rows = self.model.generate(batch, self.pruner, plans, limits)
        seconds = (time.perf_counter() - start) / len(plans)
        parts = [slice(a * count, (a + 1) * count) for a in range(len(group))]
        return [Outcome(i, answers[at], rows[at], batch.clips, seconds) for i, at in zip(group, parts, strict=True)]


def _passes(run: _Run, group: list[int], checkpoint: LayerCheckpoint | None) -> Iterator[Outcome]:
    """A group's outcomes: without a plan that fails, or in halves if memory is short."""
    while group:
        try:
            found = run(group, checkpoint)
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
            found = []
        if not found:  # the failed pass's tensors are free by now
            half = len(group) // 2
            yield from _passes(run, group[:half], checkpoint)
            group = group[half:]
            continue
        yield from found
        return


def _is_memory(error: BaseException) -> bool:
    return not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error)


def _first(plan: Plan) -> int:
    """The layer of its first stage."""
    return plan.typical[0].layer if plan.typical else 0


def _lengths(plan: Plan, visual: int, text: int) -> list[float]:
    """Tokens in every decoder layer."""
    try:
        stages = plan.stages(visual, text)
    except InfeasibleError:
        stages = plan.typical
    known = [stage for stage in stages if stage.keep is not None]
    return [n + text for n in tokens_per_layer(known, visual, plan.depth)]


def _most_plans(model: Model, row: _Row, size: ModelSize | None, rows: int) -> int:
    """How many plans fit side by side into the free memory."""
    if size is None:
        return 1
    free = MEMORY * free_bytes(model.device)
    return max(1, int(free / rows / row_bytes(size.decoder, row.visual + row.text, model.number_bytes)))

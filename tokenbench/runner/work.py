"""One model's share of a run: what is asked, in which batches, under which arms, into which cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenbench.cost import ModelSize
from tokenbench.engine import Plan, Wish
from tokenbench.errors import UsageError
from tokenbench.matching import match
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.plugins import Registry
from tokenbench.runner.identity import Cell, cell, fingerprint_of
from tokenbench.runner.spec import Arm, Spec, arms
from tokenbench.suite import Sample, Task, first
from tokenbench.suites import resolve_suite

__all__ = ["Question", "Work", "works_of"]

Question = tuple[Task, Sample]


@dataclass(frozen=True)
class Work:
    """plans: one an arm. batches: the same however much of a run is done already, so that a resumed run computes the same
    numbers. cells: (number of the arm, task) -> cell.
    """

    model: Model
    arms: Sequence[Arm]
    plans: Sequence[Plan]
    wish: Wish
    size: ModelSize | None
    batches: Sequence[Sequence[Question]]
    cells: Mapping[tuple[int, str], Cell]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """By name."""
        return {task.name: task for batch in self.batches for task, _ in batch}

    @cached_property
    def samples(self) -> dict[str, list[str]]:
        """Keys of every task's samples, in the order in which they are asked."""
        keys: dict[str, list[str]] = {}
        for batch in self.batches:
            for task, sample in batch:
                keys.setdefault(task.name, []).append(sample.key)
        return keys

    def cells_of(self, arm: int, questions: Sequence[Question]) -> list[Cell]:
        """The cell that each question's answer goes to."""
        return [self.cells[arm, task.name] for task, _ in questions]


def works_of(spec: Spec, known: Registry, device: str = "") -> dict[str, Work]:
    """The work of every model, by its name; no weights are loaded.

    device: where models run, if not where the spec says. Raises as `resolve_suite`, `locate`, `Model` and `Plan.make` do, and
    UsageError for a budget above the number of visual tokens of the first samples.
    """
    _, tasks = resolve_suite(spec.suite, spec.tasks, known, spec.data, spec.definitions)
    questions = _questions(tasks, spec.limit)
    asked = {task.name: fingerprint_of([sample for other, sample in questions if other is task]) for task in tasks}
    batches = list(_batches(questions, spec.batch_size))
    works = {}
    for name in spec.models:
        model = Model(name, locate(name, known), device or spec.device, spec.dtype, spec.attention)
        works[name] = _work(spec, model, tasks, asked, batches, known)
        _check_budgets(works[name])
    return works


def _questions(tasks: Sequence[Task], limit: int | None) -> list[Question]:
    """The questions of all tasks, those on the same images side by side."""
    chosen = [(task, sample) for task in tasks for sample in first(task, limit)]
    place = {cluster: i for i, cluster in enumerate(dict.fromkeys(sample.cluster for _, sample in chosen))}
    return sorted(chosen, key=lambda question: place[question[1].cluster])


def _batches(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


def _work(
    spec: Spec,
    model: Model,
    tasks: Sequence[Task],
    asked: Mapping[str, str],
    batches: Sequence[Sequence[Question]],
    known: Registry,
) -> Work:
    chosen, size = arms(spec, known), model.size
    plans = [
        Plan.make(
            arm.named.strategy,
            arm.budget,
            model.depth,
            arm.seed,
            match(spec.match, arm.named.strategy, arm.budget, model.depth, size),
            arm.named.name,
        )
        for arm in chosen
    ]
    wish = Wish.of(stage for plan in plans for stage in plan.typical)
    cells = {
        (i, task.name): cell(spec, model, arm, task, asked[task.name]) for i, arm in enumerate(chosen) for task in tasks
    }
    return Work(model, chosen, plans, wish, size, batches, cells)


def _check_budgets(work: Work) -> None:
    """Refuse budgets above the number of visual tokens that the first samples have."""
    largest = max((arm.budget.tokens or 0 for arm in work.arms), default=0)
    if not largest or not work.batches:
        return
    tokens = max(work.model.visual_tokens(work.model.load_samples([sample for _, sample in work.batches[0]])))
    if largest > tokens:
        raise UsageError(
            f"budget '{largest}' is more than the {tokens} visual tokens {work.model.name} has for a sample"
        )

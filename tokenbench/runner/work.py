"""One model's share of a run: what is asked, under which arms, into which cells, and what of it is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample, Task, first
from tokenbench.cost.matching import match
from tokenbench.engine import EncoderRequests, Plan
from tokenbench.errors import UsageError
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.plugins import Registry
from tokenbench.runner.identity import Cell, cell, fingerprint_of
from tokenbench.runner.order import ORDER_SEED, shuffled
from tokenbench.runner.resolve import Resolved
from tokenbench.store.directory import Store
from tokenbench.store.spec import Arm, Spec

__all__ = ["Batch", "Question", "Work", "fingerprints", "left_of", "samples_of", "works_of"]

Question = tuple[Task, Sample]


@dataclass(frozen=True)
class Batch:
    """Questions that are asked at once, and the numbers of the arms that are asked them."""

    questions: Sequence[Question]
    arms: tuple[int, ...]

    @property
    def answers(self) -> int:
        return len(self.questions) * len(self.arms)


@dataclass(frozen=True)
class Work:
    """plans: one an arm. tasks, samples: by the task's name; samples in the order in which a run takes them up, so that a smaller
    run is a prefix. cells: (number of the arm, task) -> cell. reach: how many of the first samples a cell is asked, by its id; all
    unless it is named. strict: whether a sample that the model cannot be asked costs its task, not only itself.
    """

    model: Model
    arms: Sequence[Arm]
    plans: Sequence[Plan]
    requests: EncoderRequests
    size: ModelSize | None
    tasks: Mapping[str, Task]
    samples: Mapping[str, Sequence[Sample]]
    batch_size: int
    cells: Mapping[tuple[int, str], Cell]
    strict: bool = False
    reach: Mapping[str, int] = field(default_factory=dict)

    def reaching(self, reach: Mapping[str, int]) -> Work:
        """The same work, as far as these numbers of samples."""
        return replace(self, reach=reach)

    def asked(self, cell: Cell) -> Sequence[Sample]:
        """The samples of a cell."""
        samples = self.samples[cell.task]
        return samples[: self.reach.get(cell.id, len(samples))]

    @cached_property
    def questions(self) -> list[Question]:
        """Of all tasks, those on the same images side by side."""
        chosen = [(task, sample) for name, task in self.tasks.items() for sample in self.samples[name]]
        place = {cluster: i for i, cluster in enumerate(dict.fromkeys(sample.cluster for _, sample in chosen))}
        return sorted(chosen, key=lambda question: place[question[1].cluster])

    def cells_of(self, arm: int, questions: Sequence[Question]) -> list[Cell]:
        """The cell that each question's answer goes to."""
        return [self.cells[arm, task.name] for task, _ in questions]


def left_of(work: Work, store: Store) -> list[Batch]:
    """What is asked and not yet published, in batches of questions that the same arms lack.

    What is journaled only counts for nothing here: a run that was broken off has the batches it had before, and so computes the same
    numbers. Whoever answers a batch skips what is journaled.
    """
    lacking: dict[tuple[str, str], list[int]] = {}
    for (arm, name), of in work.cells.items():
        published = store.published(of.id)
        for sample in work.asked(of):
            if (sample.key, sample.digest) not in published:
                lacking.setdefault((name, sample.key), []).append(arm)
    alike: dict[tuple[int, ...], list[Question]] = {}
    for task, sample in work.questions:
        if found := lacking.get((task.name, sample.key)):
            alike.setdefault(tuple(found), []).append((task, sample))
    # A batch keeps its place, and so its numbers, whichever of its samples turned out to be unfit.
    unfit = {(one.task, one.sample, one.asked) for one in store.left_out.all() if one.model == work.model.name}
    return [
        Batch(part, found)
        for found, questions in alike.items()
        for part in _parts(questions, work.batch_size)
        if not all((task.name, sample.key, sample.digest) in unfit for task, sample in part)
    ]


def works_of(resolved: Resolved, registry: Registry, device: str = "") -> dict[str, Work]:
    """The work of every model, by its name; no weights are loaded.

    Args:
        resolved: the run.
        registry: where the models' backbones are looked up.
        device: where models run, if not where the spec says.

    Raises:
        UsageError: for a budget above the number of visual tokens of the first samples, and as `locate`, `Model` and `Plan.make` do.
        MachineError: as `locate` and `Model` do.
    """
    spec = resolved.spec
    samples = {task.name: samples_of(task, spec) for task in resolved.tasks}
    works = {}
    for name in spec.models:
        model = Model(name, locate(name, registry), device or spec.device, spec.dtype, spec.attention)
        works[name] = _work(resolved, model, samples)
        _check_budgets(works[name])
    return works


def fingerprints(work: Work) -> dict[str, str]:
    """Of the samples of every task, by its name."""
    return {name: fingerprint_of(samples) for name, samples in work.samples.items()}


def samples_of(task: Task, spec: Spec) -> Sequence[Sample]:
    """What a run asks of a task, in the order in which it takes it up: the task's own, or whole images at random."""
    samples = first(task, spec.limit)
    return shuffled(samples, ORDER_SEED) if spec.until else samples


def _parts(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


def _work(resolved: Resolved, model: Model, samples: Mapping[str, Sequence[Sample]]) -> Work:
    spec, tasks, chosen, size = resolved.spec, resolved.tasks, resolved.arms, model.size
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
    requests = EncoderRequests.of(stage for plan in plans for stage in plan.typical)
    cells = {(i, task.name): cell(spec, model, arm, task) for i, arm in enumerate(chosen) for task in tasks}
    named = {task.name: task for task in tasks}
    return Work(model, chosen, plans, requests, size, named, samples, spec.batch_size, cells, spec.strict)


def _check_budgets(work: Work) -> None:
    """Refuse budgets above the number of visual tokens that the first samples have."""
    largest = max((arm.budget.tokens or 0 for arm in work.arms), default=0)
    if not largest or not work.questions:
        return
    from tokenbench.runner.showing import shown  # it knows of batches

    _, loaded, _ = shown(work.model, work.questions[: work.batch_size])
    if loaded is None:
        return
    tokens = max(work.model.visual_tokens(loaded))
    if largest > tokens:
        raise UsageError(
            f"budget '{largest}' is more than the {tokens} visual tokens that {work.model.name} has per sample"
        )

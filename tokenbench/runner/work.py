"""One model's share of a run: its questions, arms and cells, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.strategy import Dial
from tokenbench.contract.suite import Sample, Task, first, hold_out
from tokenbench.cost.matching import is_calibrated, match
from tokenbench.engine import EncoderRequests, RowPlan
from tokenbench.errors import InfeasibleError, StrategyError, UsageError
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.plugins import Registry
from tokenbench.runner.batches import Question, QuestionBatch
from tokenbench.runner.dialogues import batch_dialogues, check_turns, complete, form_dialogues
from tokenbench.runner.identity import Cell, cell, fingerprint_of
from tokenbench.runner.media import Media
from tokenbench.runner.order import ORDER_SEED, shuffle_images
from tokenbench.runner.resolve import Resolved
from tokenbench.runner.showing import load_batch
from tokenbench.runner.sources import remember_sources
from tokenbench.store.calibrated import Calibration
from tokenbench.store.directory import Store
from tokenbench.store.spec import Arm, Spec

__all__ = ["Work", "fingerprints", "left_of", "samples_of", "works_of"]


@dataclass(frozen=True)
class Work:
    """One model's share of a run."""

    model: Model
    """The model; its weights are loaded when they are needed."""
    arms: Sequence[Arm]
    """The strategies with their budgets and seeds. Vanilla is the first."""
    plans: Sequence[RowPlan]
    """The plan of each arm."""
    requests: EncoderRequests
    """What the arms' strategies ask of the encoder."""
    size: ModelSize | None
    """The sizes of the model; None if they are unknown."""
    tasks: Mapping[str, Task]
    """The tasks by name."""
    samples: Mapping[str, Sequence[Sample]]
    """The samples of each task, in the order in which a run takes them up, so that a smaller run is a prefix."""
    batch_size: int
    """Questions per batch."""
    cells: Mapping[tuple[int, str], Cell]
    """The cells by (number of the arm, task)."""
    infeasible: Mapping[int, InfeasibleError] = field(default_factory=dict)
    """The arms that the model cannot run, by number, each with the reason."""
    strict: bool = False
    """Whether a sample that the model cannot be asked fails its whole task."""
    media: Media = field(default_factory=Media)
    """The images and clips of the samples that have been loaded and are still needed."""
    reach: Mapping[str, int] = field(default_factory=dict)
    """How many of the first samples a cell is asked, by its id; a cell that is missing here is asked all."""
    match: str = "nominal"
    """How budgets are matched."""
    held_out: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """The samples of each task that are held out for calibration."""
    calibrated: Mapping[tuple[int, str], Calibration] = field(default_factory=dict)
    """What calibration found, by (number of the arm, task)."""

    @cached_property
    def dials(self) -> dict[int, Dial]:
        """The dials of the arms that are calibrated, by number."""
        strategies = ((i, arm.named.strategy) for i, arm in enumerate(self.arms))
        return {i: one.dial for i, one in strategies if one.dial and is_calibrated(self.match, one)}

    def lacking(self, task: str) -> list[int]:
        """Return the arms that have to be calibrated on a task."""
        return [i for i in self.dials if i not in self.infeasible and (i, task) not in self.calibrated]

    def calibrate_with(self, known: Mapping[str, Calibration]) -> Work:
        """Return the same work, with the dials of cells at what calibration found, by the ids that they have without it."""
        found = {at: known[cell.id] for at, cell in self.cells.items() if cell.id in known}
        values = {at: (one.parameter, one.value) for at, one in found.items() if one.value is not None}
        cells = {at: cell.with_dial(*values[at]) if at in values else cell for at, cell in self.cells.items()}
        return replace(self, cells=cells, calibrated={**self.calibrated, **found})

    def turn(self, arm: int, value: float) -> RowPlan:
        """Return the plan of an arm with its dial at a value.

        Raises:
            StrategyError: Its stages change with the dial.
        """
        plan = self.plans[arm]
        turned = RowPlan.make(plan.strategy.turn_dial(value), plan.budget, plan.depth, plan.seed, plan.fit, plan.name)
        if [replace(stage, keep=None) for stage in turned.typical] != [
            replace(stage, keep=None) for stage in plan.typical
        ]:
            raise StrategyError(f"strategy {plan.name}: its stages, or what they read, change with its dial")
        return turned

    @cached_property
    def own_plans(self) -> dict[tuple[int, str], RowPlan]:
        """The plans of calibrated arms, by (number of the arm, task)."""
        values = {at: one.value for at, one in self.calibrated.items() if one.value is not None}
        return {(arm, task): self.turn(arm, value) for (arm, task), value in values.items()}

    def limit_to(self, reach: Mapping[str, int]) -> Work:
        """Return the same work with a number of samples for each cell, by its id."""
        return replace(self, reach=reach)

    def samples_for(self, cell: Cell) -> Sequence[Sample]:
        """Return the samples that a cell is asked."""
        samples = self.samples[cell.task]
        return samples[: self.reach.get(cell.id, len(samples))]

    @cached_property
    def questions(self) -> list[Question]:
        """The questions of all tasks. Those on the same images are consecutive."""
        chosen = [(task, sample) for name, task in self.tasks.items() for sample in self.samples[name]]
        place = {cluster: i for i, cluster in enumerate(dict.fromkeys(sample.cluster for _, sample in chosen))}
        return sorted(chosen, key=lambda question: place[question[1].cluster])

    def cells_of(self, arm: int, questions: Sequence[Question]) -> list[Cell]:
        """Return the cell of each question's answer."""
        return [self.cells[arm, task.name] for task, _ in questions]


def left_of(work: Work, store: Store) -> list[QuestionBatch]:
    """Return the questions without final records, in batches whose questions lack the answers of the same arms.

    Journaled records do not count here, so that an interrupted run has the same batches as before and computes the same numbers. The
    worker that answers a batch skips what is journaled, and samples that turned out to be unfit: workers number the batches alike,
    whenever they start.
    """
    lacking: dict[tuple[str, str], list[int]] = {}
    for (arm, name), of in work.cells.items():
        final = store.final_questions(of.id)
        for sample in work.samples_for(of):
            if (sample.key, sample.digest) not in final:
                lacking.setdefault((name, sample.key), []).append(arm)
    alike: dict[tuple[int, ...], list[Question]] = {}
    for task, sample in work.questions:
        if arms := lacking.get((task.name, sample.key)):
            alike.setdefault(tuple(arms), []).append((task, sample))
    by_key = {name: {sample.key: sample for sample in samples} for name, samples in work.samples.items()}
    batches = [
        QuestionBatch(part, own)
        for own, questions in alike.items()
        for part in batch_dialogues(complete(questions, by_key), work.batch_size)
    ]
    place = {(task.name, sample.key): i for i, (task, sample) in enumerate(work.questions)}

    def begin(batch: QuestionBatch) -> int:
        task, sample = batch.questions[0]
        return place[task.name, sample.key]

    return sorted(batches, key=begin)  # all questions on a clip in a row


def works_of(
    resolved: Resolved, registry: Registry, device: str = "", calibrations: Mapping[str, Calibration] | None = None
) -> dict[str, Work]:
    """Make the work of every model, by its name. No weights are loaded.

    Args:
        resolved: The run.
        registry: The plug-ins that register models.
        device: The device to run on, if not that of the spec.
        calibrations: What calibration has found before, by the ids that the cells have without it.

    Raises:
        UsageError: A budget is larger than the number of visual tokens of the first samples; no later question can be asked; or `locate`, `Model` or `RowPlan.make`
            raises it.
        MachineError: `locate` or `Model` raises it.
    """
    spec = resolved.spec
    samples = {task.name: samples_of(task, spec) for task in resolved.tasks}
    held_out = {task.name: hold_out(task, spec.held_out) for task in resolved.tasks}
    check_turns(spec.turns, samples)
    works = {}
    for name in spec.models:
        model = _model(name, resolved, registry, device)
        _check_prefixes(model, spec.turns)
        works[name] = _work(resolved, model, samples, held_out).calibrate_with(calibrations or {})
        _check_budgets(works[name])
    return works


def _model(name: str, resolved: Resolved, registry: Registry, device: str) -> Model:
    spec = resolved.spec
    if name in resolved.models:
        return Model.of_object(name, resolved.models[name], registry)
    return Model(
        name,
        locate(name, registry),
        device or spec.device,
        spec.dtype,
        attention=spec.attention,
        quantization=spec.quantization,
        device_map=spec.device_map,
    )


def fingerprints(work: Work) -> dict[str, str]:
    """Return the fingerprints of the samples, by task."""
    return {name: fingerprint_of(samples) for name, samples in work.samples.items()}


def samples_of(task: Task, spec: Spec) -> Sequence[Sample]:
    """Return the samples of a task in the order in which a run takes them up: the task's own order, or whole images at random."""
    samples = first(task, spec.limit, spec.held_out)
    ordered = shuffle_images(samples, ORDER_SEED) if spec.until else samples
    return form_dialogues(ordered, spec.turns) if spec.turns > 1 else ordered


def _work(
    resolved: Resolved,
    model: Model,
    samples: Mapping[str, Sequence[Sample]],
    held_out: Mapping[str, Sequence[Sample]],
) -> Work:
    spec, tasks, chosen, size = resolved.spec, resolved.tasks, resolved.arms, model.size
    plans = [
        RowPlan.make(
            arm.named.strategy,
            arm.budget,
            model.depth,
            arm.seed,
            match(spec.match, arm.named.strategy, arm.budget, model.depth, size),
            arm.named.name,
        )
        for arm in chosen
    ]
    infeasible = dict(_misfits(plans, model, spec.turns))
    feasible = (plan for i, plan in enumerate(plans) if i not in infeasible)
    requests = EncoderRequests.of(stage for plan in feasible for stage in plan.typical)
    calibrated = {i for i, arm in enumerate(chosen) if is_calibrated(spec.match, arm.named.strategy)}
    source = remember_sources()
    cells = {
        (i, task.name): cell(spec, model, arm, task, held_out[task.name] if i in calibrated else (), source)
        for i, arm in enumerate(chosen)
        for task in tasks
    }
    by_name = {task.name: task for task in tasks}
    return Work(
        model, chosen, plans, requests, size, by_name, samples, spec.batch_size, cells, infeasible, spec.strict,
        match=spec.match, held_out=held_out,
    )  # fmt: skip


def _misfits(plans: Sequence[RowPlan], model: Model, turns: int) -> Iterator[tuple[int, InfeasibleError]]:
    """Yield the number of every arm that the model cannot run, and the error that says why."""
    for i, plan in enumerate(plans):
        try:
            plan.check_backbone(model.backbone)
            if turns > 1 and plan.trim and "flash" in model.attention:
                raise InfeasibleError(
                    f"strategy {plan.name} trims its KV cache, and flash attention cannot hide from a later question what was trimmed",
                    "use --attention sdpa",
                )
        except InfeasibleError as error:
            yield i, error


def _check_prefixes(model: Model, turns: int) -> None:
    """Raise UsageError for turns on a model whose visual tokens depend on the question."""
    if turns > 1 and not model.backbone.shares_prefixes:
        raise UsageError(
            f"--turns {turns}: {model.name} does not compute the tokens of an image alike whatever the question is, so that no later "
            "question can be asked of them",
            "choose another model, or leave out --turns",
        )


def _check_budgets(work: Work) -> None:
    """Raise UsageError for a budget that is larger than the number of visual tokens of the first samples."""
    largest = max((arm.budget.tokens or 0 for arm in work.arms), default=0)
    if not largest or not work.questions:
        return
    tokens = 0
    for _, cluster in groupby(work.questions[: work.batch_size], key=lambda question: question[1].cluster):
        _, loaded, _ = load_batch(work.model, list(cluster), work.media.load)
        tokens = max(tokens, *work.model.visual_tokens(loaded)) if loaded else tokens
        if tokens >= largest:
            return
    if tokens:
        raise UsageError(
            f"budget '{largest}' is more than the {tokens} visual tokens that {work.model.name} has per sample"
        )

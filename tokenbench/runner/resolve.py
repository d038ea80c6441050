"""Resolves names to objects, once per run: a request, or the spec of a run directory, becomes strategies, budgets and tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import FLOORS, VANILLA
from tokenbench.contract.loaded import LoadedModel
from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.suite import Suite, Task
from tokenbench.cost.matching import is_calibrated
from tokenbench.errors import UsageError
from tokenbench.models.source import check_name
from tokenbench.registry.names import NamedStrategy, name_strategy, parse_strategy
from tokenbench.registry.plugins import Registry, is_name
from tokenbench.registry.suites import absolute_data, absolute_folders, name_files, resolve_suite, suite_alone
from tokenbench.runner.objects import check_objects, common_dtype, name_model, name_objects
from tokenbench.runner.request import HELD_OUT, Request, Spending
from tokenbench.store.spec import NO_SEED, SEEDS, Arm, Spec

__all__ = ["Resolved", "resolve", "resolve_spec"]

LOOKS = 5
"""The default number of looks of a run that stops when it is decided."""
SPENDING: Spending = "obrien-fleming"


@dataclass(frozen=True)
class Resolved:
    """A run as objects, ready to be carried out."""

    spec: Spec
    """The same run as run.json stores it."""
    tasks: tuple[Task, ...]
    """The tasks to ask, in the order of the spec."""
    arms: tuple[Arm, ...]
    """Vanilla first, then the strategies without a budget, then every other one at every budget, stochastic ones once per seed."""
    unregistered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What no plug-in registers, so that only this process has it: `strategies`, `suites` or `models` -> name -> class; empty if there is
    nothing."""
    models: Mapping[str, LoadedModel] = field(default_factory=dict)
    """The models that are objects, by the names under which the run uses them."""

    @property
    def strategies(self) -> dict[str, NamedStrategy]:
        """The strategies of all arms, by name."""
        return {arm.named.name: arm.named for arm in self.arms}


def resolve(request: Request, registry: Registry, spell: Callable[[str], str] = str) -> Resolved:
    """Resolve a request.

    Args:
        request: The request, from Python, a file or the command line.
        registry: The plug-ins in which names are looked up.
        spell: Returns the name of an option as messages write it.

    Raises:
        UsageError: A name is unknown, a file or folder does not exist, options contradict each other, or a list is empty.
    """
    _check_together(request, registry, spell)
    strategies = [one for one in _deduplicate(request.strategies, registry) if one.name != VANILLA]
    names = [one.name for one in strategies]
    floors = [parse_strategy(name, registry) for name in FLOORS if request.floors and name not in names]
    named, given = request.suite, request.data
    if isinstance(named, str):
        named, given = name_files(named, given, registry)
    data, definitions = absolute_data(given), absolute_folders(request.tasks_dir)
    sampling = FrameSampling.of(request.frames, request.fps)
    suite, tasks = resolve_suite(named, request.tasks, registry, data, definitions, sampling)
    own_suite = suite if isinstance(request.suite, Suite) else None
    if own_suite is not None:
        _check_own_suite(own_suite, registry)
    _check_sampling(request, suite, tasks, spell)
    if not request.models and not suite.model:
        raise UsageError(f"suite '{suite.name}' has no default model", f"give one with {spell('models')}")
    for model in request.models or ():
        if isinstance(model, str):
            check_name(model, registry)
    calibrated = [one.name for one in strategies if _is_calibrated(request, one)]
    objects = name_objects(request.models or (), registry)
    dtype = common_dtype(request.dtype, len(request.models or ()), objects)
    spec = Spec(
        suite=named if isinstance(named, str) else named.name,
        tasks=tuple(task.name for task in tasks),
        models=tuple(dict.fromkeys(name_model(model, registry) for model in request.models or (suite.model,))),
        strategies=tuple(names),
        floors=tuple(one.name for one in floors),
        budgets=tuple(dict.fromkeys(map(str, request.budgets))),
        seeds=tuple(dict.fromkeys(request.seeds or ())),
        limit=request.limit,
        frames=sampling.frames,
        fps=sampling.fps,
        batch_size=request.batch_size,
        device=request.device,
        dtype=dtype,
        attention=request.attention,
        match=request.match,
        held_out=request.held_out or (HELD_OUT if calibrated else 0),
        data=data,
        definitions=definitions,
        margin=request.margin,
        until=request.until or "",
        looks=(request.looks or LOOKS) if request.until else 1,
        spending=(request.spending or SPENDING) if request.until else "",
        strict=request.strict,
        turns=request.turns,
        quantization=request.quantization or "",
        device_map=request.device_map,
    )
    arms = _arms([*strategies, *floors], list(dict.fromkeys(request.budgets)), spec, registry)
    return Resolved(spec, tasks, arms, _find_unregistered(arms, own_suite, registry, objects), objects)


def resolve_spec(
    spec: Spec,
    registry: Registry,
    given: Resolved | None = None,
    unregistered: Mapping[str, Mapping[str, str]] | None = None,
) -> Resolved:
    """Resolve the spec of a run directory.

    Args:
        spec: The spec from run.json, or what it grows to.
        registry: The plug-ins in which names are looked up.
        given: What this process has resolved already. Its objects are used as they are.
        unregistered: The objects that no plug-in registers, from run.json (see `Resolved.unregistered`).

    Raises:
        UsageError: A name is unknown here, or an object has to be given again.
        MachineError: A folder does not exist.
    """
    here = given.strategies if given else {}
    remembered = (unregistered or {}).get("strategies", {})
    named = [here.get(name) or _read_strategy(name, registry, remembered) for name in (*spec.strategies, *spec.floors)]
    arms = _arms(named, [Budget.parse(text) for text in spec.budgets], spec, registry)
    own = given.unregistered if given else {}
    check_objects(spec, given.models if given else {}, (unregistered or {}).get("models", {}))
    if given and _asks(given.spec) == _asks(spec):
        tasks = given.tasks
    else:
        _check_suites(spec, registry, own.get("suites", {}), (unregistered or {}).get("suites", {}))
        _, tasks = resolve_suite(spec.suite, spec.tasks, registry, spec.data, spec.definitions, spec.sampling)
    return Resolved(
        spec, tasks, arms, {**own, **_find_unregistered(arms, None, registry)}, given.models if given else {}
    )


def _check_together(request: Request, registry: Registry, spell: Callable[[str], str]) -> None:
    """Raise UsageError for options that contradict each other, and for empty lists."""
    if not request.until and (request.looks or request.spending):
        given = "looks" if request.looks else "spending"
        raise UsageError(f"{spell(given)} requires {spell('until')} decided")
    if request.frames is not None and request.fps is not None:
        raise UsageError(f"{spell('frames')} and {spell('fps')} contradict each other", "give one of them")
    if request.held_out and request.match == "nominal":
        raise UsageError(
            f"{spell('held_out')} requires {spell('match')} tokens or flops",
            "with nominal budgets, every strategy runs as it is",
        )
    if not request.strategies:
        names = ", ".join(registry.names("strategies"))
        raise UsageError("no strategy is given", f"choose from these with {spell('strategies')}: {names}")
    for name in ("budgets", "models", "seeds"):
        if getattr(request, name) == ():
            raise UsageError(f"{spell(name)} is empty")


def _check_sampling(request: Request, suite: Suite, tasks: Iterable[Task], spell: Callable[[str], str]) -> None:
    """Raise UsageError if the user chooses frames although no task shows clips whose frames can be chosen."""
    given = [name for name in ("frames", "fps") if getattr(request, name) is not None]
    if given and all(task.sampling is None for task in tasks):
        raise UsageError(
            f"{spell(given[0])} does not apply to suite '{suite.name}': none of its tasks shows clips whose frames can be chosen",
            "leave it out",
        )


def _is_calibrated(request: Request, named: NamedStrategy) -> bool:
    """Return whether a strategy has to be calibrated. Raises UsageError if the user has set its dial, too."""
    if not is_calibrated(request.match, named.strategy):
        return False
    assert named.strategy.dial is not None
    name = named.strategy.dial.parameter
    field = type(named.strategy).model_fields.get(name)
    if field is not None and getattr(named.strategy, name) != field.get_default():
        raise UsageError(
            f"strategies: '{named.name}' sets '{name}', whose value is found by calibration when budgets are matched",
            f"leave '{name}' out, or run it with nominal budgets",
        )
    return True


def _deduplicate(strategies: Iterable[str | Strategy | NamedStrategy], registry: Registry) -> list[NamedStrategy]:
    """Return the strategies with their canonical names, each once."""
    by_name: dict[str, NamedStrategy] = {}
    for one in strategies:
        if isinstance(one, str):
            named = parse_strategy(one, registry)
        else:
            named = name_strategy(one, registry) if isinstance(one, Strategy) else one
        if by_name.setdefault(named.name, named).strategy != named.strategy:
            raise UsageError(
                f"strategies: two objects have the name '{named.name}' ({by_name[named.name].unregistered}, "
                f"{named.unregistered})",
                "give their classes different names, or turn the difference into a parameter",
            )
    return list(by_name.values())


def _arms(
    strategies: Sequence[NamedStrategy], budgets: Sequence[Budget], spec: Spec, registry: Registry
) -> tuple[Arm, ...]:
    has_budget = {one.name: one.strategy.budgeted or is_calibrated(spec.match, one.strategy) for one in strategies}
    arms = [Arm(parse_strategy(VANILLA, registry), Budget.everything(), NO_SEED)]
    arms += [Arm(named, Budget.none(), NO_SEED) for named in strategies if not has_budget[named.name]]
    for named, budget in product(strategies, budgets):
        if has_budget[named.name]:
            own = (spec.seeds or SEEDS[named.strategy.seed_scope]) if named.strategy.stochastic else (NO_SEED,)
            arms += [Arm(named, budget, seed) for seed in own]
    return tuple(arms)


def _find_unregistered(
    arms: Iterable[Arm], suite: Suite | None, registry: Registry, models: Mapping[str, LoadedModel] | None = None
) -> dict[str, dict[str, str]]:
    classes_by_kind: dict[str, dict[str, str]] = {}
    if models:
        classes_by_kind["models"] = {name: type(one.model).__qualname__ for name, one in models.items()}
    if strategies := {arm.named.name: arm.named.unregistered for arm in arms if arm.named.unregistered}:
        classes_by_kind["strategies"] = strategies
    if suite is not None and suite.name not in registry.names("suites"):
        classes = (f"{type(task).__module__}.{type(task).__qualname__}" for task in suite.tasks)
        classes_by_kind["suites"] = {suite.name: ", ".join(dict.fromkeys(classes))}
    return classes_by_kind


def _read_strategy(name: str, registry: Registry, remembered: Mapping[str, str]) -> NamedStrategy:
    """Make a strategy of run.json, or raise UsageError that says how it can be made again."""
    try:
        return parse_strategy(name, registry)
    except UsageError:
        if name not in remembered:
            raise
    raise UsageError(
        f"the run's strategy '{name}' is an object of the class {remembered[name]}, which no plug-in registers",
        "pass it to tokenbench.run again, or register the class under its name in a plug-in",
    )


def _check_suites(spec: Spec, registry: Registry, own: Mapping[str, str], remembered: Mapping[str, str]) -> None:
    """Raise UsageError for a suite that is an object, since the run may have tasks besides those that the object has here."""
    registered = registry.names("suites")
    for name in spec.suite.split(","):
        if name not in registered and (name in own or name in remembered):
            raise UsageError(
                f"the run's suite '{name}' is an object that no plug-in registers",
                "pass the same suite and tasks to tokenbench.run again, or register the suite in a plug-in",
            )


def _check_own_suite(suite: Suite, registry: Registry) -> None:
    """Raise UsageError for a suite object whose name is invalid, or that of another suite."""
    if not is_name(suite.name):
        raise UsageError(f"suite: {suite.name!r:.60} is not a valid name", "use only a-z, A-Z, 0-9, '.', '_' and '-'")
    if suite.name in registry.names("suites"):
        registered = {task.name: type(task) for task in suite_alone(suite.name, registry).tasks}
        if any(registered.get(task.name) is not type(task) for task in suite.tasks):
            raise UsageError(
                f"suite: the object has the name '{suite.name}' of a registered suite with other tasks", "rename it"
            )


def _asks(spec: Spec) -> tuple[Any, ...]:
    """Return the settings that determine the tasks."""
    return spec.suite, spec.tasks, spec.data, spec.definitions, spec.sampling

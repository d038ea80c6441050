"""Names to objects, once a run: what somebody asks for, and what a run directory holds, become strategies, budgets and tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import FLOORS, VANILLA
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.suite import Suite, Task
from tokenbench.errors import UsageError
from tokenbench.registry.names import NamedStrategy, name_strategy, parse_strategy
from tokenbench.registry.plugins import Registry, is_name
from tokenbench.registry.suites import absolute_data, absolute_folders, resolve_suite, suite_alone
from tokenbench.runner.request import Request, Spending
from tokenbench.store.spec import NO_SEED, SEEDS, Arm, Spec

__all__ = ["Resolved", "resolve", "resolve_written"]

LOOKS = 5
"""How many looks a run takes that stops when it is decided, unless it says how many."""
SPENDING: Spending = "obrien-fleming"


@dataclass(frozen=True)
class Resolved:
    """A run as objects, ready to be carried out."""

    spec: Spec
    """The same run as run.json holds it."""
    tasks: tuple[Task, ...]
    """The tasks that are asked, in the order of the spec."""
    arms: tuple[Arm, ...]
    """Vanilla first, then what takes no budget, then every strategy and floor at every budget, the stochastic ones once a seed."""
    unregistered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The strategies and suites that no plug-in registers, so that only this process can make them: `strategies` or `suites` ->
    name -> class; empty if there are none."""

    @property
    def strategies(self) -> dict[str, NamedStrategy]:
        """The strategies of all arms, by name."""
        return {arm.named.name: arm.named for arm in self.arms}


def resolve(request: Request, registry: Registry, spell: Callable[[str], str] = str) -> Resolved:
    """The run that is asked for.

    Args:
        request: what somebody asks for, in Python, in a file or on the command line.
        registry: where names are looked up.
        spell: writes the name of an option in messages.

    Raises:
        UsageError: for what is unknown, contradicts something else or is empty.
        MachineError: for a folder that is not there.
    """
    _check_together(request, registry, spell)
    strategies = [one for one in _named(request.strategies, registry) if one.name != VANILLA]
    names = [one.name for one in strategies]
    floors = [parse_strategy(name, registry) for name in FLOORS if request.floors and name not in names]
    data, definitions = absolute_data(request.data), absolute_folders(request.tasks_dir)
    suite, tasks = resolve_suite(request.suite, request.tasks, registry, data, definitions)
    own_suite = suite if isinstance(request.suite, Suite) else None
    if own_suite is not None:
        _check_own_suite(own_suite, registry)
    if not request.models and not suite.model:
        raise UsageError(f"suite '{suite.name}' has no default model", f"give one with {spell('models')}")
    spec = Spec(
        suite=request.suite if isinstance(request.suite, str) else request.suite.name,
        tasks=tuple(task.name for task in tasks),
        models=tuple(dict.fromkeys(_model_name(model, registry) for model in request.models or (suite.model,))),
        strategies=tuple(names),
        floors=tuple(one.name for one in floors),
        budgets=tuple(dict.fromkeys(map(str, request.budgets))),
        seeds=tuple(dict.fromkeys(request.seeds or ())),
        limit=request.limit,
        batch_size=request.batch_size,
        device=request.device,
        dtype=request.dtype,
        attention=request.attention,
        match=request.match,
        data=data,
        definitions=definitions,
        margin=request.margin,
        until=request.until or "",
        looks=(request.looks or LOOKS) if request.until else 1,
        spending=(request.spending or SPENDING) if request.until else "",
        strict=request.strict,
    )
    arms = _arms([*strategies, *floors], list(dict.fromkeys(request.budgets)), spec.seeds, registry)
    return Resolved(spec, tasks, arms, _unregistered(arms, own_suite, registry))


def resolve_written(
    spec: Spec,
    registry: Registry,
    given: Resolved | None = None,
    unregistered: Mapping[str, Mapping[str, str]] | None = None,
) -> Resolved:
    """The run that a run directory holds, or becomes.

    Args:
        spec: from run.json, or what it grows to.
        registry: where names are looked up.
        given: what this process asks for now: its objects are taken as they are.
        unregistered: what run.json says of objects that no plug-in registers (see `Resolved.unregistered`).

    Raises:
        UsageError: for a name that is unknown here, and for an object that would have to be given again.
        MachineError: for a folder that is not there.
    """
    here = given.strategies if given else {}
    remembered = (unregistered or {}).get("strategies", {})
    named = [here.get(name) or _read_strategy(name, registry, remembered) for name in (*spec.strategies, *spec.floors)]
    arms = _arms(named, [Budget.parse(text) for text in spec.budgets], spec.seeds, registry)
    own = {**(given.unregistered if given else {})}
    if given and _asks(given.spec) == _asks(spec):
        tasks = given.tasks
    else:
        _check_suites(spec, registry, own.get("suites", {}), (unregistered or {}).get("suites", {}))
        _, tasks = resolve_suite(spec.suite, spec.tasks, registry, spec.data, spec.definitions)
    return Resolved(spec, tasks, arms, {**own, **_unregistered(arms, None, registry)})


def _check_together(request: Request, registry: Registry, spell: Callable[[str], str]) -> None:
    """Refuse options that contradict others, and lists that must not be empty."""
    if not request.until and (request.looks or request.spending):
        given = "looks" if request.looks else "spending"
        raise UsageError(f"{spell(given)} requires {spell('until')} decided")
    if not request.strategies:
        known = ", ".join(registry.names("strategies"))
        raise UsageError("no strategy is given", f"choose from these with {spell('strategies')}: {known}")
    for name in ("budgets", "models", "seeds"):
        if getattr(request, name) == ():
            raise UsageError(f"{spell(name)} is empty")


def _named(strategies: Iterable[str | Strategy | NamedStrategy], registry: Registry) -> list[NamedStrategy]:
    """Each once, by its canonical name."""
    found: dict[str, NamedStrategy] = {}
    for one in strategies:
        if isinstance(one, str):
            named = parse_strategy(one, registry)
        else:
            named = name_strategy(one, registry) if isinstance(one, Strategy) else one
        if found.setdefault(named.name, named).strategy != named.strategy:
            raise UsageError(
                f"strategies: two objects have the name '{named.name}' ({found[named.name].unregistered}, "
                f"{named.unregistered})",
                "give their classes different names, or turn the difference into a parameter",
            )
    return list(found.values())


def _model_name(model: str | Backbone, registry: Registry) -> str:
    """The name under which another process finds a model."""
    if isinstance(model, str):
        return model
    name = registry.name_of("backbones", type(model))
    if name is None:
        cls = type(model)
        raise UsageError(
            f"models: no plug-in registers {cls.__module__}.{cls.__qualname__}",
            "register it in a plug-in file, give that file in plugins, and use its name",
        )
    return name


def _arms(
    strategies: Sequence[NamedStrategy], budgets: Sequence[Budget], seeds: Sequence[int], registry: Registry
) -> tuple[Arm, ...]:
    arms = [Arm(parse_strategy(VANILLA, registry), Budget.everything(), NO_SEED)]
    arms += [Arm(named, Budget.none(), NO_SEED) for named in strategies if not named.strategy.budgeted]
    for named, budget in product(strategies, budgets):
        if named.strategy.budgeted:
            own = (seeds or SEEDS[named.strategy.seed_scope]) if named.strategy.stochastic else (NO_SEED,)
            arms += [Arm(named, budget, seed) for seed in own]
    return tuple(arms)


def _unregistered(arms: Iterable[Arm], suite: Suite | None, registry: Registry) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    if strategies := {arm.named.name: arm.named.unregistered for arm in arms if arm.named.unregistered}:
        found["strategies"] = strategies
    if suite is not None and suite.name not in registry.names("suites"):
        classes = (f"{type(task).__module__}.{type(task).__qualname__}" for task in suite.tasks)
        found["suites"] = {suite.name: ", ".join(dict.fromkeys(classes))}
    return found


def _read_strategy(name: str, registry: Registry, remembered: Mapping[str, str]) -> NamedStrategy:
    """A strategy of run.json, or a sentence on what it takes to make it again."""
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
    """Refuse a suite that is an object: its tasks are known, but not those that a run has beyond them."""
    known = registry.names("suites")
    for name in spec.suite.split(","):
        if name not in known and (name in own or name in remembered):
            raise UsageError(
                f"the run's suite '{name}' is an object that no plug-in registers",
                "pass the same suite and tasks to tokenbench.run again, or register the suite in a plug-in",
            )


def _check_own_suite(suite: Suite, registry: Registry) -> None:
    """Refuse an object whose name is no name, or that of another suite."""
    if not is_name(suite.name):
        raise UsageError(f"suite: {suite.name!r:.60} is not a valid name", "use only a-z, A-Z, 0-9, '.', '_' and '-'")
    if suite.name in registry.names("suites"):
        registered = {task.name: type(task) for task in suite_alone(suite.name, registry).tasks}
        if any(registered.get(task.name) is not type(task) for task in suite.tasks):
            raise UsageError(
                f"suite: the object has the name '{suite.name}' of a registered suite with other tasks", "rename it"
            )


def _asks(spec: Spec) -> tuple[Any, ...]:
    """What the tasks follow from."""
    return spec.suite, spec.tasks, spec.data, spec.definitions

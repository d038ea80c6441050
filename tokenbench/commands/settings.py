"""The options of a run, resolved: every name and number is checked here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenbench.commands.options import absolute, flat, named_data, whole_numbers
from tokenbench.commands.output import say
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.spec import Spec

__all__ = ["show_cells", "spec_of"]

LOOKS = 5


def spec_of(options: dict[str, Any], known: Registry) -> Spec:
    """The spec that the options of `tokenbench run` say. Raises UsageError for what is unknown or wrong."""
    from tokenbench.contract.budget import Budget
    from tokenbench.registry.names import parse_strategy
    from tokenbench.registry.suites import resolve_suite
    from tokenbench.runner.spec import FLOORS, VANILLA, Spec

    if not options["until"] and (options["looks"] or options["spending"]):
        raise UsageError(f"--{'looks' if options['looks'] else 'spending'} goes with --until decided")
    named = flat(options["strategies"])
    if not named:
        raise UsageError("no strategy named", f"--strategies takes any of {', '.join(known.names('strategies'))}")
    strategies = tuple(dict.fromkeys(parse_strategy(text, known).name for text in named))
    strategies = tuple(name for name in strategies if name != VANILLA)
    budgets = flat(options["budgets"])
    seeds = flat(options["seeds"])
    data = named_data(options["data"])
    definitions = absolute(flat(options["tasks_dir"]))
    suite, tasks = resolve_suite(options["suite"], flat(options["tasks"]), known, data, definitions)
    if not options["models"] and not suite.model:
        raise UsageError(f"suite '{suite.name}' has no model of its own", "name one with --models")
    models = flat(options["models"]) if options["models"] else (suite.model,)
    for name, values in (("budgets", budgets), ("models", models), ("seeds", seeds or not options["seeds"])):
        if not values:
            raise UsageError(f"--{name} is empty")
    return Spec(
        suite=options["suite"],
        data=data,
        definitions=definitions,
        tasks=tuple(task.name for task in tasks),
        models=models,
        strategies=strategies,
        floors=tuple(name for name in FLOORS if options["floors"] and name not in strategies),
        match=options["match"],
        budgets=tuple(str(Budget.parse(budget)) for budget in budgets),
        seeds=whole_numbers("--seeds", seeds),
        limit=options["limit"],
        batch_size=options["batch_size"],
        device=options["device"],
        dtype=options["dtype"],
        attention=options["attention"],
        strict=options["strict"],
        margin=options["margin"],
        until=options["until"] or "",
        looks=(options["looks"] or LOOKS) if options["until"] else 1,
        spending=(options["spending"] or "obrien-fleming") if options["until"] else "",
    )


def show_cells(spec: Spec, known: Registry) -> None:
    """Print the cells of a run."""
    from tokenbench.contract.suite import first
    from tokenbench.registry.suites import resolve_suite
    from tokenbench.runner.spec import arms

    _, tasks = resolve_suite(spec.suite, spec.tasks, known, spec.data, spec.definitions)
    chosen = arms(spec, known)
    samples = sum(len(first(task, spec.limit)) for task in tasks)
    for model in spec.models:
        for arm in chosen:
            seed = f"seed {arm.seed}" if arm.named.strategy.stochastic else ""
            say(f"{model}  {arm.named.name}  {arm.budget}  {seed}".rstrip())
    cells = len(spec.models) * len(chosen) * len(tasks)
    say(f"{cells} cells of {len(tasks)} tasks, {samples * len(spec.models) * len(chosen)} answers; nothing was run")

"""The commands that list and describe what is installed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.options import examples, plugin_option
from tokenbench.commands.output import say
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.contract.suite import Task
    from tokenbench.registry.plugins import Registry

__all__ = ["list_", "show"]


@click.command(
    "list", epilog=examples("tokenbench list strategies", "tokenbench list tasks", "tokenbench list backbones --all")
)
@click.argument(
    "kind",
    type=click.Choice(
        ["strategies", "mergers", "backbones", "suites", "tasks", "reports", "commands", "executors", "plugins"]
    ),
)
@click.option("--all", "everything", is_flag=True, help="For backbones: every architecture, and why one is refused.")
@plugin_option
def list_(kind: str, everything: bool, plugin_files: tuple[str, ...]) -> None:
    """List the registered strategies, suites, reports and so on."""
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    if everything and kind != "backbones":
        raise UsageError("--all is for backbones", "tokenbench list backbones --all")
    if everything:
        _list_architectures(registry)
    elif kind == "plugins":
        for plugin in registry.plugins:
            brings = [f"{k}: {', '.join(sorted(names))}" for k, names in plugin.registered.items() if names]
            state = f"FAILED: {plugin.error}" if plugin.error else "; ".join(brings)
            say(f"{plugin.name}  ({plugin.origin})  {state}")
    elif kind == "tasks":
        for name, task in _all_tasks(registry):
            say(f"{name}  {task.name}  {task.description}")
    elif kind == "backbones":
        for name in registry.names(kind):
            backbone = registry.get(kind, name)
            source = "embedded" if backbone.source and Path(backbone.source).is_dir() else backbone.source
            types = ", ".join(backbone.model_types)
            others = "other architectures (tokenbench list backbones --all shows which)"
            say(f"{name}  {source or (f'any model of type {types}' if types else others)}")
        say(f"strategies: {', '.join(registry.names('strategies'))}")
    else:
        for name in registry.names(kind):
            say(name)


def _list_architectures(registry: Registry) -> None:
    """Say of every image-text-to-text architecture of transformers what serves it, or why nothing does."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    from tokenbench.registry.backbones import backbone_of

    for name in sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES):
        try:
            served = type(backbone_of(name, registry)).__name__
        except UsageError as error:
            served = f"refused: {str(error).partition(': ')[2] or error}"
        say(f"{name}  {served}")


@click.command(
    epilog=examples(
        "tokenbench show clse",
        "tokenbench show reading",
        "tokenbench show mine.csv",
    )
)
@click.argument("name")
@plugin_option
def show(name: str, plugin_files: tuple[str, ...]) -> None:
    """Describe a strategy, a merger, a suite or a task.

    For strategies and mergers, this lists their parameters; a composed name such as fastv@pdrop+merge is described part by part.
    A table of questions is read as for a run, so that what is wrong with it is found before a model is loaded.
    """
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    if _show_task_named(name, registry) or _show_suite(name, registry):
        return
    for kind in ("backbones", "reports"):
        if name in registry.names(kind):
            raise UsageError(
                f"show describes strategies, mergers, suites and tasks, and '{name}' is one of the {kind}",
                f"see tokenbench list {kind}",
            )
    scored, _, merger = name.partition("+")
    for part in (*scored.split("@"), *([f"+{merger}"] if merger else ())):
        _show(part, registry)


def _show_task_named(name: str, registry: Registry) -> bool:
    """Describe a task of an installed suite; return whether there is one of this name."""
    from tokenbench.registry.plugins import is_name

    if name in registry.names("strategies") or not is_name(name):
        return False
    for suite, task in _all_tasks(registry):
        if task.name == name:
            _show_task(suite, task)
            return True
    return False


def _show_suite(name: str, registry: Registry) -> bool:
    """Describe a suite, or the tasks that are named after a colon or in a file; return whether the name is one of these."""
    from tokenbench.registry.suites import name_files, resolve_suite, suite_alone

    if re.split("[@+:]", name)[0] in (*registry.names("strategies"), *registry.names("mergers")):
        return False
    named, data = name_files(name, (), registry)
    suite, colon, _ = named.partition(":")
    if suite not in registry.names("suites"):
        return False
    if not colon:
        alone = suite_alone(suite, registry)
        about = alone.description if alone.tasks else inspect.getdoc(registry.get("suites", suite))
        say(suite, "", *(about or alone.description).split("\n"), "")
        say(*(f"  {task.name}  {task.description}" for task in alone.tasks))
        return True
    for task in resolve_suite(named, (), registry, data)[1]:
        samples = task.samples()
        _show_task(suite, task)
        say(f"  questions: {len(samples)}, about {len({sample.cluster for sample in samples})} images", "")
        say(*(f"  {line}" for line in samples[0].question.split("\n")), f"  answer: {samples[0].target}")
    return True


def _show(name: str, registry: Registry) -> None:
    merger = name.startswith("+") or (name in registry.names("mergers") and name not in registry.names("strategies"))
    name = name.removeprefix("+")
    part = registry.get("mergers" if merger else "strategies", name)
    written = f"STRATEGY+{name}" if merger else name
    about = (inspect.getdoc(part) or "").split("\n")
    say(name, "", *about, "", f"parameters, written {written}:NAME=VALUE (lists with slashes):")
    for field_name, field in part.model_fields.items():
        default = "/".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        say(f"  {field.alias or field_name} = {default}  {field.description or ''}".rstrip())
    if not part.model_fields:
        say("  none")


def _all_tasks(registry: Registry) -> list[tuple[str, Task]]:
    """Return the tasks that suites have by default, each with the name of its suite."""
    from tokenbench.registry.suites import suite_alone

    return [(name, task) for name in registry.names("suites") for task in suite_alone(name, registry).tasks]


def _show_task(suite: str, task: Task) -> None:
    say(task.name, "", *task.description.split("\n"), "", f"  suite: {suite}")
    for heading, text in task.notes.items():
        say(f"  {heading}: {text}")

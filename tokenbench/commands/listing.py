"""The commands that list and describe what is installed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.options import examples, plugin_option
from tokenbench.commands.output import say
from tokenbench.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from tokenbench.contract.backbone import Backbone
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
            served = _describe(backbone_of(name, registry))
        except UsageError as error:
            served = f"refused: {str(error).partition(': ')[2] or error}"
        say(f"{name}  {served}")


def _describe(backbone: Backbone) -> str:
    """The name of a backbone, whether it was checked, and which strategies it cannot run."""
    from tokenbench.contract.stage import Stage

    parts = [type(backbone).__name__]
    if not backbone.checked:
        parts.append("not checked")
    reads = {
        "the vision encoder": Stage(0, None, pixels=True),
        "positions on the image": Stage(0, None, lattice=True),
    }
    missing = []
    for what, stage in reads.items():
        try:
            backbone.check_stage(stage)
        except InfeasibleError:
            missing.append(what)
    if missing:
        parts.append(f"cannot run strategies that read {' or '.join(missing)}")
    return "; ".join(parts)


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

    For strategies and mergers, this lists their parameters; a composed name such as fastv@pdrop+merge is described part by part. Tasks that no
    suite has by default are named after their suite, such as lmms:nocaps_val. A table of questions is read as for a run, so that what is
    wrong with it is found before a model is loaded.
    """
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    if found := _find_task(name, registry):
        _show_task(*found)
        return
    if _show_suite(name, registry):
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


def _show_suite(name: str, registry: Registry) -> bool:
    """Describe a suite, or read a table of questions; return whether the name is one of these."""
    from tokenbench.registry.suites import name_files, resolve_suite, suite_alone

    if re.split("[@+:]", name)[0] in (*registry.names("strategies"), *registry.names("mergers")):
        return False
    if name in registry.names("suites"):
        alone = suite_alone(name, registry)
        about = alone.description if alone.tasks else inspect.getdoc(registry.get("suites", name))
        say(name, "", *(about or alone.description).split("\n"), "")
        say(*(f"  {task.name}  {task.description}" for task in alone.tasks))
        return True
    named, data = name_files(name, (), registry)
    for task in resolve_suite(named, (), registry, data)[1] if data else ():
        samples = task.samples()
        _show_task(named.partition(":")[0], task)
        say(f"  questions: {len(samples)}, about {len({sample.cluster for sample in samples})} images", "")
        say(*(f"  {line}" for line in samples[0].question.split("\n")), f"  answer: {samples[0].target}")
    return bool(data)


def _find_task(name: str, registry: Registry) -> tuple[str, Task] | None:
    """Return a task with the name of its suite: one that a suite has by default, or one that is named after its suite and a colon."""
    from tokenbench.registry.suites import resolve_suite

    if name.removeprefix("+") in {*registry.names("strategies"), *registry.names("mergers")}:
        return None
    suite = name.partition(":")[0]
    if ":" in name and suite in registry.names("suites"):
        return suite, resolve_suite(name, (), registry)[1][0]
    return next((found for found in _all_tasks(registry) if found[1].name == name), None)


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
    if dial := getattr(part, "dial", None):
        say(
            "",
            f"It decides its own number of tokens. --match calibrates {dial.parameter}, so that its mean work is that of a budget.",
        )


def _all_tasks(registry: Registry) -> list[tuple[str, Task]]:
    """Return the tasks that suites have by default, each with the name of its suite."""
    from tokenbench.registry.suites import suite_alone

    return [(name, task) for name in registry.names("suites") for task in suite_alone(name, registry).tasks]


def _show_task(suite: str, task: Task) -> None:
    say(task.name, "", *task.description.split("\n"), "", f"  suite: {suite}")
    for heading, text in task.notes.items():
        say(f"  {heading}: {text}")

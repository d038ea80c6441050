"""The command line: parse, call one function, print. Imports nothing heavy before a command runs."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tokenbench import __version__
from tokenbench.analysis import claims, compare, plan
from tokenbench.bench.command import bench
from tokenbench.checking import check
from tokenbench.diagnosis import doctor
from tokenbench.errors import MachineError, TokenBenchError, UsageError, brief, printable
from tokenbench.exporting import export
from tokenbench.judging import judge
from tokenbench.options import flat as _flat
from tokenbench.options import list_option as _list_option
from tokenbench.options import match_option, plugin_option
from tokenbench.reporting import report
from tokenbench.running import resume, run
from tokenbench.scaffold.command import new
from tokenbench.status import status

if TYPE_CHECKING:
    from tokenbench.plugins import Registry
    from tokenbench.suite import Task

__all__ = ["cli", "main"]

INTERNAL, INTERRUPTED, TERMINATED = 70, 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tokenbench %(version)s")
def cli() -> None:
    """Compare visual-token pruning strategies of multimodal LLMs.

    Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 cells failed, 4 this machine cannot do it, 70 a bug,
    130/143 interrupted (the same command goes on).
    """


for command in (run, resume, status, report, compare, plan, claims, judge):
    cli.add_command(command)


@cli.command("list")
@click.argument(
    "kind", type=click.Choice(["strategies", "mergers", "backbones", "suites", "tasks", "reports", "plugins"])
)
@plugin_option
def list_(kind: str, plugin_files: tuple[str, ...]) -> None:
    """List what is installed."""
    from tokenbench.plugins import Registry

    known = Registry(plugin_files)
    if kind == "plugins":
        for plugin in known.plugins:
            brings = [f"{k}: {', '.join(sorted(names))}" for k, names in plugin.registered.items() if names]
            state = f"FAILED: {plugin.error}" if plugin.error else "; ".join(brings)
            click.echo(printable(f"{plugin.name}  ({plugin.origin})  {state}"))
    elif kind == "tasks":
        for name, task in _all_tasks(known):
            click.echo(printable(f"{name}  {task.name}  {task.description}"))
    elif kind == "backbones":
        for name in known.names(kind):
            backbone = known.get(kind, name)
            source = "embedded" if backbone.source and Path(backbone.source).is_dir() else backbone.source
            click.echo(f"{name}  {source or 'any model of type ' + ', '.join(backbone.model_types)}")
        click.echo(f"every strategy runs on every backbone: {', '.join(known.names('strategies'))}")
    else:
        for name in known.names(kind):
            click.echo(name)


@cli.command()
@click.argument("name")
@plugin_option
def show(name: str, plugin_files: tuple[str, ...]) -> None:
    """Describe a strategy or merger and its parameters, or a task: tokenbench show clse."""
    from tokenbench.plugins import Registry

    known = Registry(plugin_files)
    if name not in known.names("strategies") and name not in known.names("mergers"):
        for suite, task in _all_tasks(known):
            if task.name == name:
                _show_task(suite, task)
                return
    merger = name in known.names("mergers") and name not in known.names("strategies")
    part = known.get("mergers" if merger else "strategies", name)
    written = f"STRATEGY+{name}" if merger else name
    click.echo(f"{name}\n\n{inspect.getdoc(part)}\n\nparameters, written {written}:NAME=VALUE (lists with slashes):")
    for field_name, field in part.model_fields.items():
        default = "/".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        click.echo(f"  {field.alias or field_name} = {default}  {field.description or ''}".rstrip())
    if not part.model_fields:
        click.echo("  none")


@cli.command()
@click.option("--model", required=True, help="Name, folder, or Hugging Face id (ID@REVISION); no weights are needed.")
@_list_option("--strategies", help="Strategies, with parameters after colons: clse,fastv:layer=3.")
@_list_option("--budgets", default="1/3,2/9,1/9", help="What to retain: tokens (192) or shares (1/3, 33%, 0.334).")
@click.option("--visual-tokens", type=click.IntRange(min=1), help="Of the prompt.  [default: those of a common input]")
@click.option("--text-tokens", type=click.IntRange(min=1), default=50, show_default=True, help="Of the prompt.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float16", show_default=True)
@match_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@plugin_option
def cost(model: str, form: str, plugin_files: tuple[str, ...], **options: Any) -> None:
    """Count visual tokens, FLOPs and KV cache of strategies on a model, without running it."""
    from tokenbench.cost_table import costs
    from tokenbench.plugins import Registry

    table = costs(
        model,
        _flat(options["strategies"]),
        _flat(options["budgets"]),
        Registry(plugin_files),
        options["visual_tokens"],
        options["text_tokens"],
        options["dtype"],
        options["match"],
    )
    click.echo(json.dumps(table.to_json(), indent=2) if form == "json" else str(table))


for command in (bench, check, doctor, export, new):
    cli.add_command(command)


def main() -> NoReturn:
    """The entry point: every error a person can mend is one line and its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        cli(standalone_mode=False)
    except TokenBenchError as error:
        _fail(str(error), error.hint, error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tokenbench"
        _fail(error.format_message(), f"see {command} --help", UsageError.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), "", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", "the same command goes on where it stopped", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            _fail(f"{error.filename}: {error.strerror}", "", MachineError.exit_code)
        traceback.print_exc()
        _fail(f"internal error: {brief(error)}", "a bug: please report it with the lines above", INTERNAL)
    sys.exit(0)


def _fail(message: str, hint: str, code: int) -> NoReturn:
    click.echo(printable(f"error: {message}" + (f" ({hint})" if hint else "")), err=True)
    sys.exit(code)


def _all_tasks(known: Registry) -> list[tuple[str, Task]]:
    """Every task that a suite has of its own, with the suite's name."""
    from tokenbench.suites import suite_alone

    return [(name, task) for name in known.names("suites") for task in suite_alone(name, known).tasks]


def _show_task(suite: str, task: Task) -> None:
    click.echo(f"{task.name}\n\n{task.description}\n\n  suite: {suite}")
    for heading, text in task.notes.items():
        click.echo(f"  {heading}: {text}")

"""The command line: parse, call one function, print. Imports nothing heavy before a command runs."""

from __future__ import annotations

import inspect
import json
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from tokenbench import __version__
from tokenbench.analysis import claims, compare, plan
from tokenbench.bench.command import bench
from tokenbench.errors import MachineError, StrategyError, TokenBenchError, UsageError, brief, printable
from tokenbench.judging import judge
from tokenbench.options import Place, absolute, match_option, plugin_option, whole_numbers
from tokenbench.options import flat as _flat
from tokenbench.options import list_option as _list_option

if TYPE_CHECKING:
    from tokenbench.plugins import Registry
    from tokenbench.spec import Spec
    from tokenbench.suite import Task

__all__ = ["cli", "main"]

F = TypeVar("F", bound=Callable[..., Any])
INTERNAL, INTERRUPTED, TERMINATED = 70, 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tokenbench %(version)s")
def cli() -> None:
    """Compare visual-token pruning strategies of multimodal LLMs.

    Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 a strategy failed, 4 this machine cannot do it, 70 a bug,
    130/143 interrupted (the same command goes on).
    """


@cli.command()
@click.option("--suite", default="image", show_default=True, help="Suite, or suites with tasks: lmms:pope,lmms:mme.")
@_list_option("--tasks", help="Only these tasks of the suite.")
@_list_option("--data", help="Local data of public tasks: gqa=FOLDER (parquet, arrow, image folder).")
@_list_option("--tasks-dir", help="Folders with own task definitions, for the suite lmms.")
@_list_option("--strategies", help="Strategies, with parameters after colons: clse:temp=0.2,fastv.")
@_list_option("--budgets", default="1/3,2/9,1/9", help="What to retain: tokens (192) or shares (1/3, 33%, 0.334).")
@_list_option(
    "--models",
    help="Names, folders with weights, or Hugging Face ids (ID@REVISION).  [default: the suite's toy model]",
)
@_list_option("--seeds", default="0,1,2", help="Seeds of strategies that draw at random.")
@click.option(
    "--floors/--no-floors",
    default=True,
    show_default=True,
    help="Run the strategies 'random' and 'downsample' as floors.",
)
@match_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples of each task.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Questions a batch.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, …")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True)
@click.option(
    "--attention",
    type=click.Choice(["sdpa", "eager", "flash_attention_2"]),
    default="sdpa",
    show_default=True,
    help="Attention of the decoder.",
)
@click.option(
    "--spec",
    "spec_file",
    type=Place(),
    help="A TOML file with any of these options; the command line wins.",
)
@click.option("-o", "--output", type=Place(), help="Run directory.  [default: runs/SUITE-HASH]")
@click.option("-n", "--dry-run", is_flag=True, help="Show the cells, run nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@plugin_option
@click.pass_context
def run(
    context: click.Context,
    /,
    plugin_files: tuple[str, ...],
    spec_file: Path | None,
    output: Path | None,
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run every strategy x budget x model cell of a suite and compare them.

    Run again to go on where an interrupted run stopped.
    """
    from tokenbench.plugins import Registry

    known = Registry(plugin_files)
    if spec_file:
        from tokenbench.specfile import read_spec

        given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        options |= {name: value for name, value in read_spec(spec_file, known).items() if name not in given}
    spec = _spec(options, known)
    folder = output or Path("runs") / (re.sub(r"[^\w.-]+", "-", spec.suite) + f"-{spec.digest}")
    if dry_run:
        _show_cells(spec, known)
        return
    _guarded(spec, folder, known, quiet)
    click.echo(f"run: {folder}", err=True)
    _report(folder, ("markdown", "csv", "html", "terminal"), known, spec.definitions)
    _tell_failures(folder)


@cli.command()
@click.argument("folder", metavar="RUN", type=Place())
@_list_option("--format", "formats", default="terminal,markdown,csv,html", help="Report formats.")
@_list_option("--tasks-dir", help="Folders with the run's own task definitions, to show its samples.")
@plugin_option
def report(
    folder: Path,
    formats: Sequence[Sequence[str]],
    tasks_dir: Sequence[Sequence[str]],
    plugin_files: tuple[str, ...],
) -> None:
    """Write the reports of a run again."""
    from tokenbench.plugins import Registry

    _report(folder, _flat(formats), Registry(plugin_files), absolute(_flat(tasks_dir)))


for command in (compare, plan, claims, judge):
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


cli.add_command(bench)


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


def _spec(options: dict[str, Any], known: Registry) -> Spec:
    """The resolved spec; every name and number is checked here."""
    from tokenbench.budget import Budget
    from tokenbench.naming import parse_strategy
    from tokenbench.spec import FLOORS, VANILLA, Spec
    from tokenbench.suites import data_folders, resolve_suite

    named = _flat(options["strategies"])
    if not named:
        raise UsageError("no strategy named", f"--strategies takes any of {', '.join(known.names('strategies'))}")
    strategies = tuple(dict.fromkeys(parse_strategy(text, known).name for text in named))
    strategies = tuple(name for name in strategies if name != VANILLA)
    budgets = _flat(options["budgets"])
    seeds = _flat(options["seeds"])
    data = tuple(f"{task}={path.resolve()}" for task, path in data_folders(_flat(options["data"])).items())
    definitions = absolute(_flat(options["tasks_dir"]))
    suite, tasks = resolve_suite(options["suite"], _flat(options["tasks"]), known, data, definitions)
    if not options["models"] and not suite.model:
        raise UsageError(f"suite '{suite.name}' has no model of its own", "name one with --models")
    models = _flat(options["models"]) if options["models"] else (suite.model,)
    for name, values in (("budgets", budgets), ("models", models), ("seeds", seeds)):
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
    )


def _show_cells(spec: Spec, known: Registry) -> None:
    from tokenbench.spec import arms
    from tokenbench.suite import first
    from tokenbench.suites import resolve_suite

    _, tasks = resolve_suite(spec.suite, spec.tasks, known, spec.data, spec.definitions)
    chosen = arms(spec, known)
    samples = sum(len(first(task, spec.limit)) for task in tasks)
    for model in spec.models:
        for arm in chosen:
            seed = f"seed {arm.seed}" if arm.named.strategy.stochastic else ""
            click.echo(f"{model}  {arm.named.name}  {arm.budget}  {seed}".rstrip())
    cells = len(spec.models) * len(chosen) * len(tasks)
    click.echo(
        f"{cells} cells of {len(tasks)} tasks, {samples * len(spec.models) * len(chosen)} answers; nothing was run"
    )


def _guarded(spec: Spec, folder: Path, known: Registry, quiet: bool) -> None:
    """Run; an unexpected error leaves its traceback in the run's logs."""
    from tokenbench.progress import progress
    from tokenbench.runner import execute

    try:
        execute(spec, folder, known, lambda total: progress(total, sys.stderr, quiet))
    except TokenBenchError:
        raise
    except OSError as error:
        raise MachineError(
            f"{error.filename or folder}: {error.strerror or error}", "mend it and run again to go on"
        ) from error
    except Exception as error:
        log = folder / "logs" / "traceback.txt"
        if not log.parent.is_dir():
            raise
        log.write_text(traceback.format_exc())
        _fail(f"internal error: {type(error).__name__}: {error}", f"traceback in {log}", INTERNAL)


def _report(folder: Path, formats: Sequence[str], known: Registry, definitions: Sequence[str]) -> None:
    from tokenbench.foreign import within
    from tokenbench.report import csv_text, write_text
    from tokenbench.run import Run

    writers = [known.get("reports", name)() for name in formats]
    finished = Run.open(folder, known, definitions)
    comparison, official = finished.compare(), finished.official()
    target = within(folder / "report", folder)
    target.mkdir(exist_ok=True)
    for writer in writers:
        writer.write(comparison, finished, target, sys.stdout)
    if len(official):
        write_text(target / "official.csv", csv_text(official))
        click.echo(f"the benchmarks' own numbers: {target / 'official.csv'}", err=True)


def _tell_failures(folder: Path) -> None:
    """One line for every strategy that broke the contract; the run is done, but not whole."""
    from tokenbench.run import Run

    broken = {f["reason"]: f["strategy"] for f in Run.open(folder).failures() if f["kind"] == "failed"}
    if broken:
        reasons = "; ".join(f"{strategy}: {reason}" for reason, strategy in broken.items())
        raise StrategyError(f"cells without numbers: {reasons}", "mend the strategy and give the same command again")

"""The command that imports the logs of other tools."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from tokenbench.commands.options import Place, absolute, examples, flat, list_option, plugin_option
from tokenbench.commands.output import say
from tokenbench.errors import UsageError

__all__ = ["import_"]


@click.command(
    "import",
    epilog=examples(
        "tokenbench import vanilla=logs/base fastv@1/3=logs/fastv -o my-run",
        "tokenbench import logs --data pope=data/pope -o my-run",
        "tokenbench import scores.csv --model-name llava-1.5-7b -o my-run",
    ),
)
@click.argument("what", metavar="[CELL=]LOGS...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=Place(), help="New folder for the run.")
@click.option("--model-name", default="", help="Name of the model.  [default: as in the logs]")
@list_option(
    "--data",
    help="TASK=FOLDER with the data of a task, or TASK for lmms-eval's own source: finds questions and pictures.",
)
@list_option("--tasks-dir", help="Folders of task definitions. They hold code, so name them only if you trust them.")
@click.option("--images", type=Place(), help="Table with the columns task, sample and image.")
@list_option("--tasks", help="Tasks to import, by their names in the logs.  [default: all]")
@list_option("--as", "renamed", help="Another name for a task: tb_pope=pope.")
@list_option("--metric", "metrics", help="Metric to take: TASK=NAME.  [default: the first that scores every answer]")
@list_option("--filter", "filters", help="Filter of lmms-eval to take: NAME, or TASK=NAME.")
@click.option(
    "--failed",
    type=click.Choice(["wrong", "drop"]),
    default=None,
    help="Count rows without an answer as wrong, or drop them from all cells.",
)
@click.option("--other-prompts", is_flag=True, help="Compare cells although they were asked with different prompts.")
@click.option("--common", is_flag=True, help="Compare the rows that all cells have, if some cells have others.")
@click.option(
    "--each-its-own",
    is_flag=True,
    help="Take every question as a picture of its own, although the task asks several about each.",
)
@click.option("--latest", is_flag=True, help="If a cell was logged several times, take the last log.")
@plugin_option
def import_(
    what: Sequence[str],
    output: Path,
    model_name: str,
    images: Path | None,
    failed: str | None,
    plugin_files: Sequence[str],
    **more: object,
) -> None:
    """Import logs of lmms-eval or VLMEvalKit as a run.

    LOGS is a folder with sample logs (lmms-eval's --log_samples) or evaluations of VLMEvalKit, or a .csv table of scores. CELL says what was run, as
    STRATEGY@BUDGET (fastv@1/3, or vanilla), where the logs do not. compare, report, export, status and claims work on the run; what the logs
    do not hold, such as cost, is unknown there.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench_tools.importing.importing import Choices, describe_means, import_logs
    from tokenbench_tools.importing.logged import Wanted

    lists: dict[str, tuple[str, ...]] = {name: flat(value) for name, value in more.items() if isinstance(value, tuple)}
    chosen = Choices(
        model=model_name,
        data=_absolute_data(lists["data"]),
        definitions=absolute(lists["tasks_dir"]),
        images=images,
        names=_pairs("--as", lists["renamed"]),
        wanted=Wanted(lists["tasks"], _pairs("--metric", lists["metrics"]), _filters(lists["filters"])),
        failed=failed or "",
        **{name: bool(more[name]) for name in ("other_prompts", "common", "each_its_own", "latest")},
    )
    values: dict[str, str | None] = {
        "--model-name": model_name,
        "--images": _place(str(images)) if images else None,
        "--failed": failed,
    }
    command = _command(what, {**lists, "plugin": tuple(plugin_files)}, values, more)
    imported = import_logs(what, output, chosen, Registry(plugin_files), command)
    say(*describe_means(imported))
    say(*(f"note: {note}" for note in imported.notes), err=True)
    say(f"run: {output}", f"next: tokenbench compare {shlex.quote(str(output))}")


def _filters(texts: Sequence[str]) -> dict[str, str]:
    """Return texts such as `word` or `gqa=word` as a mapping; the key "" is for all tasks."""
    return {text.partition("=")[0] if "=" in text else "": text.rpartition("=")[2] for text in texts}


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Return texts such as `a=b` as a mapping."""
    for text in texts:
        if not all(text.partition("=")):
            raise UsageError(f"{option} takes TASK=NAME, not '{text[:60]}'")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _absolute_data(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of `--data` with absolute folders."""
    from tokenbench.registry.suites import absolute_data

    return tuple(text for one in texts for text in (absolute_data([one]) if "=" in one else [one]))


def _command(
    what: Sequence[str],
    lists: Mapping[str, tuple[str, ...]],
    values: Mapping[str, str | None],
    more: Mapping[str, object],
) -> str:
    """Return the command as reports show it, without the folders of this machine."""
    words = ["tokenbench", "import", *map(_named_place, what)]
    places = {"data": "--data", "tasks_dir": "--tasks-dir", "plugin": "--plugin"}
    words += [word for name, option in places.items() for text in lists[name] for word in (option, _named_place(text))]
    names = {"renamed": "--as", "metrics": "--metric", "filters": "--filter", "tasks": "--tasks"}
    words += [word for name, option in names.items() for text in lists[name] for word in (option, text)]
    words += [word for option, value in values.items() if value for word in (option, value)]
    words += [f"--{name.replace('_', '-')}" for name, value in more.items() if value is True]
    return shlex.join([*words, "-o", "RUN"])


def _named_place(text: str) -> str:
    """Return a text such as `fastv@1/3=/home/me/logs` as `fastv@1/3=logs`."""
    from tokenbench_tools.importing.cells import divide

    name, path = divide(text)
    return f"{name}={_place(path)}" if name else _place(path)


def _place(path: str) -> str:
    """Return a path as it was typed; of one that begins at the root of this machine, the last part."""
    return Path(path).name if Path(path).is_absolute() else path

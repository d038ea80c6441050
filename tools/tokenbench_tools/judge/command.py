"""The command that has stored answers rated by a judge model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.opening import chosen_writers, opened
from tokenbench.commands.options import (
    Finite,
    Place,
    data_of_run_option,
    flat,
    list_option,
    looking,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say

__all__ = ["judge"]


@click.command()
@click.argument("folder", metavar="RUN", type=Place())
@click.option("--url", required=True, help="OpenAI-compatible address, up to /v1.")
@click.option("--model", required=True, help="The judge, by the name and version that the server knows.")
@list_option("--tasks", help="Only these tasks of the run.")
@tasks_dir_option
@data_of_run_option
@click.option(
    "--key-from",
    default="OPENAI_API_KEY",
    show_default=True,
    metavar="VARIABLE",
    help="The environment variable that holds the server's key, if it asks for one.",
)
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True, help="Questions asked at once.")
@click.option(
    "--timeout", type=Finite(0, min_open=True), default=60.0, show_default=True, help="Seconds that a call may take."
)
@click.option("--retry-failed", is_flag=True, help="Ask again about answers that got no verdict.")
@list_option("--format", "formats", default="terminal,markdown,csv", help="Report formats.")
@plugin_option
@looking
def judge(
    folder: Path,
    url: str,
    model: str,
    key_from: str,
    workers: int,
    timeout: float,
    retry_failed: bool,
    plugin_files: tuple[str, ...],
    **lists: Sequence[Sequence[str]],
) -> None:
    """Have the answers of a finished run rated by a judge model, each distinct answer once, and compare by its scores.

    If it is interrupted, run the same command again to resume. Verdicts and reports are in RUN/judge/; the run's own scores stay as they are.
    An answer that gets no verdict is counted, and left out of the comparison for all strategies alike.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.progress import progress
    from tokenbench_tools.judge import Judge, judged

    known = Registry(plugin_files)
    writers = chosen_writers(flat(lists["formats"]), known)
    who = Judge(url, model, os.environ.get(key_from, ""), timeout=timeout)
    rated, target = judged(
        opened(folder, lists, known),
        who,
        flat(lists["tasks"]),
        workers,
        lambda total: progress(total, sys.stderr, False),
        retry_failed,
    )
    comparison = rated.compare()
    for writer in writers:
        writer.write(comparison, rated, target, sys.stdout)
    say(f"verdicts of {model}: {target}", *([rated.unrated] if rated.unrated else []), err=True)

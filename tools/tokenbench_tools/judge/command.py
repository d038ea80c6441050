"""The command that has stored answers rated by a judge model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.opening import make_writers, open_run
from tokenbench.commands.options import (
    Finite,
    Place,
    Whole,
    data_of_run_option,
    examples,
    flat,
    list_option,
    offline_command,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say

__all__ = ["judge"]


@click.command(epilog=examples("tokenbench judge my-run --url http://localhost:8000/v1 --model qwen3-32b@2026-01"))
@click.argument("folder", metavar="RUN", type=Place())
@click.option("--url", required=True, help="OpenAI-compatible address of the server, up to /v1.")
@click.option("--model", required=True, help="Judge model, by the name and version under which the server knows it.")
@list_option("--tasks", help="Tasks of the run to rate.  [default: all]")
@tasks_dir_option
@data_of_run_option
@click.option(
    "--key-from",
    default="OPENAI_API_KEY",
    show_default=True,
    metavar="VARIABLE",
    help="Environment variable that holds the server's API key, if it needs one.",
)
@click.option("--workers", type=Whole(min=1), default=8, show_default=True, help="Number of concurrent requests.")
@click.option(
    "--timeout", type=Finite(0, min_open=True), default=60, show_default=True, help="Seconds that one request may take."
)
@click.option("--retry-failed", is_flag=True, help="Ask again about answers that received no verdict.")
@list_option("--format", "formats", default="terminal,markdown,csv", help="Report formats to write.")
@plugin_option
@offline_command
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
    """Rate the stored answers of a run with a judge model.

    Each distinct answer is rated once, and the strategies are compared by these scores. Verdicts and reports are
    written to RUN/judge/; the run's own scores do not change. Answers that receive no verdict are counted, and left out
    of the comparison for all strategies alike. If the command is interrupted, run the same command again to resume.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.progress import progress
    from tokenbench_tools.judge.rated import rate
    from tokenbench_tools.judge.server import Judge

    registry = Registry(plugin_files)
    writers = make_writers(flat(lists["formats"]), registry)
    who = Judge(url, model, os.environ.get(key_from, ""), timeout=timeout)
    rated, target = rate(
        open_run(folder, lists, registry),
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

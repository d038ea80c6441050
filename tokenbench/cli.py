"""The command line: its commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import NoReturn

import click

from tokenbench import __version__
from tokenbench.bench.command import bench
from tokenbench.commands.checking import check
from tokenbench.commands.comparing import claims, compare
from tokenbench.commands.costing import cost
from tokenbench.commands.diagnosis import doctor
from tokenbench.commands.exporting import export
from tokenbench.commands.judging import judge
from tokenbench.commands.listing import list_, show
from tokenbench.commands.planning import plan
from tokenbench.commands.reporting import report
from tokenbench.commands.running import resume, run
from tokenbench.commands.status import status
from tokenbench.errors import MachineError, TokenBenchError, UsageError, brief, printable
from tokenbench.scaffold.command import new

__all__ = ["cli", "main"]

INTERNAL, INTERRUPTED, TERMINATED = 70, 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tokenbench %(version)s")
def cli() -> None:
    """Compare visual-token pruning strategies of multimodal LLMs.

    Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 cells failed, 4 this machine cannot do it, 70 a bug,
    130/143 interrupted (the same command goes on).
    """


for command in (run, resume, status, report, compare, plan, cost, bench, claims, judge):
    cli.add_command(command)
for command in (list_, show, new, check, doctor, export):
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

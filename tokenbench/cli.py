"""The command line: its commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import NoReturn

import click

from tokenbench import __version__
from tokenbench.commands.checking import check
from tokenbench.commands.comparing import compare
from tokenbench.commands.costing import cost
from tokenbench.commands.exporting import export
from tokenbench.commands.listing import list_, show
from tokenbench.commands.merging import merge
from tokenbench.commands.options import examples
from tokenbench.commands.output import lost, open_streams, say
from tokenbench.commands.planning import plan
from tokenbench.commands.reporting import report
from tokenbench.commands.resuming import resume
from tokenbench.commands.running import run
from tokenbench.commands.status import status
from tokenbench.errors import AGAIN, MachineError, TokenBenchError, UsageError, brief, of_machine
from tokenbench.registry.containment import Terminated
from tokenbench.registry.plugins import registry

__all__ = ["cli", "main"]

INTERNAL, INTERRUPTED, TERMINATED = 70, 130, 143


class _Commands(click.Group):
    """All commands: those of the core and those of plug-ins, which cannot replace the core's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands that can be loaded; the others say why when somebody asks for them."""
        brought = [name for name in registry().names("commands") if name not in self.commands and _is_whole(name)]
        return sorted([*self.commands, *brought])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of the core's commands, or the one that a plug-in brings."""
        if cmd_name in self.commands or cmd_name not in registry().names("commands"):
            return self.commands.get(cmd_name)
        command: click.Command = registry().get("commands", cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command.

        Whatever click would take for an exit code of its own, or for a Ctrl-D, is an error like any other.
        """
        try:
            return super().invoke(ctx)
        except OSError as error:
            if trouble := of_machine(error):
                raise trouble from error
            raise
        except (Exception, KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # of a plug-in or library
            raise RuntimeError(f"{brief(error)} was raised while a command ran") from error


@click.group(
    cls=_Commands,
    epilog=examples(
        "tokenbench run --strategies clse,fastv --limit 20 -o my-run",
        "tokenbench compare my-run",
        "tokenbench show clse",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="tokenbench %(version)s")
def cli() -> None:
    """Compare visual-token pruning strategies of multimodal LLMs.

    Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 cells failed, 4 this machine cannot do it, 70 a bug,
    130/143 interrupted: run the same command again to resume.
    """


for command in (run, resume, status, report, compare, merge, plan, cost, list_, show, check, export):
    cli.add_command(command)


def _is_whole(name: str) -> bool:
    try:
        registry().get("commands", name)
    except UsageError:
        return False
    return True


def main() -> NoReturn:
    """Run the command line: every error that a person can fix is one line and its exit code."""
    open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    code = _outcome()
    if (error := lost()) and code == 0:
        code = _fail(f"standard output: {error.strerror}", "the rest of the output is lost", MachineError.exit_code)
    sys.exit(code)


def _outcome() -> int:
    """Run the command that the command line names, and return its exit code."""
    try:
        cli(standalone_mode=False)
    except TokenBenchError as error:
        return _fail(str(error), error.hint, error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tokenbench"
        return _fail(error.format_message(), f"see {command} --help", UsageError.exit_code)
    except click.ClickException as error:
        return _fail(error.format_message(), "", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", f"{AGAIN} to resume", INTERRUPTED)
    except Terminated:
        return _fail("terminated", f"{AGAIN} to resume", TERMINATED)
    except Exception as error:
        if trouble := of_machine(error):
            return _fail(str(trouble), trouble.hint, trouble.exit_code)
        say(*traceback.format_exc().rstrip().split("\n"), err=True)
        return _fail(f"internal error: {brief(error)}", "a bug: please report it with the lines above", INTERNAL)
    return 0


def _terminate(*_: object) -> NoReturn:
    raise Terminated(TERMINATED)


def _fail(message: str, hint: str, code: int) -> int:
    say(f"error: {message}" + (f" ({hint})" if hint else ""), err=True)
    return code

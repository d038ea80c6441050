"""Keeps a plug-in, while it is loaded, from changing the output, the working directory or the end of a command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from tokenbench.errors import brief

__all__ = ["PluginError", "Terminated", "contain"]


class Terminated(SystemExit):
    """This process received SIGTERM."""


class PluginError(Exception):
    """An error that a plug-in raised, in one line."""


class _Interrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C. A plug-in cannot raise this by itself."""


@contextlib.contextmanager
def contain() -> Iterator[None]:
    """Contain a plug-in while it is loaded: its output goes to standard error, and the working directory is restored.

    A plug-in cannot be kept from os._exit or from the command's memory: it is code that the user has chosen to trust.

    Raises:
        PluginError: The plug-in raised an error, or tried to end the process.
    """
    folder = _working_directory()
    try:
        with contextlib.redirect_stdout(sys.stderr), _mark_interrupts():
            yield
    except (Terminated, _Interrupted):
        raise
    except BaseException as error:
        raise PluginError(brief(error)) from error
    finally:
        if folder and folder != _working_directory():
            os.chdir(folder)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


@contextlib.contextmanager
def _mark_interrupts() -> Iterator[None]:
    """Make Ctrl-C raise `_Interrupted`, which differs from a KeyboardInterrupt that a plug-in raises."""
    standard = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not standard:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, standard)


def _interrupt(*_: object) -> None:
    raise _Interrupted

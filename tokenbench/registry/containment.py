"""Keeps a plug-in's code, while it is loaded, from what is the command's own: its output, its folder, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from tokenbench.errors import brief

__all__ = ["PluginError", "Terminated", "contained"]


class Terminated(SystemExit):
    """Somebody ended this process with SIGTERM."""


class PluginError(Exception):
    """What a plug-in raised, in one line."""


class _Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C: no plug-in can raise this one by itself."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Load a plug-in: what it prints goes to standard error, and the working directory stays as it is.

    Raises PluginError for whatever it raises, also to end the process. It cannot be kept from os._exit or from the command's memory:
    a plug-in is code that the user has chosen to trust.
    """
    folder = _working_directory()
    try:
        with contextlib.redirect_stdout(sys.stderr), _interrupts_marked():
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
def _interrupts_marked() -> Iterator[None]:
    """Tell Ctrl-C from a KeyboardInterrupt that a plug-in raises."""
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

"""Undoes what lmms-eval does to the process: it silences warnings, changes PIL and torch, reseeds `random`, prints."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import random
import socket
import sys
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import SupportsIndex

__all__ = ["contain", "importing", "offline", "scratch", "seed"]


_ONE_AT_A_TIME = threading.RLock()  # what is changed meanwhile belongs to the process; the next batch loads in a thread


@contextlib.contextmanager
def contain() -> Iterator[None]:
    """Run code of lmms-eval or of its tasks; afterwards all is as before, but for the modules that it imported.

    Nothing it prints or logs is shown. HF_HOME, without which some tasks cannot be loaded, has its default meanwhile.

    Raises:
        RuntimeError: The code ends the process, as some tasks do where a file is missing.
    """
    with _ONE_AT_A_TIME:
        try:
            yield from _restoring()
        except SystemExit as error:
            raise RuntimeError(f"it stops the program: {error}") from error


def _restoring() -> Iterator[None]:
    import datasets
    import loguru
    import numpy as np
    import torch.distributed.distributed_c10d as distributed
    from PIL import ImageFile

    truncated, timeout, state = ImageFile.LOAD_TRUNCATED_IMAGES, distributed.default_pg_timeout, random.getstate()
    numpy_state = np.random.get_state()
    shows_bars = not datasets.are_progress_bars_disabled()
    homeless = "HF_HOME" not in os.environ
    sinks = loguru.logger._core.handlers  # type: ignore[attr-defined]
    os.environ.setdefault("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
    # Handlers are a dict that loguru replaces and never changes; without any, nothing is logged.
    loguru.logger._core.handlers = {}  # type: ignore[attr-defined]
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            ImageFile.LOAD_TRUNCATED_IMAGES = True  # some data sets hold truncated images
            yield
    finally:
        if shows_bars:
            datasets.enable_progress_bars()
        loguru.logger._core.handlers = sinks  # type: ignore[attr-defined]
        if homeless:
            os.environ.pop("HF_HOME", None)
        random.setstate(state)
        np.random.set_state(numpy_state)
        distributed.default_pg_timeout = timeout
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let code import `decord`, with which it would decode clips if TokenBench did not, where that is not installed.

    Raises:
        ImportError: The code decodes a clip with it nevertheless.
    """
    if importlib.util.find_spec("decord") is not None:
        yield
        return
    sys.modules["decord"] = stand_in = types.ModuleType("decord")
    stand_in.__getattr__ = _NotThere  # type: ignore[method-assign]
    try:
        yield
    finally:
        del sys.modules["decord"]


class _NotThere:
    """What is imported from `decord` where it is not installed."""

    def __init__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __call__(self, *given: object, **named: object) -> object:
        raise ImportError("the package decord, with which this task decodes its clips, is not installed")


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Refuse connections, and do not wait for them: what asks a judge or a server then fails at once.

    It holds for this thread and those that the code starts. Nothing that the code or its processes write to stderr is shown.
    """
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def refuse(stock: Callable[..., object]) -> Callable[..., object]:
        def refused(*given: object, **named: object) -> object:
            if threading.get_ident() in others:
                return stock(*given, **named)
            raise OSError("no connection is made while a task is examined")

        return refused

    def skip(seconds: float | SupportsIndex) -> None:
        if threading.get_ident() in others:
            sleep(seconds)

    sleep = time.sleep
    names = [(socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")]
    before = [(owner, name, getattr(owner, name)) for owner, name in names]
    shown = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        for owner, name, stock in before:
            setattr(owner, name, refuse(stock))
        time.sleep = skip
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        time.sleep = sleep
        for owner, name, stock in before:
            setattr(owner, name, stock)


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """An empty folder as the working folder, for code that leaves files in it; nothing it writes to stderr is shown."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(here)


def seed(state: int) -> None:
    """Give the generators that scorers draw from one of several fixed states."""
    import numpy as np

    random.seed(state)
    np.random.seed(state)

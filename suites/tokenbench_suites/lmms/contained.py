"""Undoes what lmms-eval does to the process: it silences warnings, changes PIL and torch, reseeds `random`, prints."""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["contain"]


_ONE_AT_A_TIME = threading.RLock()  # what is changed meanwhile belongs to the process; the next batch loads in a thread


@contextlib.contextmanager
def contain() -> Iterator[None]:
    """Run code of lmms-eval or of its tasks; afterwards all is as before, but for the modules that it imported.

    Nothing it prints or logs is shown. HF_HOME, without which some tasks cannot be loaded, has its default meanwhile.
    """
    with _ONE_AT_A_TIME:
        yield from _restoring()


def _restoring() -> Iterator[None]:
    import datasets
    import loguru
    import torch.distributed.distributed_c10d as distributed
    from PIL import ImageFile

    truncated, timeout, state = ImageFile.LOAD_TRUNCATED_IMAGES, distributed.default_pg_timeout, random.getstate()
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
        distributed.default_pg_timeout = timeout
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated

"""Files of a run directory, which may come from others: read within limits, and only where they belong."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tokenbench.errors import MachineError

__all__ = ["conforming", "ordinary", "read_json", "within"]

MOST_BYTES = 256 * 2**20
"""A run.json of a million cells is smaller."""


def read_json(path: Path, root: Path, shape: type[BaseModel], hint: str) -> Any:
    """The content of a JSON file of the run in `root`, as it stands there. Raises MachineError unless it has the shape."""
    try:
        ordinary(path, root)
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(
            content, ensure_ascii=False
        ).encode()  # an escape may stand for half a letter, which no report can hold
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else _reason(error)
        raise MachineError(f"{path} cannot be read: {reason}", hint) from None
    return conforming(content, path, shape, hint)


def conforming(content: Any, path: Path, shape: type[BaseModel], hint: str) -> Any:
    """The content, unchanged. Raises MachineError that says where it has another shape."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise MachineError(f"{path} cannot be read: {where[:100]}: {first['msg']}", hint) from None
    return content


def ordinary(path: Path, root: Path) -> None:
    """Raise OSError or ValueError for what is no file, or lies outside the run through a link."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    if not _inside(path, root):
        raise ValueError("it is a link out of the run directory")


def within(path: Path, root: Path) -> Path:
    """The path, which need not be there. Raises MachineError if a link leads out of the run: it would be written elsewhere."""
    if not _inside(path, root):
        raise MachineError(f"{path} is a link out of the run directory", "replace it by what it links to")
    return path


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)

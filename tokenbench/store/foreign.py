"""JSON files of a run directory, which may come from others: read within limits, and only in the shape that a run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tokenbench.errors import AGAIN, MachineError
from tokenbench.store import files

__all__ = ["conforming", "read_json"]

TRY_AGAIN = f"nothing is lost: {AGAIN}"


def read_json(path: Path, root: Path, shape: type[BaseModel], hint: str) -> Any:
    """The content of a JSON file of the run in `root`, as it stands there.

    Raises MachineError if it cannot be read now, or has another shape; hint: what to do in the latter case.
    """
    try:
        text = files.read(path, root).decode()
        content = json.loads(text)
        json.dumps(
            content, ensure_ascii=False
        ).encode()  # an escape may stand for half a letter, which no report can hold
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise MachineError(
            f"{path} cannot be read: {error.strerror or error}", hint if missing else TRY_AGAIN
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise MachineError(f"{path} cannot be read: {reason}", hint) from None
    except MemoryError:
        raise MachineError(f"there is not enough memory for {path}", TRY_AGAIN) from None
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

"""The JSON files of a run directory, which may come from others. They are read within limits, and must have the expected shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tokenbench.errors import AGAIN, MachineError
from tokenbench.store import files

__all__ = ["check_shape", "read_json"]

TRY_AGAIN = f"nothing is lost: {AGAIN}"


def read_json(path: Path, root: Path, shape: type[BaseModel], hint: str) -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        root: The run directory.
        shape: The model that the content must satisfy.
        hint: What a user should do if it does not.

    Raises:
        MachineError: The file cannot be read now, or has another shape.
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
    return check_shape(content, path, shape, hint)


def check_shape(content: Any, path: Path, shape: type[BaseModel], hint: str) -> Any:
    """Check the shape of the content of a JSON file, and return the content unchanged.

    Args:
        content: The content.
        path: The file, for the error.
        shape: The model that the content must satisfy.
        hint: What a user should do if it does not.

    Raises:
        MachineError: It has another shape. The message says where.
    """
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise MachineError(f"{path} cannot be read: {where[:100]}: {first['msg']}", hint) from None
    return content

"""The code of classes that no file holds as it runs: those of a notebook, a script or a function. Read from the process itself."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from types import CodeType, FunctionType
from typing import Any

__all__ = ["is_live", "live_hash"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))
UNSAID = (
    "__doc__",
    "__module__",
    "__qualname__",
    "__firstlineno__",
    "__static_attributes__",
    "__annotations__",
    "_abc_impl",
)
MADE_BY_PYDANTIC = ("__pydantic_", "__private_attributes__", "__class_vars__", "model_")


def is_live(cls: type) -> bool:
    """Whether a class was made by a process rather than by a module that others can import."""
    module = sys.modules.get(cls.__module__)
    local = "<locals>" in cls.__qualname__
    return local or cls.__module__ == "__main__" or getattr(module, "__file__", None) is None


def live_hash(cls: type, digits: int) -> str:
    """A hash of what a class does: its methods with the functions, classes and plain values they use of their own module, its plain
    attributes, and its fields with their defaults. Docstrings, comments and the places in a file leave it as it is; another version of
    Python may not.
    """
    return hashlib.sha256("\n".join(_told(cls, cls.__module__, set())).encode("utf-8", "surrogatepass")).hexdigest()[
        :digits
    ]


def _told(value: Any, home: str, seen: set[int]) -> Iterator[str]:
    """A value as text. home: the module whose functions and classes are followed. seen: what was told already, by `id`."""
    if isinstance(value, PLAIN):
        yield repr(value)
    elif isinstance(value, (tuple, list)):
        yield type(value).__name__
        for part in value:
            yield from _told(part, home, seen)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(map(repr, value))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield repr(key)
            yield from _told(part, home, seen)
    elif isinstance(value, CodeType):
        yield from _code(value, home, seen)
    elif isinstance(value, FunctionType) and value.__module__ == home:
        if id(value) not in seen:
            seen.add(id(value))
            yield from _function(value, home, seen)
    elif isinstance(value, type) and value.__module__ == home:
        if id(value) not in seen:
            seen.add(id(value))
            yield from _class(value, home, seen)
    elif parts := _parts(value):
        for part in parts:
            yield from _told(part, home, seen)
    else:
        yield getattr(value, "__qualname__", type(value).__qualname__)


def _parts(value: Any) -> Iterable[Any]:
    """The functions inside what stands for them in a class."""
    if isinstance(value, property):
        return [part for part in (value.fget, value.fset, value.fdel) if part]
    if isinstance(value, (staticmethod, classmethod)):
        return [value.__func__]
    if isinstance(value, cached_property):
        return [value.func]
    return [value.func, value.args, value.keywords] if isinstance(value, partial) else []


def _class(cls: type, home: str, seen: set[int]) -> Iterator[str]:
    yield cls.__name__
    for base in cls.__bases__:
        yield base.__qualname__
        yield from _told(base, home, seen)
    for name, value in sorted(vars(cls).items()):
        if name not in UNSAID and not name.startswith(MADE_BY_PYDANTIC):
            yield name
            yield from _told(value, home, seen)
    for name, field in getattr(cls, "__pydantic_fields__", {}).items():
        yield name
        yield from _told(field.default, home, seen)
        yield from _told(field.default_factory, home, seen)
        yield repr(field.metadata)


def _function(function: FunctionType, home: str, seen: set[int]) -> Iterator[str]:
    yield from _code(function.__code__, home, seen, function.__doc__)
    yield from _told([function.__defaults__, function.__kwdefaults__], home, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _told(cell.cell_contents, home, seen)
        except ValueError:  # a name that has no value yet
            continue
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name
            yield from _told(function.__globals__[name], home, seen)


def _names(code: CodeType) -> set[str]:
    """All names that a function and those inside it look up."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _code(code: CodeType, home: str, seen: set[int], doc: str | None = None) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(
        (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    )
    for at, part in enumerate(code.co_consts):
        if not (at == 0 and doc is not None and part == doc):
            yield from _told(part, home, seen)

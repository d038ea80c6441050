"""Hashes the code of classes that were made in a notebook, a script or a function. It is read from the process, not from a file."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property, partial
from types import CodeType, FunctionType
from typing import Any

__all__ = ["is_live", "live_hash"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))
UNSAID = frozenset(
    {
        "__doc__", "__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__annotations__",
        "__private_attributes__", "__class_vars__", "_abc_impl",
    }
)  # fmt: skip
PYDANTICS_OWN = ("__pydantic_", "model_")


def is_live(cls: type) -> bool:
    """Return whether this process made a class, so that no other process can import it."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return cls.__module__ == "__main__" or "<locals>" in cls.__qualname__ or file is None


def live_hash(cls: type, digits: int) -> str:
    """Return a hash of what a class does.

    It covers the class's methods, with the functions, classes and plain values of their own module that they use, its plain
    attributes, and its fields with their defaults. Docstrings, comments and positions in a file do not change it; another version of
    Python may.
    """
    text = "\n".join(_Serializer(cls.__module__).serialize(cls))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


class _Serializer:
    """Writes values as text.

    Functions and classes of the module `home` are followed, each once; of all others, only the names are written.
    """

    def __init__(self, home: str) -> None:
        self._home = home
        self._seen: set[int] = set()
        self._ways: list[tuple[Any, Callable[[Any], Iterable[str]]]] = [
            (PLAIN, lambda value: [repr(value)]),
            ((tuple, list), self._all),
            ((set, frozenset), lambda value: sorted(map(repr, value))),
            (dict, self._mapping),
            (CodeType, self._code),
            ((FunctionType, type), self._by_name),
            (property, lambda value: self._all([value.fget, value.fset, value.fdel])),
            ((staticmethod, classmethod), lambda value: self.serialize(value.__func__)),
            (cached_property, lambda value: self.serialize(value.func)),
            (partial, lambda value: self._all([value.func, value.args, value.keywords])),
        ]

    def serialize(self, value: Any) -> Iterator[str]:
        way = next((way for kinds, way in self._ways if isinstance(value, kinds)), None)
        yield from way(value) if way else [getattr(value, "__qualname__", type(value).__qualname__)]

    def _all(self, values: Collection[Any]) -> Iterator[str]:
        yield f"{len(values)} values"
        for value in values:
            yield from self.serialize(value)

    def _mapping(self, values: Mapping[Any, Any]) -> Iterator[str]:
        for key, value in values.items():
            yield repr(key)
            yield from self.serialize(value)

    def _by_name(self, value: Any) -> Iterator[str]:
        yield value.__qualname__
        if value.__module__ == self._home and id(value) not in self._seen:
            self._seen.add(id(value))
            yield from self._class(value) if isinstance(value, type) else self._function(value)

    def _class(self, cls: type) -> Iterator[str]:
        yield from self._all(cls.__bases__)
        own = {name: value for name, value in vars(cls).items() if name not in UNSAID}
        yield from self._mapping({name: own[name] for name in sorted(own) if not name.startswith(PYDANTICS_OWN)})
        for name, field in getattr(cls, "__pydantic_fields__", {}).items():
            yield f"{name}: {field.annotation!r} {field.metadata!r}"
            yield from self._all([field.default, field.default_factory])

    def _function(self, function: FunctionType) -> Iterator[str]:
        doc = function.__doc__
        yield from self._code(function.__code__, doc)
        yield from self._all([function.__defaults__, function.__kwdefaults__ or {}])
        for cell in function.__closure__ or ():
            try:
                yield from self.serialize(cell.cell_contents)
            except ValueError:  # a name that has no value yet
                continue
        names = sorted(_names(function.__code__) & function.__globals__.keys())
        yield from self._mapping({name: function.__globals__[name] for name in names})

    def _code(self, code: CodeType, doc: str | None = None) -> Iterator[str]:
        yield code.co_code.hex()
        yield repr((code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount, code.co_flags))
        docstring = doc is not None and code.co_consts[:1] == (doc,)
        yield from self._all(code.co_consts[1:] if docstring else code.co_consts)


def _names(code: CodeType) -> set[str]:
    """Return all names that a function, and the functions inside it, look up."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(_names, inner))

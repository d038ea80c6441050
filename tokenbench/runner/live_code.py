"""The code of classes that no file holds as it runs: those of a notebook, a script or a function. Read from the process itself."""

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
    """Whether a process made a class, rather than a module that others can import."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return cls.__module__ == "__main__" or "<locals>" in cls.__qualname__ or file is None


def live_hash(cls: type, digits: int) -> str:
    """A hash of what a class does.

    That is: its methods, with the functions, classes and plain values of their own module that they use, its plain attributes, and
    its fields with their defaults. Docstrings, comments and places in a file leave it as it is; another version of Python may not.
    """
    text = "\n".join(_Teller(cls.__module__).tell(cls))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


class _Teller:
    """Tells values as text. Functions and classes of the module `home` are followed, each once; of others their names."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._seen: set[int] = set()
        self._ways: list[tuple[Any, Callable[[Any], Iterable[str]]]] = [
            (PLAIN, lambda value: [repr(value)]),
            ((tuple, list), self._all),
            ((set, frozenset), lambda value: sorted(map(repr, value))),
            (dict, self._mapping),
            (CodeType, self._code),
            ((FunctionType, type), self._named),
            (property, lambda value: self._all([value.fget, value.fset, value.fdel])),
            ((staticmethod, classmethod), lambda value: self.tell(value.__func__)),
            (cached_property, lambda value: self.tell(value.func)),
            (partial, lambda value: self._all([value.func, value.args, value.keywords])),
        ]

    def tell(self, value: Any) -> Iterator[str]:
        way = next((way for kinds, way in self._ways if isinstance(value, kinds)), None)
        yield from way(value) if way else [getattr(value, "__qualname__", type(value).__qualname__)]

    def _all(self, values: Collection[Any]) -> Iterator[str]:
        yield f"{len(values)} values"
        for value in values:
            yield from self.tell(value)

    def _mapping(self, values: Mapping[Any, Any]) -> Iterator[str]:
        for key, value in values.items():
            yield repr(key)
            yield from self.tell(value)

    def _named(self, value: Any) -> Iterator[str]:
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
                yield from self.tell(cell.cell_contents)
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
    """All names that a function and those inside it look up."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(_names, inner))

"""Hashes of the source code that can change an answer, by module. Modules are read, never imported, to find out what has changed."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from tokenbench.runner.live_code import is_live, live_hash

__all__ = ["changed_modules", "code_hash", "remember_sources", "source_of"]

Imports = tuple[tuple[int, str], ...]
DIGITS = 16
LIVE = "class "
"""The prefix of a class that is in no file."""
WORDS_ALONE = frozenset(
    {
        "tokenbench",  # where its names come from
        "tokenbench.errors",
        "tokenbench.contract.hookspecs",
        "tokenbench.models.source",
        "tokenbench.registry.names",
        "tokenbench.registry.plugins",
    }
)
"""Modules that write messages or find things. None of them computes any part of an answer."""
FOREIGN = ("pydantic", "torch")
"""Packages with base classes of ours. Their versions are part of an identity, or cannot change an answer."""


def source_of(obj: object) -> dict[str, str]:
    """Return the hashes of all code on which an object's class, or a module, depends.

    These are the modules of the class and its bases, and what they import from their own packages. A class that was made in a
    notebook, a script or a function has a hash of its own, under `class MODULE.NAME`.

    Args:
        obj: An object, a class, or the name of a module.

    Returns:
        The hashes by module.
    """
    if isinstance(obj, str):
        return _closure([obj])
    cls = obj if isinstance(obj, type) else type(obj)
    bases = [base for base in cls.__mro__ if _counts(base.__module__)]
    live = {f"{LIVE}{base.__module__}.{base.__qualname__}": live_hash(base, DIGITS) for base in bases if is_live(base)}
    return live | _closure(base.__module__ for base in bases if base.__module__ != "__main__")


def remember_sources() -> Callable[[object], dict[str, str]]:
    """Return a `source_of` that looks at the files of a class once, for a moment in which nobody edits them."""
    read = cache(source_of)
    return lambda obj: read(obj if isinstance(obj, str | type) else type(obj))


def changed_modules(then: Mapping[str, str], files: Mapping[str, Path]) -> list[str]:
    """Return the modules whose code has changed, or which no longer exist. Classes of another process cannot be checked.

    Args:
        then: The earlier hashes by module.
        files: The files of plug-ins that are single files, by the names of their modules.
    """
    return [name for name, digest in then.items() if not name.startswith(LIVE) and _current_hash(name, files) != digest]


def code_hash(source: bytes) -> str:
    """Return a hash of what a module does. Comments, docstrings, line numbers and formatting do not change it."""
    return _read(source)[0]


def _current_hash(name: str, files: Mapping[str, Path]) -> str | None:
    file = files.get(name) or _file_of(name)
    return _of_file(file)[0] if file is not None and file.is_file() else None


def _closure(names: Iterable[str]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    left = [name for name in names if _counts(name)]
    while left:
        name = left.pop()
        file = _file_of(name)
        if file is None or name in hashes:
            continue
        hashes[name], imports = _of_file(file)
        package = name.partition(".")[0]
        home = name if file.name == "__init__.py" else name.rpartition(".")[0]
        left += [used for used in _absolute(imports, home) if used.partition(".")[0] == package and _counts(used)]
    return dict(sorted(hashes.items()))


def _counts(name: str) -> bool:
    package = name.partition(".")[0]
    return package not in sys.stdlib_module_names and package not in FOREIGN and name not in WORDS_ALONE


def _file_of(name: str) -> Path | None:
    """Return the source file of a module; None if there is no such module. Nothing is imported, not even its package."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is not None:
        return Path(loaded)
    package, *parts = name.split(".")
    if not all(part.isidentifier() for part in (package, *parts)):  # a run of others may hold a path
        return None
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.has_location and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *parts)
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def _of_file(file: Path) -> tuple[str, Imports]:
    about = file.stat()
    return _of_version(file, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)
def _of_version(file: Path, time: int, size: int) -> tuple[str, Imports]:
    """Read a file. Its time and size are arguments, so that an edited file is read again."""
    return _read(file.read_bytes())


def _read(source: bytes) -> tuple[str, Imports]:
    """Return a hash of the code, and its imports. Content that is not Python, such as a compiled module, is hashed as it is."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(source).hexdigest()[:DIGITS], ()
    digest = hashlib.sha256("".join(_serialize(tree)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:DIGITS], tuple(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the level and name of everything that is imported, in functions as well, except for type checkers only."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = [node.module] if node.module else []
            yield node.level, ".".join(origin)
            yield from ((node.level, ".".join([*origin, alias.name])) for alias in node.names)  # perhaps a submodule
        elif isinstance(node, ast.If) and _for_type_checkers(node.test):
            left += node.orelse
        else:
            left += ast.iter_child_nodes(node)


def _absolute(imports: Imports, home: str) -> Iterator[str]:
    """Yield the full names of imports. `home` is the package of the importing module."""
    for level, name in imports:
        above = home.split(".")[: len(home.split(".")) + 1 - level] if level else []
        yield ".".join([*above, *filter(None, [name])])


def _for_type_checkers(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _serialize(node: ast.AST) -> Iterator[str]:
    """Yield a syntax tree as text that depends neither on positions in the file nor on the version of Python."""
    yield f"({type(node).__name__}"
    for name, value in ast.iter_fields(node):
        values = [part for part in (value if isinstance(value, list) else [value]) if not _does_nothing(part)]
        if values in ([], [None]) or name in ("kind", "type_comment"):
            continue
        yield f" {name}="
        for part in values:
            if isinstance(part, ast.AST):
                yield from _serialize(part)
            else:
                yield f"{part!r},"
    yield ")"


def _does_nothing(part: object) -> bool:
    """Return whether this is a docstring, any other constant that stands alone, or an ellipsis."""
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)

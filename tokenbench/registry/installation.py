"""The versions of libraries with which all tests passed: `constraints.txt`, which `.ci/renew` writes and `pip -c` reads."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name

__all__ = ["CONSTRAINTS", "NAME", "find_untested", "install", "installed_version", "pins", "requirements_of"]

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
NAME = "tokenbench"


def pins() -> dict[str, str]:
    """Return the tested version of each library, by its canonical name."""
    lines = [line for line in CONSTRAINTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): there for name, _, there in (line.partition("==") for line in lines)}


def install(*extras: str) -> str:
    """Return the command that installs TokenBench's libraries, and those of extras, in their tested versions."""
    what = f'"{NAME}[{",".join(extras)}]"' if extras else NAME
    return f"pip install -c {shlex.quote(str(CONSTRAINTS))} {what}"


def find_untested(extras: Iterable[str]) -> list[tuple[str, str, str]]:
    """Find the libraries that are installed in another version than the tested one.

    Args:
        extras: The extras of TokenBench whose libraries are checked besides its own, direct and indirect ones.

    Returns:
        (name, installed version, tested version) of each. TokenBench's own requirements come first.
    """
    tested, others = pins(), []
    for name in dict.fromkeys(_walk_requirements(("", *extras))):
        there = installed_version(name)
        if there and name in tested and not Specifier(f"=={tested[name]}").contains(there, prereleases=True):
            others.append((name, there, tested[name]))
    return others


def requirements_of(name: str, extra: str = "") -> list[Requirement]:
    """Return what an installed library requires on this machine, or what one of its extras adds to that."""
    try:
        needed = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [r for r in needed if _applies(r, extra) and not (extra and _applies(r, ""))]


def installed_version(name: str) -> str:
    """Return the installed version of a library; an empty text if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _walk_requirements(extras: Iterable[str]) -> Iterator[str]:
    """Yield the canonical names of all that TokenBench requires, level by level."""
    level, seen = [(NAME, extra) for extra in extras], set[tuple[str, str]]()
    while level:
        seen |= set(level)
        below = [requirement for name, extra in level for requirement in requirements_of(name, extra)]
        names = [(canonicalize_name(r.name), extra) for r in below for extra in ("", *sorted(r.extras))]
        yield from (name for name, _ in names)
        level = [pair for pair in dict.fromkeys(names) if pair not in seen]

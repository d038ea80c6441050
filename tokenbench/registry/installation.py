"""The versions that all tests passed with: `constraints.txt`, written by `.ci/renew` and taken by pip with `-c`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name

__all__ = ["CONSTRAINTS", "NAME", "declared", "install", "installed", "pins", "untested"]

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
NAME = "tokenbench"


def pins() -> dict[str, str]:
    """What was tested: the version of each library, by its canonical name."""
    lines = [line for line in CONSTRAINTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): there for name, _, there in (line.partition("==") for line in lines)}


def install(*extras: str) -> str:
    """The command that installs TokenBench's libraries, and those of the extras, in the versions that were tested."""
    what = f'"{NAME}[{",".join(extras)}]"' if extras else NAME
    return f"pip install -c {shlex.quote(str(CONSTRAINTS))} {what}"


def untested(extras: Iterable[str]) -> list[tuple[str, str, str]]:
    """What TokenBench or one of the extras brings, directly or not, and is installed in another version than the tested one.

    Each as name, installed version, tested version. TokenBench's own requirements come first.
    """
    tested, others = pins(), []
    for name in dict.fromkeys(_brought(("", *extras))):
        there = installed(name)
        if there and name in tested and not Specifier(f"=={tested[name]}").contains(there, prereleases=True):
            others.append((name, there, tested[name]))
    return others


def declared(name: str, extra: str = "") -> list[Requirement]:
    """What an installed library needs on this machine, or what one of its extras adds to that."""
    try:
        needed = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [r for r in needed if _applies(r, extra) and not (extra and _applies(r, ""))]


def installed(name: str) -> str:
    """The version that is installed; empty if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _brought(extras: Iterable[str]) -> Iterator[str]:
    """The canonical names of all that TokenBench needs, level by level."""
    level, seen = [(NAME, extra) for extra in extras], set[tuple[str, str]]()
    while level:
        seen |= set(level)
        below = [requirement for name, extra in level for requirement in declared(name, extra)]
        names = [(canonicalize_name(r.name), extra) for r in below for extra in ("", *sorted(r.extras))]
        yield from (name for name, _ in names)
        level = [pair for pair in dict.fromkeys(names) if pair not in seen]

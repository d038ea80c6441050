"""What the README installs is what was tested: the constraints cover it, admit no other version, and every command takes them."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.blocks import ROOT, blocks, pages

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILE = ROOT / "tokenbench" / "constraints.txt"
LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
PINNED = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in LINES)}
EXTRAS = ("test", "lmms", "docs")  # what the README's commands and .ci/run install


def wanted() -> list[Requirement]:
    """What pyproject.toml asks for."""
    extras = PROJECT["optional-dependencies"]
    return [*map(Requirement, [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in extras[extra])])]


def brought() -> set[str]:
    """The names of all installed libraries that these commands bring, found by walking the installed metadata.

    A library in another version than the tested one may bring others.
    """
    found: set[str] = set()
    left = [(canonicalize_name(r.name), extra) for r in wanted() for extra in ("", *r.extras)]
    done = set()
    while left:
        name, extra = pair = left.pop()
        if pair in done:
            continue
        done.add(pair)
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
        if version(name) != PINNED.get(name, version(name)):
            continue
        for r in needed:
            if r.marker is None or r.marker.evaluate({"extra": extra}):
                left += [(canonicalize_name(r.name), of) for of in ("", *r.extras)]
    return found


def test_a_constraint_is_a_name_and_a_version_and_nothing_else() -> None:
    for line in LINES:
        assert re.fullmatch(r"[A-Za-z0-9][\w.-]*==\d[\w.!]*", line), line  # no address, option, marker or local build
    assert len(PINNED) == len(LINES)


def test_everything_that_the_commands_install_has_its_version() -> None:
    assert brought() - {"pip", "wheel"} <= PINNED.keys()


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_tested_version_is_in_the_range_that_is_declared(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)], prereleases=True)


def test_the_wheel_has_the_constraints() -> None:
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "tokenbench/constraints.txt" in files


def installations(text: str) -> list[str]:
    """The commands that install this checkout; those of a page stand in its blocks."""
    return re.findall(r"^(?:\$ )?(pip install .*)", text, re.MULTILINE)


@pytest.mark.parametrize("page", [*pages(), ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_page_installs_what_was_tested(page: Path) -> None:
    for command in installations("".join(block.text for block in blocks(page))):
        assert command.startswith("pip install -c tokenbench/constraints.txt ")


def test_the_first_two_commands_of_the_readme_are_the_installations() -> None:
    first, second = [block.text for block in blocks(ROOT / "README.md") if block.language == "sh"][:2]
    assert first.startswith("pip install -c tokenbench/constraints.txt . && tokenbench run ")
    assert second.startswith('pip install -c tokenbench/constraints.txt -e ".[test,lmms]" && python -m pytest -n auto')
    assert len(installations((ROOT / ".ci" / "run").read_text())) == 1
    assert "-c tokenbench/constraints.txt" in installations((ROOT / ".ci" / "run").read_text())[0]

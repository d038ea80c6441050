"""Which installed versions no test has run with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenbench.registry import installation as tested

PINS = {"tokenbench-one": "1.0", "two": "2.0", "three": "3.0", "not-brought": "1.0"}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of made-up libraries: `Tokenbench_One` needs two, and three with its extra; three needs one in turn."""
    for name, there, needs in (
        ("root", "1.0", ["Tokenbench.One[more]>=1", "absent", "two; extra == 'lmms'"]),
        ("Tokenbench_One", "1.0+cpu", ["three>=1; extra == 'more'", "other; python_version < '3'"]),
        ("two", "2.1", []),
        ("three", "3.0.1", ["tokenbench-one"]),
        ("other", "9", []),
        ("not_brought", "9", []),
    ):
        folder = tmp_path / f"{name}-{there}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {there}", "Provides-Extra: more", "Provides-Extra: lmms"]
        (folder / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs), ""]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tested, "NAME", "root")
    monkeypatch.setattr(tested, "pins", lambda: PINS)
    return tmp_path


@pytest.mark.usefixtures("environment")
def test_other_versions_are_found_however_deep_and_by_extra() -> None:
    assert tested.find_untested([]) == [("three", "3.0.1", "3.0")]
    assert [requirement.name for requirement in tested.requirements_of("root", "lmms")] == ["two"]
    assert tested.find_untested(["lmms"]) == [("two", "2.1", "2.0"), ("three", "3.0.1", "3.0")]


def test_the_command_names_the_file_that_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert tested.install("lmms", "ray") == f'pip install -c {tested.CONSTRAINTS} "tokenbench[lmms,ray]"'
    assert tested.install() == f"pip install -c {tested.CONSTRAINTS} tokenbench"
    monkeypatch.setattr(tested, "CONSTRAINTS", tmp_path / "my env" / "constraints.txt")
    assert f"-c '{tmp_path}/my env/constraints.txt' " in tested.install()


def test_the_pins_are_those_of_the_file() -> None:
    pins = tested.pins()
    assert f"torch=={pins['torch']}" in tested.CONSTRAINTS.read_text().splitlines()
    assert f"Jinja2=={pins['jinja2']}" in tested.CONSTRAINTS.read_text().splitlines()
    assert all(pins.values())

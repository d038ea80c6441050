"""Who imports whom: the core knows no plug-in, and the command line starts light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenbench

ROOT = Path(__file__).parents[1]
PLUGINS = ("strategies", "backbones", "suites", "reports", "tools")
LONGEST = 300
"""Lines of a file."""


def imported(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return {name for name in names if name.startswith("tokenbench")}


def test_the_core_imports_no_plugin_package() -> None:
    assert imported(ROOT / "tokenbench") == {"tokenbench"}


def test_the_core_names_no_plugin_package() -> None:
    for path in (ROOT / "tokenbench").rglob("*.py"):
        assert not [name for name in PLUGINS if f"tokenbench_{name}" in path.read_text()], path


@pytest.mark.parametrize("folder", PLUGINS)
def test_a_plugin_package_imports_the_core_and_itself_only(folder: str) -> None:
    assert imported(ROOT / folder) <= {"tokenbench", f"tokenbench_{folder}"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]], ids=" ".join)
def test_the_command_line_starts_without_heavy_libraries(arguments: list[str]) -> None:
    """Help loads every command and every executor, those of plug-ins included."""
    code = (
        "import sys, tokenbench.cli, tokenbench.registry.plugins; tokenbench.registry.plugins.Registry();"
        f"tokenbench.cli.cli({arguments}, standalone_mode=False);"
        "print([m for m in ('torch', 'transformers', 'pandas', 'scipy', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Usage:" in out
    assert out.splitlines()[-1] == "[]"


def test_commands_open_runs_and_make_writers_in_one_place() -> None:
    """What a run directory may make a command read is decided there, and nowhere else."""
    for path in (ROOT / "tokenbench").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "commands" in path.parts and path.name not in (
            "opening.py",
            "carrying_out.py",
        ):  # which opens what it has just run
            assert "Run.open(" not in text, path
        assert path.name == "opening.py" or not re.search(r"""\.get\(["']reports["'], \w+\)\(\)""", text), path


def test_public_names_are_sorted_and_importable() -> None:
    assert tokenbench.__all__ == sorted(
        tokenbench.__all__, key=lambda name: (not name.isupper(), name)
    )  # constants first
    assert all(getattr(tokenbench, name) is not None for name in tokenbench.__all__)


def test_what_cells_are_called_is_written_in_one_place() -> None:
    """Vanilla's name, the floors, and the columns that name a cell: `tokenbench.contract.cells` holds them, everybody else imports."""
    from tokenbench.contract.cells import CELL, FLOORS, VANILLA

    home, kinds = ROOT / "tokenbench" / "contract" / "cells.py", ("tokenbench", *PLUGINS, "benchmarks", "training")
    for path in (path for kind in kinds for path in (ROOT / kind).rglob("*.py") if path != home):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and node.value == VANILLA), where
            texts = [e.value for e in getattr(node, "elts", ()) if isinstance(e, ast.Constant)]
            assert texts[: len(FLOORS)] != list(FLOORS), where
            if path.name != "comparing.py":  # columns of published numbers, which have a source first
                assert not any(tuple(texts[at : at + len(CELL)]) == CELL for at in range(len(texts))), where


def sources() -> Iterator[Path]:
    return (path for kind in ("tokenbench", *PLUGINS) for path in (ROOT / kind).rglob("*.py"))


def test_no_file_is_longer_than_a_reader_takes_in_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {path: lines for path, lines in lengths.items() if lines > LONGEST}


def test_every_field_is_documented_where_it_stands() -> None:
    """A string under each field is what editors and the site show; ruff's rules do not know of it."""
    bare = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and _holds_fields(node):
                for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
                    if isinstance(statement, ast.AnnAssign) and not _is_text(below):
                        bare.append(f"{path.relative_to(ROOT)}:{statement.lineno}")
    assert not bare


def _holds_fields(node: ast.ClassDef) -> bool:
    """Whether it is a dataclass, a named tuple or the like. Strategies describe their parameters in `Field`."""
    words = {ast.unparse(part).partition("(")[0] for part in (*node.decorator_list, *node.bases)}
    return bool(words & {"dataclass", "dataclasses.dataclass", "NamedTuple", "TypedDict", "Protocol"})


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

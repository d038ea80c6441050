"""What of the source is part of a cell's identity: the code that can change an answer, never what is only written beside it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tokenbench.runner.identity import ENGINE
from tokenbench.runner.sources import changed_modules, code_hash, remember_sources, source_of

CODE = '''
"""What the module is for."""
import math

LIMIT = 3
"""What the limit is of."""


class Scorer:
    """Scores."""

    weight: float = 0.5

    def score(self, x, *, low=0):
        """Of x."""
        if x > LIMIT and low:
            return f"{x:.1f}"
        return [-x, *(math.sqrt(y) for y in range(low))]


async def wait():
    ...
'''

SAME = {
    "a comment": CODE.replace("LIMIT = 3", "LIMIT = 3  # not more\n# at all"),
    "a module's docstring": CODE.replace("What the module is for.", "Something else."),
    "no module docstring": CODE.replace('"""What the module is for."""\n', ""),
    "a class's docstring": CODE.replace('    """Scores."""\n', ""),
    "a method's docstring": CODE.replace('"""Of x."""', '"""Of x,\n        whatever it is."""'),
    "a constant's docstring": CODE.replace("What the limit is of.", "?"),
    "blank lines": CODE.replace("\n", "\n\n"),
    "quotes": CODE.replace('f"{x:.1f}"', "f'{x:.1f}'"),
    "parentheses and line breaks": CODE.replace(
        "x > LIMIT and low", "(\n            x > LIMIT\n            and low\n        )"
    ),
    "how a number is written": CODE.replace("LIMIT = 3", "LIMIT = 0x3"),
    "a body of nothing": CODE.replace("    ...\n", '    """Later."""\n'),
    "line ends": CODE.replace("\n", "\r\n"),
}
OTHER = {
    "a constant": CODE.replace("LIMIT = 3", "LIMIT = 4"),
    "a constant's type": CODE.replace("LIMIT = 3", "LIMIT = 3.0"),
    "a boolean": CODE.replace("LIMIT = 3", "LIMIT = True"),
    "a default": CODE.replace("low=0", "low=1"),
    "a keyword alone": CODE.replace("x, *, low", "x, low"),
    "an annotation, which pydantic reads": CODE.replace("weight: float", "weight: int"),
    "an operator": CODE.replace("x > LIMIT", "x >= LIMIT"),
    "a sign": CODE.replace("[-x,", "[x,"),
    "a format": CODE.replace(":.1f", ":.2f"),
    "an import": CODE.replace("import math", "import cmath as math"),
    "a name": CODE.replace("def score", "def rank"),
    "order": CODE.replace("[-x, *(math.sqrt(y) for y in range(low))]", "[*(math.sqrt(y) for y in range(low)), -x]"),
    "a decorator": CODE.replace("    def score", "    @staticmethod\n    def score"),
    "a statement less": CODE.replace("        if x > LIMIT and low:\n            return f\"{x:.1f}\"\n", ""),
    "bytes": CODE.replace('f"{x:.1f}"', 'b"x"'),
    "indentation": CODE.replace("        return [-x", "            return [-x"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_is_only_written_beside_the_code_leaves_its_hash(name: str) -> None:
    assert SAME[name] != CODE
    assert code_hash(SAME[name].encode()) == code_hash(CODE.encode())


@pytest.mark.parametrize("name", OTHER)
def test_what_changes_the_code_changes_its_hash(name: str) -> None:
    assert OTHER[name] != CODE
    assert code_hash(OTHER[name].encode()) != code_hash(CODE.encode())
    assert len({code_hash(code.encode()) for code in OTHER.values()}) == len(OTHER)


def test_what_is_no_python_is_hashed_as_it_is() -> None:
    hashes = {code_hash(source) for source in (b"\0\1", b"\0\2", b"def", b"\xff", CODE.encode())}
    assert len(hashes) == 5


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a strategy, and of what it uses and does not use."""
    folder = tmp_path / "made_up_pruner"
    files = {
        "__init__": "from made_up_pruner import registration",
        "registration": "from tokenbench import hookimpl",
        "method": """
            from __future__ import annotations
            from typing import TYPE_CHECKING
            from made_up_pruner.helper import scale
            if TYPE_CHECKING:
                from made_up_pruner.types import Kind
            class Base: ...
            class Method(Base):
                def score(self):
                    from . import late
                    return late.NUMBER * scale()
        """,
        "helper": "import json\nfrom .deep import deeper\ndef scale(): return 1",
        "deep/__init__": "",
        "deep/deeper": "A = 1",
        "late": "NUMBER = 2",
        "types": "Kind = int",
        "other_method": "class Other: ...",
    }
    for name, code in files.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_up_pruner"]:
        del sys.modules[name]


USED = {"made_up_pruner.method", "made_up_pruner.helper", "made_up_pruner.late", "made_up_pruner.deep.deeper"}


def test_a_method_is_its_module_and_what_that_imports_from_its_package(package: Path) -> None:
    import importlib

    method = importlib.import_module("made_up_pruner.method")
    found = source_of(method.Method())
    assert USED <= found.keys() <= USED | {"made_up_pruner", "made_up_pruner.registration", "made_up_pruner.deep"}
    assert not {"made_up_pruner.types", "made_up_pruner.other_method"} & found.keys()
    assert source_of(method.Method) == found == source_of("made_up_pruner.method")


def test_a_change_is_named_and_nothing_is_imported_to_find_it(package: Path) -> None:
    then = source_of("made_up_pruner.method")
    assert "made_up_pruner" not in sys.modules
    assert changed_modules(then, {}) == []
    (package / "late.py").write_text("NUMBER = 2  # two\n")
    (package / "other_method.py").write_text("class Other: number = 1")
    assert changed_modules(then, {}) == []
    (package / "late.py").write_text("NUMBER = 3")
    assert changed_modules(then, {}) == ["made_up_pruner.late"]
    (package / "late.py").write_text("NUMBER = 2")
    (package / "helper.py").unlink()
    assert changed_modules(then, {}) == ["made_up_pruner.helper"]


def test_sources_are_remembered_for_one_moment_and_an_edit_is_seen_in_the_next(package: Path) -> None:
    import importlib

    method, read = importlib.import_module("made_up_pruner.method"), remember_sources()
    before = read(method.Method())
    assert before == source_of(method.Method)
    assert read("made_up_pruner.helper") == source_of("made_up_pruner.helper")
    (package / "late.py").write_text("NUMBER = 3")
    assert read(method.Method()) is read(method.Method) is before
    after = remember_sources()(method.Method())
    assert after == source_of(method.Method)
    assert {name for name in after if after[name] != before[name]} == {"made_up_pruner.late"}


@pytest.mark.slow
def test_the_engines_identity_does_not_depend_on_what_a_process_has_imported() -> None:
    """A worker's process has imported less than the one that started the run."""
    code = f"from tokenbench.runner.sources import source_of; print(*map(source_of, {ENGINE!r}))"
    lone = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    more = "import tokenbench.cli, tokenbench.api.run, tokenbench.runner.execute, tokenbench_tools.doctor.findings; "
    full = subprocess.run([sys.executable, "-c", more + code], check=True, capture_output=True, text=True).stdout
    assert lone == full


def test_the_engine_is_what_computes_answers_and_nothing_else() -> None:
    found = {name for root in ENGINE for name in source_of(root)}
    assert {
        "tokenbench.engine.prefill", "tokenbench.engine.cache", "tokenbench.models.model", "tokenbench.models.processing",
        "tokenbench.runner.passes", "tokenbench.runner.records", "tokenbench.cost.matching", "tokenbench.contract.budget", "tokenbench.contract.strategy",
    } <= found  # fmt: skip
    parts = {name.split(".")[1] for name in found}
    assert not parts & {
        "errors",
        "hookspecs",
        "plugins",
        "naming",
        "commands",
        "store",
        "statistics",
        "comparison",
        "report",
    }


def test_a_module_that_is_no_name_but_a_path_is_not_read(tmp_path: Path) -> None:
    """Names of modules stand in run.json, which may come from anybody."""
    (tmp_path / "secret.py").write_text("x = 1\n")
    digest = code_hash(b"x = 1\n")
    name = f"tokenbench.{tmp_path / 'secret'}"
    assert changed_modules({name: digest}, {}) == [name]
    assert changed_modules({"mine": digest}, {"mine": tmp_path / "secret.py"}) == []

"""A plug-in to start from: a small package that can be installed, with its conformance test."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from tokenbench import __version__
from tokenbench.errors import MachineError, UsageError
from tokenbench.registry.plugins import Registry
from tokenbench_tools.scaffold.table import Table, examine_table

__all__ = ["KINDS", "scaffold"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# kind -> kind in the registry, how it is used, what to change first
KINDS = {
    "strategy": (
        "strategies",
        "tokenbench run --strategies $name,clse --limit 20",
        "The method is in `$module.py`: `schedule` says how many tokens stay before which decoder layers, `stage` what the method "
        "reads there, and `score` how good each token is. `tokenbench.Strategy` and `tokenbench.View` document the rest.",
    ),
    "backbone": (
        "backbones",
        "tokenbench run --strategies fastv --models FOLDER    # with weights of the architecture",
        "The adapter is in `$module.py`. It supports DeepSeek-VL, as a working example; replace it with your architecture. "
        "`tokenbench.Backbone` documents every method.",
    ),
    "suite": (
        "suites",
        "tokenbench run --suite $name --strategies fastv --limit 20",
        "The tasks are in `$module.py`; `tokenbench.Task` and `tokenbench.Sample` document what they must define. The suite's default "
        "model, `toy-llava`, was not trained on these tasks.",
    ),
    "report": (
        "reports",
        "tokenbench report RUN --format $name",
        "The format is in `$module.py`; `tokenbench.Report` and `tokenbench.comparison.Comparison` document what it receives.",
    ),
}  # fmt: skip

FROM_TABLE = (
    "suites",
    "tokenbench run --suite $name --strategies fastv --budgets 1/3",
    "The questions are in `$module/data`, and the suite is in `$module/__init__.py`: its class can override `score` for a scorer of "
    "your own, and `samples` to say where in a picture the evidence is. Until then, answers and scores are those of `--suite $table`.",
)


def scaffold(kind: str, name: str, folder: Path, registry: Registry, table: str = "") -> list[str]:
    """Write a small package with a working plug-in.

    Args:
        kind: What it registers: a strategy, a backbone, a suite or a report.
        name: The name that it registers.
        folder: Where it is written; the folder must not exist.
        registry: The registered plug-ins.
        table: For a suite, the table of questions that it is made of, as for `--suite`; empty for the usual example.

    Returns:
        The commands that come next.

    Raises:
        UsageError: If the name is malformed or taken, the folder exists, or the table is not as it should be.
        MachineError: If the folder cannot be written, or a file is missing.
    """
    module = "tokenbench_" + name.replace("-", "_")
    _check(kind, name, module, folder, registry)
    words = {
        "kind": kind, "name": name, "module": module, "distribution": f"tokenbench-{name}", "version": __version__,
        "class": "".join(map(str.capitalize, name.split("-"))), "included": f"{module}.py",
    }  # fmt: skip
    written = {
        f"{kind}/module.py.in": f"{module}.py",
        f"{kind}/test.py.in": f"tests/test_{name.replace('-', '_')}.py",
        "common/pyproject.toml.in": "pyproject.toml",
        "common/README.md.in": "README.md",
    }
    copied: Mapping[Path, str] = {}
    if table:
        if kind != "suite":
            raise UsageError(f"a {kind} is not made from a table", "leave --from out, or make a suite")
        read = examine_table(table, registry)
        words, written, copied = words | _words(read, module), _package(written, module), read.copies(f"{module}/data")
    _, use, where = FROM_TABLE if table else KINDS[kind]
    words |= {"use": Template(use).substitute(words), "where": Template(where).substitute(words)}
    try:
        for template, target in written.items():
            text = files("tokenbench_tools.scaffold").joinpath("templates", template).read_text("utf-8")
            _make_way(folder / target).write_text(Template(text).substitute(words), "utf-8")
        for file, target in copied.items():
            shutil.copyfile(file, _make_way(folder / target))
    except OSError as error:
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from None
    return [f"pip install -e {folder}", f"tokenbench check {name}", words["use"]]


def _check(kind: str, name: str, module: str, folder: Path, registry: Registry) -> None:
    """Raise UsageError for a name that is malformed or taken, and for a folder that exists."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is not a valid name for a {kind}", "use lower-case letters, digits and single hyphens: my-method"
        )
    if name in registry.names(KINDS[kind][0]):
        raise UsageError(f"the {kind} '{name}' is already registered", "choose another name")
    if find_spec(module) is not None:
        raise UsageError(f"a module {module} is already installed", "choose another name")
    if folder.exists():
        raise UsageError(f"{folder} already exists", "choose another folder with -o")


def _words(table: Table, module: str) -> dict[str, str]:
    """What the templates of a suite from a table say."""
    return {
        "table": table.file.name, "task": table.task, "settings": repr(table.settings).replace("'", '"'), "included": module,
    }  # fmt: skip


def _package(written: Mapping[str, str], module: str) -> dict[str, str]:
    """The files of a suite that is a package with data, in place of those of a suite in one file."""
    return {
        template.replace("suite/", "table/"): target.replace(f"{module}.py", f"{module}/__init__.py")
        for template, target in written.items()
    }


def _make_way(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file

"""A plug-in to start from: a small package that can be installed, with its conformance test."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from tokenbench import __version__
from tokenbench.errors import MachineError, UsageError
from tokenbench.registry.plugins import Registry

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


def scaffold(kind: str, name: str, folder: Path, registry: Registry) -> list[str]:
    """Write a small package with a working plug-in.

    Args:
        kind: What it registers: a strategy, a backbone, a suite or a report.
        name: The name that it registers.
        folder: Where it is written; the folder must not exist.
        registry: The registered plug-ins.

    Returns:
        The commands that come next.

    Raises:
        UsageError: If the name is malformed or taken, or the folder exists.
        MachineError: If the folder cannot be written.
    """
    plural, use, where = KINDS[kind]
    module = "tokenbench_" + name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is not a valid name for a {kind}", "use lower-case letters, digits and single hyphens: my-method"
        )
    if name in registry.names(plural):
        raise UsageError(f"the {kind} '{name}' is already registered", "choose another name")
    if find_spec(module) is not None:
        raise UsageError(f"a module {module} is already installed", "choose another name")
    if folder.exists():
        raise UsageError(f"{folder} already exists", "choose another folder with -o")
    words = {
        "kind": kind, "name": name, "module": module, "distribution": f"tokenbench-{name}", "version": __version__,
        "class": "".join(map(str.capitalize, name.split("-"))),
    }  # fmt: skip
    words |= {"use": Template(use).substitute(words), "where": Template(where).substitute(words)}
    try:
        (folder / "tests").mkdir(parents=True)
        for template, target in (
            ("common/pyproject.toml.in", "pyproject.toml"),
            ("common/README.md.in", "README.md"),
            (f"{kind}/module.py.in", f"{module}.py"),
            (f"{kind}/test.py.in", f"tests/test_{name.replace('-', '_')}.py"),
        ):
            text = files("tokenbench_tools.scaffold").joinpath("templates", template).read_text("utf-8")
            (folder / target).write_text(Template(text).substitute(words), "utf-8")
    except OSError as error:
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from None
    return [f"pip install -e {folder}", f"tokenbench check {name}", words["use"]]

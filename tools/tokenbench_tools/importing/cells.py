"""Which strategy, budget and seed each log is of: as its arguments say beyond doubt, or as the user says."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError, brief
from tokenbench_tools.importing import lmms_logs, tables, vlmevalkit
from tokenbench_tools.importing.files import settings_of
from tokenbench_tools.importing.logged import Cell, Source, Wanted, make_cell

__all__ = ["divide", "find_sources", "name_models", "read_cell"]


def find_sources(what: Sequence[str], wanted: Wanted) -> list[Source]:
    """Return the commands that logged what the user names.

    Args:
        what: Texts such as `logs/fastv` or `fastv@1/3=logs/fastv`.
        wanted: What to take of them.

    Raises:
        UsageError: A path does not exist, or holds nothing that can be read, or it is not known which cell a log is of.
        MachineError: A file cannot be read.
    """
    named = [_split(text) for text in what]
    sources = []
    for cell, path in named:
        found = _read_safely(path, wanted)
        _check_found(path, found, wanted)
        sources += [(path, cell, source) for source in found]
    unknown = [(path, source) for path, cell, source in sources if cell is None and source.cell is None]
    if unknown:
        raise _ask(unknown, named)
    return [replace(source, cell=cell or source.cell) for _, cell, source in sources]


def read_cell(text: str) -> Cell:
    """Return the cell that a text such as `vanilla`, `fastv@1/3` or `random@64#1` names.

    Raises:
        UsageError: It names none.
    """
    name, sign, seed = text.rpartition("#")
    name = name if sign and seed.isdigit() else text
    strategy, at, budget = name.rpartition("@")
    if not at:
        strategy, budget = name, "all" if name == VANILLA else "none"
    if not strategy or any(ord(letter) < 32 for letter in text):
        raise UsageError(f"'{text[:60]}' names no cell", "write STRATEGY@BUDGET, such as fastv@1/3, or vanilla")
    return make_cell(strategy, budget, int(seed) if name != text else 0)


def name_models(sources: Sequence[Source], given: str) -> list[Source]:
    """Return the sources with the name of the model that the user gives, or that all of them have.

    Raises:
        UsageError: They have different names, or none.
    """
    names = sorted({source.model for source in sources})
    if given:
        return [replace(source, model=given) for source in sources]
    if names == [""]:
        raise UsageError("the logs do not name the model", "name it with --model-name")
    if any(source.tool == "table" for source in sources) and "" not in names:
        return list(sources)
    if len(names) > 1:
        raise UsageError(
            f"the logs are of models with different names: {', '.join(name or 'one without a name' for name in names)}",
            "if they are one model, name it with --model-name; otherwise import each into a run of its own",
        )
    return list(sources)


def divide(text: str) -> tuple[str, str]:
    """Return what stands before and behind the sign = of a text such as `fastv@1/3=logs/fastv`; the first is empty if all of it is a path.

    Names of strategies and of folders may hold the sign, too: it is the first one with a path behind it that exists, or else the last.
    """
    if Path(text).exists():
        return "", text
    signs = [at for at, sign in enumerate(text) if sign == "="]
    at = next((at for at in signs if text[at + 1 :] and Path(text[at + 1 :]).exists()), signs[-1] if signs else -1)
    return text[: max(at, 0)], text[at + 1 :]


def _split(text: str) -> tuple[Cell | None, Path]:
    """Return the cell and the path that a text names."""
    name, path = divide(text)
    if not Path(path).exists():
        raise UsageError(f"{path} does not exist", "name a folder with logs, or a table")
    return (read_cell(name) if name else None), Path(path)


def _read_safely(path: Path, wanted: Wanted) -> list[Source]:
    """Read logs, which may come from anybody, and hold anything."""
    try:
        return _read(path, wanted)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{path} does not hold valid logs: {brief(error)}") from error


def _read(path: Path, wanted: Wanted) -> list[Source]:
    if path.is_file() and path.name.endswith(lmms_logs.RESULTS):
        return lmms_logs.find_commands(path, wanted)
    if path.is_file():
        if path.suffix not in (".csv", ".tsv"):
            raise UsageError(f"{path} is not a .csv or .tsv table", "name the folder that holds the logs")
        return tables.find_cells(path, wanted)
    if lmms_logs.has_logs(path):
        return lmms_logs.find_commands(path, wanted)
    if vlmevalkit.has_evaluations(path):
        return vlmevalkit.find_evaluations(path, wanted)
    raise UsageError(
        f"{path} holds no sample logs of lmms-eval and no scores of VLMEvalKit",
        "lmms-eval writes them with --log_samples --output_path FOLDER",
    )


def _check_found(path: Path, found: Sequence[Source], wanted: Wanted) -> None:
    """Check that a path holds answers, so that no strategy which the user names is missing in the run."""
    if any(source.logs for source in found):
        return
    if wanted.tasks:
        raise UsageError(
            f"{path} holds none of the tasks {', '.join(wanted.tasks)}", "change --tasks, or name other logs"
        )
    raise UsageError(f"{path} holds no answers", "a log of lmms-eval is read if its results are beside it")


def _place(path: Path, source: Source) -> Path:
    """Return where the logs of one of several commands are, as the user may name it."""
    results = path / f"{source.name}{lmms_logs.RESULTS}"
    return results if results.is_file() else path / source.name


def _ask(unknown: Sequence[tuple[Path, Source]], named: Sequence[tuple[Cell | None, Path]]) -> UsageError:
    """Return the error that asks for the cells, with the command to fill in. Nothing is guessed: methods may be set by environment variables."""
    paths = {path for path, _ in unknown}
    if len(unknown) > len(paths):
        unknown = [(_place(path, source), source) for path, source in unknown]
        named = [*((cell, path) for cell, path in named if path not in paths), *((None, path) for path, _ in unknown)]
        paths = {path for path, _ in unknown}
    settings = [settings_of(source.arguments) for _, source in unknown]
    shared = set.intersection(*(set(one.items()) for one in settings)) if len(settings) > 1 else set()
    own = [",".join(f"{k}={v}" for k, v in one.items() if (k, v) not in shared) for one in settings]
    said = [
        shlex.quote(str(path)) + (f" ({text})" if text else "") for (path, _), text in zip(unknown, own, strict=True)
    ]
    words = [
        f"STRATEGY@BUDGET={path}" if path in paths else f"{cell.label}={path}" if cell else str(path)
        for cell, path in named
    ]
    words[0] = words[0].replace("STRATEGY@BUDGET=", "vanilla=", 1)
    return UsageError(
        f"the logs do not say which strategy and budget they are of: {'; '.join(said)}",
        f"say so, for example: tokenbench import {shlex.join(words)} -o RUN",
    )

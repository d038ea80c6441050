"""The suites of tables: files that a user names, and data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence

from tokenbench.contract.suite import Suite, SuiteRequest
from tokenbench.errors import UsageError
from tokenbench_suites.tables.hub import HubTable
from tokenbench_suites.tables.task import TableTask

__all__ = ["files", "hub"]


def files(request: SuiteRequest) -> Suite:
    """The tables that a user names: `csv:NAME` with `--data NAME=FILE`, which is what `mine.csv` stands for.

    What follows the name are settings, such as `csv:mine:scorer=anls`.
    """
    tasks = []
    for text in request.names:
        name, *rest = text.split(":")
        path = request.folder(name)
        if path is None:
            raise UsageError(f"the table '{name}' has no file", f"name it: --data {name}=FILE")
        tasks.append(TableTask(name, path, _read_settings(rest)))
    return Suite("table", "Questions from a table of your own", tuple(tasks), model="toy-llava")


def hub(request: SuiteRequest) -> Suite:
    """Data sets of the hub: `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION:SPLIT`, and settings as for files.

    With `--data NAME=FOLDER`, the data set is read from a folder.
    """
    tasks = []
    for text in request.names:
        source, *rest = text.split(":")
        settings = _read_settings(rest, "split")
        config, split = settings.pop("config", ""), settings.pop("split", "")
        table = HubTable(source, config, split)
        table.local = request.folder(table.short)
        tasks.append(TableTask(table.short, table, settings))
    return Suite("hf", "Questions from data sets of the Hugging Face hub", tuple(tasks), model="toy-llava")


def _read_settings(texts: Sequence[str], first: str = "") -> dict[str, str]:
    """Return settings by name; the first may be without a name, if it has one of its own."""
    settings = {}
    for at, text in enumerate(texts):
        what, equals, value = text.partition("=")
        if not equals and not (first and at == 0):
            raise UsageError(f"'{text}' is not a setting of a table", "write, for example, :scorer=contains")
        settings[what if equals else first] = value if equals else text
    return settings

"""The suites of tables: files that a user names, and data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence

from tokenbench.contract.suite import Suite, SuiteRequest
from tokenbench.errors import UsageError
from tokenbench_suites.tables.hub import HubTable
from tokenbench_suites.tables.task import TableTask

__all__ = ["files", "hub"]


def files(request: SuiteRequest) -> Suite:
    """Questions from a table of your own: mine.csv, or a folder with one table.

    Columns: image, question, answer; options and cluster may be absent. Settings follow after colons, such as mine.csv:scorer=contains:
    a column of another name (question=NAME), tokens=N for the length of an answer, and the scorer: exact, contains, choice, numeric
    (tolerance=N), anls (threshold=N), vqa or iou (threshold=N).
    """
    tasks, ending = [], "table"
    for text in request.names:
        name, *rest = text.split(":")
        path = request.folder(name)
        if path is None:
            raise UsageError(f"the table '{name}' has no file", f"name it: --data {name}=FILE")
        ending = path.suffix[1:].lower() or ending
        tasks.append(TableTask(name, path, _read_settings(rest), request.sampling))
    model = "toy-video-llava" if any(task.sampling for task in tasks) else "toy-llava"
    return Suite(ending, "Questions from a table of your own", tuple(tasks), model)


def hub(request: SuiteRequest) -> Suite:
    """Questions from a data set of the Hugging Face hub: hf:OWNER/NAME or hf:OWNER/NAME@REVISION:SPLIT.

    Columns and settings are those of the suite csv, and config=NAME. With --data NAME=FOLDER, the data set is read from a folder.
    """
    tasks = []
    for text in request.names:
        source, *rest = text.split(":")
        settings = _read_settings(rest, "split")
        config, split = settings.pop("config", ""), settings.pop("split", "")
        table = HubTable(source, config, split)
        table.local = request.folder(table.short)
        tasks.append(TableTask(table.short, table, settings, request.sampling))
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

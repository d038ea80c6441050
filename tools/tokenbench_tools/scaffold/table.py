"""A table of questions that becomes a package: its files, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry
from tokenbench.registry.suites import name_files, resolve_suite

__all__ = ["Table", "examine_table"]


@dataclass(frozen=True)
class Table:
    """A table that was read without an error."""

    task: str
    """The name of its task."""
    file: Path
    """The file."""
    settings: dict[str, str]
    """What the user wrote behind its name, such as `{"scorer": "contains"}`."""
    pictures: Sequence[Path]
    """The files that it names."""

    def copies(self, folder: str) -> dict[Path, str]:
        """Return where each file is copied to. The names in the table stay as they are, and are right in the copy.

        Args:
            folder: The folder of the copy of the table.

        Raises:
            UsageError: A picture is not below the folder of the table.
        """
        found = {self.file: f"{folder}/{self.file.name}"}
        for picture in self.pictures:
            try:
                inside = picture.relative_to(self.file.parent)
            except ValueError:
                inside = Path("..")
            if ".." in inside.parts:
                raise UsageError(
                    f"{self.file} names {picture}, which is not below its folder",
                    "move the pictures there, and name them from there on: pictures/1.png",
                )
            found[picture] = f"{folder}/{inside.as_posix()}"
        return found


def examine_table(text: str, registry: Registry) -> Table:
    """Read a table, with all its rows, so that only a right one becomes a package.

    Args:
        text: A file, as for `--suite`: `mine.csv:scorer=contains`.
        registry: The plug-ins that read files.

    Raises:
        UsageError: It is not a table, or not as it should be.
        MachineError: A file is missing.
    """
    name, data = name_files(text, (), registry)
    tasks = resolve_suite(name, (), registry, data)[0].tasks if data else ()
    read = tasks[0].files if len(tasks) == 1 else ()
    if not read:
        raise UsageError(f"'{text}' is not one table of questions", "give a file, for example mine.csv")
    len(tasks[0].samples())
    settings = dict(part.split("=", 1) for part in name.split(":")[2:])
    return Table(tasks[0].name, read[0], settings, read[1:])

"""Which questions are asked about one picture, on which all intervals rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_tools.importing.checks import Imported
from tokenbench_tools.importing.files import read_table

__all__ = ["SHARED", "describe_unknown", "images_of", "read_images"]

SHARED = ("pope", "gqa", "mme", "textvqa")
"""How the names of tasks begin that are known to ask several questions about a picture."""
Names = Mapping[tuple[str, str], str]
"""Names of images by task and row."""


def read_images(path: Path) -> dict[tuple[str, str], str]:
    """Return the images that a table with the columns task, sample and image names.

    Raises:
        UsageError: It lacks a column.
    """
    table = read_table(path)
    for name in ("task", "sample", "image"):
        if not table or name not in table[0]:
            raise UsageError(
                f"{path} lacks the column {name}", "a table of images has the columns task, sample and image"
            )
    return {(row["task"], row["sample"]): row["image"] for row in table}


def images_of(
    imported: Imported, task: str, numbers: Sequence[str], given: Names, each_its_own: bool
) -> dict[str, str]:
    """Return the image of each row of a task; nothing if the images are unknown.

    A name in a table is one image in all of its tasks. Benchmarks number their images on their own, so that those of other logs are
    named after their task.

    Args:
        imported: The logs.
        task: The task.
        numbers: The rows.
        given: What the user says, by task and row.
        each_its_own: Whether every row of a task that is known to share pictures may count as a picture of its own.

    Raises:
        UsageError: The user names some images of the task only, or they are needed and not known.
    """
    said = {number: given[task, number] for number in numbers if (task, number) in given}
    if said and len(said) < len(numbers):
        lacking = next(number for number in numbers if number not in said)
        raise UsageError(
            f"--images names the images of {len(said)} of the {len(numbers)} rows of {task}, but not that of row {lacking}"
        )
    if said:
        return said
    logged = {
        row.id: row.image if imported.sources[(model, cell), task].tool == "table" else f"{task}-{row.image}"
        for (model, cell), own in imported.logs.items()
        if cell.strategy == VANILLA and task in own
        for row in own[task].rows
        if row.image
    }
    if all(number in logged for number in numbers):
        return {number: logged[number] for number in numbers}
    if task.split("_")[0] in SHARED and not each_its_own:
        raise UsageError(
            f"the log does not say which questions of {task} are about the same picture, and {task} asks several about each: if every question counted as a "
            "picture of its own, differences would seem more certain than they are",
            f"--data {task}=FOLDER finds the pictures, --images FILE names them; --each-its-own imports it nevertheless",
        )
    return {}


def describe_unknown(tasks: Sequence[str]) -> list[str]:
    """Return the sentence on tasks whose images are unknown; none if there is no such task."""
    if not tasks:
        return []
    return [
        f"Images unknown ({', '.join(tasks)}): tests take every question as an image of its own. If several questions share an image, an error of 5 % is in "
        "truth 8.6, 16.6 or 25.8 % at a design effect of 1.3, 2 or 3."
    ]

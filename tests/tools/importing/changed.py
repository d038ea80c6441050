"""Small changes to recorded logs, and imports of them."""

import csv
import json

from click.testing import CliRunner

from tokenbench.cli import cli
from tokenbench_tools.importing.importing import Choices, import_logs
from tokenbench_tools.importing.logged import Wanted

VANILLA, FASTV, FASTV_NINTH = "20261126_101617", "20261126_101634", "20261126_101814"
DETERMINISTIC = (VANILLA, FASTV, "20261126_101657", FASTV_NINTH, "20261126_101854")


def take(source, stamp, target, *tasks):
    """Copy the files of one command, and return their folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob(f"{stamp}_*"):
        task = path.name.partition("_samples_")[2].removesuffix(".jsonl")
        if not task or not tasks or task in tasks:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def change(folder, edit, task="tb_words"):
    """Rewrite the rows of a log: `edit` takes the list of them and returns another."""
    (path,) = folder.glob(f"*_samples_{task}.jsonl")
    rows = edit([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def change_results(folder, edit):
    """Rewrite the results of a command: `edit` changes them in place."""
    (path,) = folder.glob("*_results.json")
    results = json.loads(path.read_text())
    edit(results)
    path.write_text(json.dumps(results))


def imported(what, target, **choices):
    """Import with choices, and return what was imported."""
    from tokenbench.registry.plugins import registry

    wanted = Wanted(*(choices.pop(name, empty) for name, empty in (("tasks", ()), ("metrics", {}), ("filters", {}))))
    return import_logs(
        [str(one) for one in what], target, Choices(wanted=wanted, **choices), registry(), "tokenbench import"
    )


def call(*words):
    """The result of a command line."""
    return CliRunner().invoke(cli, [str(word) for word in words])


def run_of(model, folder):
    """Make a run of a model that was asked one question."""
    row = {"strategy": "vanilla", "budget": "", "task": "t", "sample": "0", "score": "1", "image": "i"}
    imported([table(folder.parent / f"{folder.name}.csv", [row])], folder, model=str(model))
    return folder


def table(path, rows):
    """Write a table of dicts, and return its path."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path

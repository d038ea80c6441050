"""How to get the same numbers again."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from tokenbench.comparison.wording import join_names
from tokenbench.contract.cells import VANILLA

LISTS = ("tasks", "budgets", "models", "seeds")
VALUES = (
    "turns",
    "limit",
    "batch_size",
    "device",
    "dtype",
    "attention",
    "quantization",
    "device_map",
    "match",
    "margin",
    "until",
    "spending",
)
CLIPS = ("frames", "fps")
"""Values that `run` refuses unless a task shows clips whose frames can be chosen."""
FOLDER = "FOLDER"
"""What stands for a folder: whoever repeats a run from its report keeps the data elsewhere."""


def command(about: Mapping[str, object]) -> str:
    """The command line that repeats a run from its manifest; empty if the manifest does not say enough.

    Tables are named without their folders, and other data by the word FOLDER: `conditions` says so. Of several runs together it is a
    line for each of them, and one that puts them together.
    """
    if parents := _parents(about):
        names = [str(parent["name"]) for parent in parents]
        lines = [
            f"{line} -o {shlex.quote(name)}"
            for parent, name in zip(parents, names, strict=True)
            if (line := command(parent))
        ]
        whole = all("answers" in parent for parent in parents)
        ending = ["-o", "merged"] if whole else []
        return "\n".join([*lines, shlex.join(["tokenbench", "merge" if whole else "compare", *names, *ending])])
    spec = about.get("spec")
    if not isinstance(spec, Mapping) or "suite" not in spec:
        return ""
    if isinstance(imported := about.get("imported"), Mapping):
        return str(imported["command"])
    suite, data = _name_tables(str(spec["suite"]), _data(spec))
    words = ["tokenbench", "run", "--suite", suite, "--strategies", ",".join(spec.get("strategies") or (VANILLA,))]
    for name in LISTS:
        if values := spec.get(name):
            words += [f"--{name}", ",".join(map(str, values))]
    for name in (*VALUES, *(CLIPS if _shows_clips(about) else ())):
        if (value := spec.get(name)) not in (None, ""):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if spec.get("held_out"):
        words += ["--held-out", str(spec["held_out"])]
    if spec.get("until"):
        words += ["--looks", str(spec["looks"])]
    words += [word for task in data for word in ("--data", f"{task}={FOLDER}")]
    words += ["--tasks-dir", FOLDER] if spec.get("definitions") else []
    words += [word for file in _plugin_files(about) for word in ("--plugin", file)]
    words += ["--strict"] if spec.get("strict") else []
    return shlex.join(words if spec.get("floors") else [*words, "--no-floors"])


def conditions(about: Mapping[str, object]) -> list[str]:
    """Sentences on what the reader has to do before the command works; none if it works as it stands."""
    if parents := _parents(about):
        return list(dict.fromkeys(sentence for parent in parents for sentence in conditions(parent)))
    spec = about.get("spec")
    if not isinstance(spec, Mapping) or "suite" not in spec:
        return []
    if about.get("imported"):
        return ["Run it where the logs are: the answers were imported from them, and no model ran."]
    said, data = [], _data(spec)
    left = _name_tables(str(spec["suite"]), data)[1]
    files = [Path(place).name for task, place in data.items() if task not in left] + _plugin_files(about)
    if files:
        paths = "its path" if len(files) == 1 else "their paths"
        said.append(f"Run it in the folder that holds {join_names(files)}, or write {paths}.")
    places = [f"the data of {join_names(list(left))}"] if left else []
    places += ["your task definitions"] if spec.get("definitions") else []
    if places:
        said.append(f"Replace {FOLDER} with the path to {join_names(places)}.")
    unregistered = about.get("unregistered")
    if isinstance(unregistered, Mapping) and (names := [name for kind in unregistered.values() for name in kind]):
        said.append(
            f"No plug-in registers {join_names(names)}: pass the same objects to tokenbench.run, or register them first."
        )
    return said


def facts(about: Mapping[str, object]) -> list[tuple[str, str]]:
    """Versions, hardware and the identity of the models, as (name, value)."""
    pairs = []
    for group in ("versions", "hardware"):
        values = about.get(group)
        if isinstance(values, Mapping):
            pairs += [(str(name), str(value)) for name, value in values.items() if value is not None]
    models = about.get("models")
    if isinstance(models, Mapping):
        pairs += [(f"weights of {name}", str(model.get("identity", ""))[:16]) for name, model in models.items()]
    return pairs


def _parents(about: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The runs that were put together; none for a single run."""
    parents = about.get("merged")
    return parents if isinstance(parents, list) else []


def _data(spec: Mapping[str, object]) -> dict[str, str]:
    """The places of local data by task."""
    texts = spec.get("data")
    parts = [str(text).partition("=") for text in texts] if isinstance(texts, (list, tuple)) else []
    return {task: place for task, _, place in parts}


def _name_tables(suite: str, data: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The suite with files in the place of tables, as users write it: `mine.csv` for the task `mine` of `csv`; and the other data.

    This undoes `tokenbench.registry.suites.name_files`. A table whose file has another name stays as it is.
    """
    names, left = [], dict(data)
    for part in suite.split(","):
        ending, _, rest = part.partition(":")
        task, colon, settings = rest.partition(":")
        file = Path(data.get(task, ""))
        made_of_file = file.suffix[1:].lower() == ending and re.sub(r"[^\w.-]", "-", file.stem) == task
        made_of_file &= not {",", ":"} & set(file.name)  # which `--suite` splits
        names.append(f"{file.name}{colon}{settings}" if made_of_file else part)
        if made_of_file:
            left.pop(task, None)
    return ",".join(names), left


def _shows_clips(about: Mapping[str, object]) -> bool:
    tasks = about.get("tasks")
    return isinstance(tasks, Mapping) and any(task.get("frames") for task in tasks.values())


def _plugin_files(about: Mapping[str, object]) -> list[str]:
    files = about.get("plugin_files")
    return [Path(str(file)).name for file in files] if isinstance(files, (list, tuple)) else []

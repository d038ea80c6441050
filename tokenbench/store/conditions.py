"""The conditions in which several runs differ: the parts of their cells' identities that are not the same, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenbench.contract.cells import IDENTITY
from tokenbench.store.describe import describe_frames

__all__ = ["conditions_of", "describe_conditions", "describe_shown"]

OWNERS = {"model": "model", "strategy": "strategy", "task": "task"}
"""The parts of a cell's identity that belong to one model, strategy or task, with the name that says to which."""
ASKED = {"seed", "calibration"}
"""The parts that say which cell it is, and not what it was run with."""
NAMES = {
    ("model", "weights"): "weights of {}",
    ("model", "adapter"): "adapter code of {}",
    ("model", "prompt"): "prompt of {}",
    ("strategy", "source"): "code of {}",
    ("budget", "match"): "matching of budgets",
    ("budget", "held out"): "held-out samples",
    ("task", "source"): "code of task {}",
    ("task", "version"): "data of task {}",
    ("task", "turns"): "number of turns",
    ("engine", "tokenbench"): "version of TokenBench",
    ("engine", "source"): "engine code",
}
UNSAID = {("task", "frames")}
"""What `describe_shown` says."""
FOLLOWS = {
    ("numerics", "dtype"): " KV cache sizes are counted in each run's own dtype, so compare them within a run only."
}
"""What else a reader has to know."""
LONGEST = 40
"""Longer values, such as hashes and prompts, are not shown."""
Condition = tuple[str, str, str]
"""A part of an identity, a key in it, and to which model, strategy or task it belongs."""


def conditions_of(manifest: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[Condition, str]:
    """Return what a cell was run with, by part, key and owner. Its seed and the budget's number, which name it, are left out.

    Args:
        manifest: The content of run.json.
        cell: The cell, as run.json describes it.
    """
    found: dict[Condition, str] = {}
    for part, digest in cell["parts"].items():
        owner = str(cell[OWNERS[part]]) if part in OWNERS else ""
        for key, value in manifest["parts"].get(digest, {}).items():
            if part not in ASKED and (part, key) not in {("budget", "asked"), ("budget", "dial")} and key != "name":
                found[part, key, owner] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return found


def describe_conditions(manifests: Sequence[Mapping[str, Any]], marks: Sequence[str]) -> list[str]:
    """Return a sentence for every condition that is not the same in all runs that state it.

    Args:
        manifests: The contents of the runs' run.json.
        marks: What each run is called in the sentences.
    """
    values: dict[Condition, dict[str, list[str]]] = {}
    for manifest, mark in zip(manifests, marks, strict=True):
        own: dict[Condition, str] = {}
        for cell in manifest["cells"]:
            own |= conditions_of(manifest, cell)
        for condition, value in own.items():
            values.setdefault(condition, {}).setdefault(value, []).append(mark)
    return [
        _sentence(condition, by_value)
        for condition, by_value in sorted(values.items())
        if len(by_value) > 1 and condition[:2] not in UNSAID
    ]


def describe_shown(manifests: Sequence[Mapping[str, Any]], marks: Sequence[str]) -> str:
    """Return a sentence on runs that show other frames of the same clips; an empty text if all show the same."""
    shown = [describe_frames(manifest) or "no choice of frames" for manifest in manifests]
    if len(set(shown)) == 1:
        return ""
    said = ", ".join(f"{frames} in {mark}" for frames, mark in zip(shown, marks, strict=True))
    return f"{join_words(marks)} show different frames of the same clips: {said}."


def join_words(words: Iterable[str]) -> str:
    """Return ``A, B and C``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _sentence(condition: Condition, by_value: Mapping[str, Sequence[str]]) -> str:
    part, key, owner = condition
    what = NAMES.get((part, key), f"version of {key}" if part == "libraries" else key).format(owner)
    marks = sorted(mark for own in by_value.values() for mark in own)
    values = [f"{value} in {join_words(own)}" for value, own in by_value.items()]
    readable = all(len(value) <= LONGEST and not value.startswith("{") for value in by_value) and key not in (
        "weights",
        "version",
        "held out",
    )
    return (
        f"{join_words(marks)} differ in the {what}"
        + (f": {', '.join(values)}." if readable else ".")
        + FOLLOWS.get((part, key), "")
    )


def same_conditions(one: Mapping[Condition, str], other: Mapping[Condition, str]) -> bool:
    """Whether two cells were run with the same things, as far as both say it."""
    return all(other[name] == value for name, value in one.items() if name in other)


def cells_by_name(manifest: Mapping[str, Any]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Return the cells of run.json by model, strategy, budget, seed and task."""
    return {tuple(cell[name] for name in IDENTITY): cell for cell in manifest["cells"]}

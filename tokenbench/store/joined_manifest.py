"""The manifest of several runs as one: what run.json would say if they had been a single run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenbench.contract.cells import name_in
from tokenbench.store.conditions import describe_shown, join_words
from tokenbench.store.joining import Join, Source

__all__ = ["MERGED", "calibration_of", "describe_join", "join_manifests", "joined_id"]

MERGED = "merged"
"""The key that says which runs became one."""
OF_PARENTS = ("spec", "versions", "hardware", "plugin_files", "unregistered", "tasks", MERGED)
"""What is kept of the manifest of each."""

LISTS = ("strategies", "floors", "budgets", "seeds", "definitions")
BY_NAME = ("models", "released_dtypes", "reads_question")
"""Dicts of run.json that are merged key by key; the first run that has a key says what it is."""


def join_manifests(sources: Sequence[Source], joined: Join) -> dict[str, Any]:
    """Return the content of run.json for the cells and samples that the runs share. Looks and failures are not in it."""
    manifests = [source.manifest for source in sources]
    models, tasks = (sorted({key[at] for key in joined.samples}) for at in (0, 1))
    first = manifests[0]
    merged: dict[str, Any] = {
        "schema_version": first["schema_version"],
        "spec": _join_specs([manifest["spec"] for manifest in manifests], models, tasks),
        "cells": [
            {**cell, "id": joined_id(cell["id"], cell["strategy"], name), "strategy": name}
            for at, source in enumerate(sources)
            for key, cell in source.cells.items()
            if (name := joined.cells.get((at, key))) is not None
        ],
        "parts": {digest: part for manifest in manifests for digest, part in manifest["parts"].items()},
        "tasks": {task: _join_task(task, manifests, joined) for task in tasks},
        "seed_scopes": _seed_scopes(sources),
    }
    for name in BY_NAME:
        if any(name in manifest for manifest in manifests):
            merged[name] = {key: value for manifest in manifests[::-1] for key, value in manifest.get(name, {}).items()}
    merged["models"] = {name: about for name, about in merged["models"].items() if name in models}
    unregistered = [manifest["unregistered"] for manifest in manifests if manifest.get("unregistered")]
    if unregistered:
        kinds = list(dict.fromkeys(kind for own in unregistered for kind in own))
        merged["unregistered"] = {
            kind: {k: v for own in unregistered for k, v in own.get(kind, {}).items()} for kind in kinds
        }
    if calibrations := calibration_of(sources, joined):
        merged["calibration"] = calibrations
    marks = [source.mark for source in sources]
    merged["versions"], merged["hardware"] = (
        _join_facts([manifest.get(name, {}) for manifest in manifests], marks) for name in ("versions", "hardware")
    )
    merged["plugins"] = list({one["name"]: one for m in manifests[::-1] for one in m.get("plugins", [])}.values())
    merged["plugin_files"] = _union(manifest["plugin_files"] for manifest in manifests)
    merged["notes"] = _union(manifest.get("notes", []) for manifest in manifests)
    merged[MERGED] = [
        {
            "mark": source.mark,
            "name": Path(source.label).name,
            **{name: source.manifest[name] for name in OF_PARENTS if name in source.manifest},
        }
        for source in sources
    ]
    return merged


def joined_id(cell: str, strategy: str, name: str) -> str:
    """Return the id of a cell among several runs: its own, unless it is held apart, since the other may have the same."""
    return cell if name == strategy else hashlib.sha256(f"{cell} {name}".encode()).hexdigest()[:20]


def describe_join(sources: Sequence[Source], joined: Join) -> list[str]:
    """Return the sentences that a reader of the joined numbers has to know; none if the runs are simply parts of one."""
    manifests, marks = [source.manifest for source in sources], [source.mark for source in sources]
    shown = describe_shown(manifests, marks)
    margins = sorted({manifest["spec"].get("margin", 1.0) for manifest in manifests})
    said = [*([shown] if shown else []), *joined.conditions, *joined.left_out]
    if len(margins) > 1:
        values = join_words(f"{margin:g}" for margin in margins)
        said.append(f"The runs declared the margins {values}: the smallest one is used.")
    if joined.apart:
        said.append(
            "A name that ends in #A, #B and so on says which run a cell comes from: that strategy has different answers or different code in another run."
        )
    return said


def calibration_of(sources: Sequence[Source], joined: Join) -> list[dict[str, Any]]:
    """Return what `--match` found for the cells that are taken."""
    found = {}
    for at, source in enumerate(sources):
        for one in source.manifest.get("calibration", []):
            key = (at, (one["model"], one["strategy"], one["budget"], one["seed"], one["task"]))
            if (name := joined.cells.get(key)) is not None:
                found[joined_id(one["base"], one["strategy"], name)] = {**one, "strategy": name}
    return [{**one, "base": base} for base, one in sorted(found.items())]


def _join_specs(specs: Sequence[Mapping[str, Any]], models: Sequence[str], tasks: Sequence[str]) -> dict[str, Any]:
    lists: dict[str, Any] = {name: _union(spec[name] for spec in specs) for name in LISTS}
    lists["floors"] = [name for name in lists["floors"] if name not in lists["strategies"]]
    places = {text.partition("=")[0]: text for spec in specs[::-1] for text in spec["data"]}
    return {
        **specs[0],
        **lists,
        "suite": ",".join(_union(spec["suite"].split(",") for spec in specs)),
        "tasks": [task for task in _union(spec["tasks"] for spec in specs) if task in tasks],
        "models": [model for model in _union(spec["models"] for spec in specs) if model in models],
        "data": list(places.values()),
        "limit": min(filter(None, (spec["limit"] for spec in specs)), default=None),
        "margin": min(spec.get("margin", 1.0) for spec in specs),
    }


def _join_task(task: str, manifests: Sequence[Mapping[str, Any]], joined: Join) -> dict[str, Any]:
    about = dict(
        next(
            (manifest["tasks"][task] for manifest in manifests if task in manifest["tasks"]),
            {"unit_rule": "mean", "samples": 0},
        )
    )
    samples = max(len(own) for (_, name), own in joined.samples.items() if name == task)
    if samples != about["samples"]:
        about.pop("asked", None)  # a digest of all samples that were asked
    if len({manifest["tasks"][task].get("frames", "") for manifest in manifests if task in manifest["tasks"]}) > 1:
        about.pop("frames", None)
    return {**about, "samples": samples}


def _seed_scopes(sources: Sequence[Source]) -> dict[str, str]:
    scopes: dict[str, str] = {}
    for source in sources:
        for strategy, scope in source.manifest.get("seed_scopes", {}).items():
            scopes[name_in(strategy, source.mark)] = scope
            scopes.setdefault(strategy, scope)
    return scopes


def _join_facts(facts: Sequence[Mapping[str, Any]], marks: Sequence[str]) -> dict[str, Any]:
    """Return the versions or the hardware of all runs: one value where they agree, and else all, with their runs."""
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for own in facts for name in own):
        values = {mark: own[name] for own, mark in zip(facts, marks, strict=True) if name in own}
        different = list(dict.fromkeys(map(str, values.values())))
        merged[name] = (
            next(iter(values.values()))
            if len(different) == 1
            else ", ".join(
                f"{value} ({join_words(mark for mark, own in values.items() if str(own) == value)})"
                for value in different
            )
        )
    return merged


def _union(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the values of all lists, without repetition."""
    found: list[Any] = []
    for own in lists:
        found += [value for value in own if value not in found]
    return found

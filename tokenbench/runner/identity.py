"""What a cell is: all that can change its answers, in parts that a person can read, and a hash of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenbench
from tokenbench.contract.cells import IDENTITY
from tokenbench.runner.sources import changed, source_of

if TYPE_CHECKING:
    from tokenbench.contract.suite import Sample, Task
    from tokenbench.models.model import Model
    from tokenbench.store.spec import Arm, Spec

__all__ = ["Cell", "cell", "differences", "fingerprint_of", "outdated", "packed", "unpacked", "versions"]

LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow")
ENGINE = ("tokenbench.engine.pruner", "tokenbench.runner.passes", "tokenbench.runner.records")
"""Modules that, with what they import, make an answer out of a model, a strategy and a sample."""
Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """Model x strategy x budget x seed x task. parts: its identity; `id` is a hash of them."""

    model: str
    strategy: str
    budget: str
    seed: int
    task: str
    parts: Parts

    @cached_property
    def id(self) -> str:
        return _digest(self.parts)[:20]

    @property
    def names(self) -> dict[str, Any]:
        """What a person calls it, with its id."""
        named = {name: getattr(self, name) for name in IDENTITY}
        return {"id": self.id, **named}


def cell(spec: Spec, model: Model, arm: Arm, task: Task) -> Cell:
    """Its samples are no part of it, so that it can grow: every record says what was asked (see `Sample.digest`)."""
    parts: Parts = {
        "model": {
            "name": model.name,
            "weights": model.identity,
            "adapter": source_of(model.backbone),
            "prompt": model.prompt,
        },
        "strategy": {"name": arm.named.name, "source": _together(map(source_of, arm.named.strategy.parts))},
        "budget": {"asked": str(arm.budget), "match": spec.match},
        "seed": {"number": arm.seed},
        "task": {"name": task.name, "source": source_of(task), "version": task.identity},
        "generation": {"decoding": "greedy", "new tokens": task.max_new_tokens},
        "numerics": {
            "dtype": spec.dtype,
            "device": model.device,
            "batch size": spec.batch_size,
            "attention": model.attention,
        },
        "engine": {"tokenbench": tokenbench.__version__, "source": _together(map(source_of, ENGINE))},
        "libraries": versions(),
    }
    return Cell(model.name, arm.named.name, str(arm.budget), arm.seed, task.name, parts)


@lru_cache
def versions() -> dict[str, str]:
    """Of the libraries that answers depend on."""
    return {library: version(library) for library in LIBRARIES}


def fingerprint_of(samples: Iterable[Sample]) -> str:
    """A hash of all that samples say, in order."""
    return _digest([sample.digest for sample in samples])


def packed(cells: Iterable[Cell], samples: Mapping[str, int]) -> dict[str, Any]:
    """As run.json holds cells: their names, how many samples they are asked, and every part of their identities once, by its hash.

    samples: by the cell's id.
    """
    parts: dict[str, Any] = {}
    entries = []
    for one in cells:
        own = {name: _digest(part)[:16] for name, part in one.parts.items()}
        parts |= {own[name]: part for name, part in one.parts.items()}
        entries.append({**one.names, "samples": samples[one.id], "parts": own})
    return {"cells": entries, "parts": parts}


def unpacked(manifest: Mapping[str, Any]) -> dict[str, Parts]:
    """The parts of every cell of run.json, by its id."""
    return {
        cell["id"]: {name: manifest["parts"].get(digest, {}) for name, digest in cell["parts"].items()}
        for cell in manifest["cells"]
    }


def differences(old: Parts, new: Parts) -> list[str]:
    """Sentences on what changed between two identities: values where a person can read them, else that they changed."""
    found = []
    for part in dict.fromkeys([*old, *new]):
        before, after = old.get(part, {}), new.get(part, {})
        for name in dict.fromkeys([*before, *after]):
            a, b = before.get(name, "nothing"), after.get(name, "nothing")
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                found += _edited(part, name, [module for module in {**a, **b} if a.get(module) != b.get(module)])
            elif a != b:
                readable = max(len(str(a)), len(str(b))) < 40
                found.append(f"{part}: {name} {a} -> {b}" if readable else f"{part}: {name} changed")
    return found


def outdated(manifest: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, list[str]]:
    """By the id of a cell: sentences on what makes its identity another one now, as far as that shows without loading any
    model, plug-in or sample, which is code and libraries. files: of modules that are single files, by their names.
    """
    now = {"engine": {"tokenbench": tokenbench.__version__}, "libraries": versions()}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in manifest["cells"]:
        for part, digest in cell["parts"].items():
            if (part, digest) not in found:
                then = manifest["parts"].get(digest, {})
                found[part, digest] = _outdated(part, then, now.get(part, {}), files)
    return {
        cell["id"]: [sentence for part in cell["parts"].items() for sentence in found[part]]
        for cell in manifest["cells"]
    }


def _outdated(part: str, then: Mapping[str, Any], now: Mapping[str, Any], files: Mapping[str, Path]) -> list[str]:
    known = {name: then[name] for name in now if name in then}
    found = differences({part: known}, {part: now} if known else {})
    for name, value in then.items():
        if isinstance(value, Mapping):
            found += _edited(part, name, changed(value, files))
    return found


def _edited(part: str, name: str, modules: Sequence[str]) -> list[str]:
    return [f"{part}: {name} changed ({', '.join(modules)})"] if modules else []


def _together(sources: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {module: digest for source in sources for module, digest in source.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

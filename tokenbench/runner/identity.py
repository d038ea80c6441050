"""What a cell is: all that can change its answers, in parts that a person can read, and a hash of them."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

import tokenbench
from tokenbench import engine
from tokenbench.models.model import Model
from tokenbench.runner import passes, records
from tokenbench.runner.spec import Arm, Spec
from tokenbench.suite import Sample, Task

__all__ = ["Cell", "cell", "differences", "fingerprint_of", "packed", "source_hash", "unpacked", "versions"]

LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow")
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
        named = {name: getattr(self, name) for name in ("model", "strategy", "budget", "seed", "task")}
        return {"id": self.id, **named}


def cell(spec: Spec, model: Model, arm: Arm, task: Task) -> Cell:
    """Its samples are no part of it, so that it can grow: every record says what was asked (see `Sample.digest`)."""
    parts: Parts = {
        "model": {
            "name": model.name,
            "weights": model.identity,
            "adapter": source_hash(model.backbone),
            "prompt": model.prompt,
        },
        "strategy": {"name": arm.named.name, "source": _digest([*map(source_hash, arm.named.strategy.parts)])},
        "budget": {"asked": str(arm.budget), "match": spec.match},
        "seed": {"number": arm.seed},
        "task": {"name": task.name, "source": source_hash(task), "version": task.identity},
        "generation": {"decoding": "greedy", "new tokens": task.max_new_tokens},
        "numerics": {
            "dtype": spec.dtype,
            "device": model.device,
            "batch size": spec.batch_size,
            "attention": model.attention,
        },
        "engine": {
            "tokenbench": tokenbench.__version__,
            "source": _digest([*map(source_hash, (engine.Pruner, passes, records))]),
        },
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
            if a != b:
                readable = max(len(str(a)), len(str(b))) < 40
                found.append(f"{part}: {name} {a} -> {b}" if readable else f"{part}: {name} changed")
    return found


def source_hash(obj: Any) -> str:
    """A hash of the source of a module, or of an object's class, and of what it uses from its own package."""
    if inspect.ismodule(obj):
        return _hash_of((obj,))
    cls = obj if isinstance(obj, type) else type(obj)
    return _hash_of(tuple(sys.modules[base.__module__] for base in cls.__mro__))


@lru_cache
def _hash_of(modules: tuple[ModuleType, ...]) -> str:
    files: dict[str, bytes] = {}
    for module in modules:
        _collect(module, files)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + files[name])
    return digest.hexdigest()


def _collect(module: ModuleType, files: dict[str, bytes]) -> None:
    """Add the module's source and that of the modules of its package that it imports from, by their names."""
    file = getattr(module, "__file__", None)
    package = module.__name__.partition(".")[0]
    if (
        file is None
        or module.__name__ in files
        or package in sys.stdlib_module_names
        or package in ("pydantic", "torch")
    ):
        return
    with open(file, "rb") as source:
        files[module.__name__] = source.read()
    for value in vars(module).values():
        used = value if inspect.ismodule(value) else sys.modules.get(getattr(value, "__module__", None) or "")
        if used is not None and used.__name__.partition(".")[0] == package:
            _collect(used, files)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

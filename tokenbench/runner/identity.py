"""The identity of a cell: all that can change its answers, in parts that a person can read, and a hash of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenbench
from tokenbench.contract.cells import IDENTITY
from tokenbench.runner.sources import changed_modules, source_of

if TYPE_CHECKING:
    from tokenbench.contract.suite import Sample, Task
    from tokenbench.models.model import Model
    from tokenbench.store.spec import Arm, Spec

__all__ = ["Cell", "cell", "describe_outdated", "differences", "fingerprint_of", "pack_cells", "read_parts", "versions"]

LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow")
ENGINE = ("tokenbench.engine.pruner", "tokenbench.runner.passes", "tokenbench.runner.records")
"""The modules that, with their imports, compute an answer from a model, a strategy and a sample."""
Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A model x strategy x budget x seed x task."""

    model: str
    """The name of the model."""
    strategy: str
    """The canonical name of the strategy."""
    budget: str
    """The budget, as the user wrote it."""
    seed: int
    """The seed; 0 for a strategy that does not draw at random."""
    task: str
    """The name of the task."""
    parts: Parts
    """The parts of its identity."""

    @cached_property
    def id(self) -> str:
        """A hash of its parts."""
        return _digest(self.parts)[:20]

    def with_dial(self, parameter: str, value: float) -> Cell:
        """Return the cell of a strategy whose dial is at a value."""
        return replace(self, parts={**self.parts, "budget": {**self.parts["budget"], "dial": f"{parameter}={value}"}})

    @property
    def names(self) -> dict[str, Any]:
        """Its id, model, strategy, budget, seed and task."""
        return {"id": self.id, **{name: getattr(self, name) for name in IDENTITY}}


def cell(
    spec: Spec,
    model: Model,
    arm: Arm,
    task: Task,
    held_out: Sequence[Sample] = (),
    source: Callable[[object], dict[str, str]] = source_of,
) -> Cell:
    """Make a cell.

    Its samples are no part of its identity, so that it can grow; every record has the digest of its question (see `Sample.digest`).

    Args:
        spec: The settings of the run.
        model: The model.
        arm: The arm.
        task: The task.
        held_out: The samples on which the strategy is calibrated; none if it is not.
        source: `source_of`, or what `remember_sources` returns, for many cells at a time.
    """
    calibrated = {"held out": fingerprint_of(held_out)} if held_out else {}
    parts: Parts = {
        "model": {
            "name": model.name,
            "weights": model.identity,
            "adapter": source(model.backbone),
            "prompt": model.prompt,
        },
        "strategy": {"name": arm.named.name, "source": _merge(map(source, arm.named.strategy.parts))},
        "budget": {"asked": str(arm.budget), "match": spec.match, **calibrated},
        "seed": {"number": arm.seed},
        "task": {
            "name": task.name,
            "source": source(task),
            "version": task.identity,
            **_turns(spec),
            **_shown(task),
        },
        "generation": {"decoding": "greedy", "new tokens": task.max_new_tokens},
        "numerics": {
            "dtype": spec.dtype,
            "device": model.device,
            "batch size": spec.batch_size,
            "attention": model.attention,
            **{
                name.replace("_", " "): value
                for name in ("quantization", "device_map")
                if (value := getattr(spec, name))
            },
        },
        "engine": {"tokenbench": tokenbench.__version__, "source": _merge(map(source, ENGINE))},
        "libraries": versions(),
    }
    return Cell(model.name, arm.named.name, str(arm.budget), arm.seed, task.name, parts)


def _turns(spec: Spec) -> dict[str, int]:
    """Return how many questions share their tokens; nothing if each has its own, so that such cells stay the same."""
    return {"turns": spec.turns} if spec.turns > 1 else {}


@lru_cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries on which answers depend."""
    return {library: version(library) for library in LIBRARIES}


def fingerprint_of(samples: Iterable[Sample]) -> str:
    """Return a hash of the content of samples, in their order."""
    return _digest([sample.digest for sample in samples])


def pack_cells(cells: Iterable[Cell], samples: Mapping[str, int]) -> dict[str, Any]:
    """Return cells as run.json stores them: every part of their identities is stored once, by its hash.

    Args:
        cells: The cells.
        samples: The number of samples that each cell is asked, by its id.
    """
    parts: dict[str, Any] = {}
    entries = []
    for one in cells:
        own = {name: _digest(part)[:16] for name, part in one.parts.items()}
        parts |= {own[name]: part for name, part in one.parts.items()}
        entries.append({**one.names, "samples": samples[one.id], "parts": own})
    return {"cells": entries, "parts": parts}


def read_parts(manifest: Mapping[str, Any]) -> dict[str, Parts]:
    """Return the parts of the identities of all cells in run.json, by their ids."""
    return {
        cell["id"]: {name: manifest["parts"].get(digest, {}) for name, digest in cell["parts"].items()}
        for cell in manifest["cells"]
    }


def differences(old: Parts, new: Parts) -> list[str]:
    """Return sentences on what changed between two identities, with the values if a person can read them."""
    sentences: list[str] = []
    for part in dict.fromkeys([*old, *new]):
        before, after = old.get(part, {}), new.get(part, {})
        for name in dict.fromkeys([*before, *after]):
            a, b = before.get(name, "nothing"), after.get(name, "nothing")
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                sentences += _describe_modules(
                    part, name, [module for module in {**a, **b} if a.get(module) != b.get(module)]
                )
            elif a != b:
                readable = max(len(str(a)), len(str(b))) < 40
                sentences.append(f"{part}: {name} {a} -> {b}" if readable else f"{part}: {name} changed")
    return sentences


def describe_outdated(manifest: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, list[str]]:
    """Describe what has changed in code and libraries since cells were run. No model, plug-in or sample is loaded.

    Args:
        manifest: The content of run.json.
        files: The files of plug-ins that are single files, by the names of their modules.

    Returns:
        Sentences on the changes, by the id of the cell.
    """
    now = {"engine": {"tokenbench": tokenbench.__version__}, "libraries": versions()}
    sentences: dict[tuple[str, str], list[str]] = {}
    for cell in manifest["cells"]:
        for part, digest in cell["parts"].items():
            if (part, digest) not in sentences:
                then = manifest["parts"].get(digest, {})
                sentences[part, digest] = _describe_part(part, then, now.get(part, {}), files)
    return {
        cell["id"]: [sentence for part in cell["parts"].items() for sentence in sentences[part]]
        for cell in manifest["cells"]
    }


def _describe_part(part: str, then: Mapping[str, Any], now: Mapping[str, Any], files: Mapping[str, Path]) -> list[str]:
    stored = {name: then[name] for name in now if name in then}
    sentences = differences({part: stored}, {part: now} if stored else {})
    for name, value in then.items():
        if isinstance(value, Mapping):
            sentences += _describe_modules(part, name, changed_modules(value, files))
    return sentences


def _describe_modules(part: str, name: str, modules: Sequence[str]) -> list[str]:
    return [f"{part}: {name} changed ({', '.join(modules)})"] if modules else []


def _shown(task: Task) -> dict[str, str]:
    """Return which frames of its clips a task shows; nothing if it shows no clips, or always the same frames."""
    return {} if task.sampling is None else {"frames": str(task.sampling)}


def _merge(sources: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {module: digest for source in sources for module, digest in source.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

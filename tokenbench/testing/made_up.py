"""Runs that never ran, in real run directories: answers with a known truth, and strings that reports must escape."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image

from tokenbench.comparison import Comparison, compare
from tokenbench.contract.cells import VANILLA
from tokenbench.contract.suite import Box, Sample
from tokenbench.runner.identity import Cell, pack_cells
from tokenbench.store.directory import Store
from tokenbench.store.run import Run
from tokenbench.store.run_json import SCHEMA_VERSION
from tokenbench.store.spec import Spec
from tokenbench.store.units import by_unit

__all__ = ["HOSTILE", "MadeUp", "made_up"]

HOSTILE = "<script>alert(1)</script> & \"'`|\\%$_{}#^~ {{7*7}} ünï→𝔘 \u202e"
SIDE, IMAGES = 6, 24
ARMS = ((VANILLA, "all", 1.0), ("careful", "1/4", 0.9), ("careless", "1/4", 0.6))


@dataclass(frozen=True)
class MadeUp:
    """What a made-up run is like."""

    tasks: tuple[str, ...] = ("reading", "counting")
    """The names of the tasks."""
    models: tuple[str, ...] = ("made-up",)
    """The names of the models."""
    limit: int | None = None
    """The limit of samples, as a user gives it."""
    text: str = "yes"
    """Text in questions, answers, targets and notes."""
    failed: bool = False
    """Whether a strategy failed, so that it has no numbers."""


class _MadeUpRun(Run):
    """A run whose questions are made up as well."""

    asked: dict[tuple[str, str], Sample]

    def questions(self) -> dict[tuple[str, str], Sample]:
        return self.asked


def made_up(folder: Path, kind: MadeUp) -> tuple[Comparison, Run]:
    """Make up a run in a folder. Return its comparison and the run."""
    return copy.deepcopy(_comparison(kind)), _run(folder, kind)


@lru_cache
def _comparison(kind: MadeUp) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        samples = _run(Path(folder), kind).whole()
    return compare(by_unit(samples.assign(kept=samples["kept"].map(len)), {}), resamples=199)


def _run(folder: Path, kind: MadeUp) -> Run:
    store = Store(folder)
    cells = [
        (at, Cell(model, name, budget, 0, task, {"made up": {"number": at}}), right)
        for at, (model, (name, budget, right), task) in enumerate(product(kind.models, ARMS, kind.tasks))
    ]
    store.make_folders()
    store.start(_manifest(kind, [cell for _, cell, _ in cells]))
    for at, cell, right in cells:
        if kind.failed and cell.strategy == "careless":
            store.fail(cell.id, {**cell.names, "kind": "failed", "reason": f"no number: {kind.text}"})
            continue
        records = list(_records(kind, cell, right, at))
        store.journals.append((cell.id, record) for record in records)
        store.finish(cell.id, {record["sample"]: "" for record in records}, {**cell.names, "official": {}})
        store.clean_up(cell.id)
    run = _MadeUpRun(folder)
    run.asked = _questions(kind)
    return run


def _records(kind: MadeUp, cell: Cell, right: float, at: int) -> Iterator[dict[str, Any]]:
    """Yield the records of a cell. A share of `right` of its answers are correct."""
    share = 1.0 if cell.budget == "all" else 0.25
    kept = list(range(0, SIDE * SIDE, round(1 / share)))
    for image in range(IMAGES):
        good = (image * 7 + 5 * at) % IMAGES < right * IMAGES
        yield {
            "sample": f"sample-{image}", "cluster": f"image-{image // 2}", "unit": "", "stratum": "",
            "answer": kind.text if good else f"not {kind.text}", "target": kind.text, "score": float(good), "kept": kept,
            "visual_tokens": SIDE * SIDE, "lattice": [1, SIDE, SIDE, 0], "tokens_per_layer": [SIDE * SIDE, len(kept)],
            "realised_tokens": (SIDE * SIDE + len(kept)) / 2, "text_tokens": 20, "flops": 1e9 * share,
            "cache_bytes": 1e6 * share, "evidence_recall": share, "seconds": 0.01,
        }  # fmt: skip


def _questions(kind: MadeUp) -> dict[tuple[str, str], Sample]:
    box = (Box(0.1, 0.1, 0.4, 0.4),)
    return {
        (task, f"sample-{at}"): Sample(
            f"sample-{at}", f"image-{at // 2}", f"What? {kind.text}", kind.text, partial(_load_image, at), box
        )
        for task, at in product(kind.tasks, range(IMAGES))
    }


def _load_image(image: int) -> list[Image.Image]:
    return [Image.new("RGB", (60, 60), (10 * (image // 2), 120, 90))]


def _manifest(kind: MadeUp, cells: Sequence[Cell]) -> dict[str, Any]:
    spec = Spec(
        suite="made-up", tasks=kind.tasks, models=kind.models, strategies=("careful", "careless"), floors=(),
        budgets=("1/4",), seeds=(0,), limit=kind.limit, batch_size=8, device="cpu", dtype="float32", attention="sdpa",
    )  # fmt: skip
    about = {
        "identity": "0",
        "prompt": "?",
        "attention": "sdpa",
        "device": "cpu",
        "decoder_layers": 2,
        "decoding": "greedy",
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        **pack_cells(cells, {cell.id: IMAGES for cell in cells}),
        "tasks": {task: {"unit_rule": "mean", "identity": "", "samples": IMAGES} for task in kind.tasks},
        "models": dict.fromkeys(kind.models, about),
        "versions": {"tokenbench": "0", "python": "3", "torch": "2", "transformers": "5"},
        "hardware": {"machine": "made-up", "system": "none", "threads": 1, "gpu": None},
        "plugins": [],
        "plugin_files": [],
        "notes": [kind.text] if kind.text != "yes" else [],
    }

"""The browser of a page: the data of all models, and what the script has to know of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pandas as pd

from tokenbench.contract.cells import VANILLA
from tokenbench_reports.html.browse.answers import Known, Read, answer_items
from tokenbench_reports.html.browse.index import Index
from tokenbench_reports.html.browse.pieces import Pieces, Series
from tokenbench_reports.html.browse.scenes import Pictures, choose_scenes, scene_items

__all__ = ["MOST_SCENES", "Browsed", "Browser", "make_browser"]

MOST_SCENES = 2000
"""Questions of a model that are shown with pictures, unless all are asked for."""


@dataclass(frozen=True)
class Browsed:
    """One model, as it is browsed."""

    model: str
    """Its name."""
    index: Index
    """Its questions and cells."""
    rows: pd.DataFrame
    """Its scores, of one seed of each cell."""
    read: Read
    """Reads its answers."""
    strategies: Sequence[str]
    """The strategies in the order in which they are offered; others follow."""
    budgets: Sequence[str]
    """The budgets, in the order in which they are offered."""
    graded: Sequence[str]
    """The tasks whose answers are neither right nor wrong."""


@dataclass(frozen=True)
class Browser:
    """What the page needs to browse all questions."""

    head: dict[str, Any]
    """What the script has to know before it reads a piece."""
    inside: Mapping[str, str]
    """By name, the pieces that stand in the page, as JSON that no browser takes for the end of a script."""
    folder: str
    """The folder beside the page that holds the pieces; empty if they are in the page."""


def make_browser(models: Sequence[Browsed], known: Known, pieces: Pieces, most: int | None = MOST_SCENES) -> Browser:
    """Write all pieces of a page.

    Args:
        models: What is browsed.
        known: The run's questions, or why they cannot be shown.
        pieces: Where the pieces go.
        most: Questions of each model that are shown with pictures; None for all.
    """
    pieces.stamp = _stamp(models)
    series = Series(pieces, "pictures")
    pictures = Pictures(series)
    heads = [_model(at, one, known, pieces, pictures, most) for at, one in enumerate(models)]
    series.flush()
    folder = pieces.finish()
    inside = {name: _safe(text) for name, text in pieces.inside.items()}
    head = {"folder": folder, "stamp": pieces.stamp, "models": heads, "pictures": series.starts, "full": VANILLA}
    return Browser(json.loads(json.dumps(head, allow_nan=False)), inside, folder)


def _model(
    at: int, browsed: Browsed, known: Known, pieces: Pieces, pictures: Pictures, most: int | None
) -> dict[str, Any]:
    index = browsed.index.order(browsed.strategies)
    listed, answers, scenes = (Series(pieces, f"{kind}-{at}") for kind in ("index", "answers", "scenes"))
    tasks = {name: number for number, name in enumerate(dict.fromkeys(task for task, _ in index.questions))}
    for number, text, item in answer_items(index, browsed.read, known):
        task, key = index.questions[number]
        listed.add(number, [tasks[task], key, text, index.verdicts[number].tobytes().decode()])
        answers.add(number, item)
    chosen = choose_scenes(index, browsed.rows, most)
    for number, scene in scene_items(index, chosen, browsed.read, known, pictures):
        scenes.add(number, [number, scene])
    for one in (listed, answers, scenes):
        one.flush()
    return {
        "name": browsed.model,
        "tasks": list(tasks),
        "budgets": list(browsed.budgets),
        "cells": [list(cell) for cell in index.cells],
        "count": len(index.questions),
        "scenes": len(chosen),
        "index": listed.starts,
        "answers": answers.starts,
        "kept": scenes.starts,
        "notes": _notes(browsed, known, pictures, len(chosen)),
    }


def _notes(browsed: Browsed, known: Known, pictures: Pictures, shown: int) -> list[str]:
    """Sentences on what the browser does not show."""
    count = len(browsed.index.questions)
    said = (
        [f"The questions cannot be shown; the keys of the samples are shown instead: {known}"]
        if isinstance(known, str)
        else []
    )
    if browsed.graded:
        said.append(f"Answers to {', '.join(browsed.graded)} are graded, and therefore neither right nor wrong.")
    if shown < count:
        said.append(
            f"Pictures and kept tokens of {shown:,} of the {count:,} questions are stored, those that divide the methods "
            "most. The report format html-full stores all of them."
        )
    return [*said, *filter(None, [pictures.failure])]


def _stamp(models: Sequence[Browsed]) -> str:
    """A hash of all questions and verdicts."""
    digest = blake2b(digest_size=8)
    for one in models:
        digest.update(repr((one.model, one.index.questions, one.index.cells)).encode() + one.index.verdicts.tobytes())
    return digest.hexdigest()


def _safe(text: str) -> str:
    r"""JSON in which nothing ends a script: every ``<`` is written as ``\u003c``."""
    return text.replace("<", "\\u003c")

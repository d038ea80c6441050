"""Real samples with the tokens that every strategy kept, and what it answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tokenbench.contract.cells import VANILLA
from tokenbench.contract.suite import Sample, Video
from tokenbench.errors import TokenBenchError
from tokenbench.store.run import Run
from tokenbench_reports.html.maps import encode_image
from tokenbench_reports.html.masks import is_known, pack

SHOWN = 12
"""Samples a model, most of which some strategies get right and others wrong."""
SIDE = 336
FRAMES = 4
LONGEST = 300
"""Longer questions and answers are cut."""
RIGHT = 0.5


@dataclass(frozen=True)
class Picture:
    """A picture, which the page holds once and shows in many places."""

    name: str
    """The end of its name in the page."""
    address: str
    """The picture as a data address."""


@dataclass(frozen=True)
class Gallery:
    """Samples as the page's script takes them, or the reason why there are none."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    """The samples, as the page's script takes them."""
    pictures: list[Picture] = field(default_factory=list)
    """Their pictures."""
    missing: str = ""
    """Why there are no samples; empty if there are."""


def questions_of(run: Run) -> Mapping[tuple[str, str], Sample] | str:
    """The run's questions, or why they cannot be shown."""
    try:
        return run.questions()
    except TokenBenchError as error:
        return f"The samples cannot be made anew: {error}."


def gallery(
    shown: Sequence[tuple[str, str]],
    samples: pd.DataFrame,
    questions: Mapping[tuple[str, str], Sample] | str,
    prefix: str = "",
) -> Gallery:
    """Arrange samples for the page.

    Args:
        shown: The (task, sample) pairs to show.
        samples: The model's rows on them, one for each cell.
        questions: The run's questions, or why they cannot be shown.
        prefix: How the names of the pictures begin.
    """
    if isinstance(questions, str):
        return Gallery(missing=questions)
    entries: list[dict[str, Any]] = []
    pictures: list[Picture] = []
    for task, key in shown:
        rows = samples[(samples["task"] == task) & (samples["sample"] == key)]
        question = questions.get((task, key))
        if question is None or rows.empty or question.target != rows["target"].iloc[0]:
            continue  # the suite has changed since the run
        try:
            entry, own = _entry(task, question, rows, f"{prefix}{len(entries)}")
        except (OSError, TokenBenchError) as error:
            return Gallery(entries, pictures, f"The images cannot be shown: {error}.")
        entries.append(entry)
        pictures += own
    missing = "" if entries else "No sample can be shown: those of the installed suite are not those of the run."
    return Gallery(entries, pictures, missing)


def without_graded(shown: Gallery, graded: Sequence[str]) -> Gallery:
    """Say which tasks are left out, since none of their answers is right or wrong."""
    if not graded:
        return shown
    said = f"Answers to {', '.join(graded)} are graded, not right or wrong, and are not shown here."
    return replace(shown, missing=f"{shown.missing} {said}".strip() if shown.samples else said)


def choose_samples(samples: pd.DataFrame, most: int = SHOWN) -> list[tuple[str, str]]:
    """(task, sample), those first that vanilla gets right and pruning spoils; every task and image in turn."""
    counts = _rank(samples).drop_duplicates(["cluster"])
    turn = counts.groupby("task").cumcount()
    best = counts.assign(turn=turn).sort_values("turn", kind="stable").head(most)
    best = best.sort_values(["spoilt"], ascending=False, kind="stable", key=lambda share: share > 0)
    return [(str(task), str(sample)) for task, sample in zip(best["task"], best["sample"], strict=True)]


def rank_samples(samples: pd.DataFrame, most: int) -> list[tuple[str, str]]:
    """(task, sample) of the samples that show most, the best first."""
    best = _rank(samples).head(most)
    return [(str(task), str(sample)) for task, sample in zip(best["task"], best["sample"], strict=True)]


def _rank(samples: pd.DataFrame) -> pd.DataFrame:
    """Every sample once, those first that show most.

    The more even the strategies are split, the more a sample shows; where all fail alike there is nothing to see.
    """
    keys = ["task", "sample", "cluster"]
    samples = samples[["strategy", "score", *keys]]
    vanilla = samples[samples["strategy"] == VANILLA].set_index(keys)["score"].rename(VANILLA)
    pruned = samples[samples["strategy"] != VANILLA].join(vanilla, on=keys)
    before, after = pruned[VANILLA] >= RIGHT, pruned["score"] >= RIGHT
    counts = (
        pruned.assign(spoilt=before & ~after, mended=~before & after)
        .groupby(keys, observed=True)[["spoilt", "mended"]]
        .mean()
        .reset_index()
        .astype(dict.fromkeys(keys, str))
    )
    counts["rank"] = (
        (counts["spoilt"] > 0)
        + np.minimum(counts["spoilt"], 1 - counts["spoilt"])
        + 0.5 * np.minimum(counts["mended"], 1 - counts["mended"])
    )
    return counts.sort_values(["rank", "task", "sample"], ascending=[False, True, True], kind="stable")


def _entry(task: str, question: Sample, rows: pd.DataFrame, name: str) -> tuple[dict[str, Any], list[Picture]]:
    vanilla = rows[rows["strategy"] == VANILLA].iloc[0]
    lattice = vanilla["lattice"]
    known = is_known(lattice)
    shown = question.load()
    frames, indices = frames_of(shown[0], int(lattice[0]) if known else 1) if shown else ([], [])
    pictures = [Picture(f"{name}-{at}", encode_image(frame, "WEBP")) for at, frame in enumerate(frames)]
    entry = {
        "task": task,
        "sample": question.key,
        "question": shorten(question.question),
        "target": shorten(question.target),
        "frames": [[own.name, *frame.size] for own, frame in zip(pictures, frames, strict=True)],
        "shown": indices,
        "lattice": [int(n) for n in lattice] if known else None,
        "evidence": boxes(question),
        "cells": [_cell(row) for row in rows.to_dict("records")],
    }
    return entry, pictures


def boxes(question: Sample) -> list[list[float]]:
    """What the answer depends on, as [x0, y0, x1, y1, t0, t1] of every box, all as shares."""
    return [[box.x0, box.y0, box.x1, box.y1, box.t0, box.t1] for box in question.evidence]


def _cell(row: Any) -> dict[str, Any]:
    known = is_known(row["kept"])
    return {
        "strategy": str(row["strategy"]),
        "budget": str(row["budget"]),
        "answer": shorten(row["answer"]) if isinstance(row["answer"], str) else None,
        "right": bool(row["score"] >= RIGHT),
        "score": round(float(row["score"]), 3),
        "kept": pack(row["kept"], int(row["visual_tokens"])) if known else "",
        "count": len(row["kept"]) if known else None,
        "layers": layer_runs(row.get("tokens_per_layer")),
    }


def layer_runs(counts: Any) -> list[list[int]]:
    """Visual tokens in every layer as (count, number of layers); empty if they are not known."""
    if not is_known(counts):
        return []
    return [[count, len(list(same))] for count, same in groupby(int(count) for count in counts)]


def shorten(text: str) -> str:
    """At most ``LONGEST`` characters, saying so."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def frames_of(shown: Image.Image | Video, times: int) -> tuple[list[Image.Image], list[int]]:
    """The picture, or a few frames of the clip, small; and at which times of the lattice they stand."""
    if not isinstance(shown, Video):
        return [_small(shown)], [0]
    indices = frame_times(times)
    frames = [shown.frames[min(len(shown.frames) - 1, int((t + 0.5) * len(shown.frames) / times))] for t in indices]
    return [_small(frame) for frame in frames], indices


def frame_times(times: int) -> list[int]:
    """The times of a lattice that are shown: all, or a few evenly from all."""
    return [int((at + 0.5) * times / min(FRAMES, times)) for at in range(min(FRAMES, times))]


def _small(image: Image.Image) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small

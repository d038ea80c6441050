"""The pictures of questions with the tokens that every cell kept."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenbench.contract.suite import Sample
from tokenbench.errors import TokenBenchError
from tokenbench_reports.html.browse.answers import Known, Read, asked_sample, slices, target_of
from tokenbench_reports.html.browse.index import Index
from tokenbench_reports.html.browse.pieces import Series
from tokenbench_reports.html.gallery import boxes, frame_times, frames_of, layer_runs, rank_samples
from tokenbench_reports.html.maps import encode_image
from tokenbench_reports.html.masks import is_known, pack

__all__ = ["Pictures", "choose_scenes", "scene_items"]

KEPT = ("sample", "target", "kept", "visual_tokens", "leaves", "lattice", "tokens_per_layer")


class Pictures:
    """Pictures, each of which is stored once however many questions it belongs to."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._numbers: dict[bytes, int] = {}
        self.failure = ""
        """Why no more pictures are loaded; empty if nothing went wrong."""

    def add(self, sample: Sample, times: int) -> tuple[list[list[int]], list[int]]:
        """Store the frames of a sample.

        Args:
            sample: The question.
            times: The frames of its lattice.

        Returns:
            The number, width and height of every frame, and at which times of the lattice they stand; nothing once a
            picture could not be loaded.
        """
        if self.failure:
            return [], []
        try:
            shown = sample.load()
            frames, indices = frames_of(shown[0], times) if shown else ([], [])
        except (OSError, TokenBenchError) as error:
            self.failure = f"The images cannot be shown: {error}."
            return [], []
        found = []
        for frame in frames:
            key = blake2b(repr(frame.size).encode() + frame.tobytes(), digest_size=16).digest()
            if key not in self._numbers:
                self._numbers[key] = len(self._numbers)
                self._series.add(self._numbers[key], encode_image(frame, "WEBP"))
            found.append([self._numbers[key], *frame.size])
        return found, indices


def choose_scenes(index: Index, rows: pd.DataFrame, most: int | None) -> list[int]:
    """The questions that are shown with pictures, ascending: all, or those about which the strategies are most divided."""
    count = len(index.questions)
    if most is None or count <= most:
        return list(range(count))
    place = {question: at for at, question in enumerate(index.questions)}
    return sorted(place[pair] for pair in rank_samples(rows, most))


def scene_items(
    index: Index, numbers: Sequence[int], read: Read, known: Known, pictures: Pictures
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what is known of the tokens of every question: its pictures, lattice and evidence, and what every cell kept."""
    for at, rows in slices(index, numbers, read, KEPT):
        lattice = next((row["lattice"] for row in rows if row is not None and is_known(row.get("lattice"))), None)
        times = 1 if lattice is None else int(lattice[0])
        sample = asked_sample(index.questions[at], target_of(rows), known)
        frames, shown = pictures.add(sample, times) if sample else ([], [])
        layers: dict[str, tuple[int, list[list[int]]]] = {}
        yield (
            at,
            {
                "frames": frames,
                "shown": shown or frame_times(times),
                "lattice": None if lattice is None else [int(n) for n in lattice],
                "evidence": boxes(sample) if sample else [],
                "cells": [None if row is None else _cell(row, layers) for row in rows],
                "layers": [runs for _, runs in layers.values()],
            },
        )


def _cell(row: Mapping[str, Any], layers: dict[str, tuple[int, list[list[int]]]]) -> list[Any]:
    """[which tokens are kept, their number, visual tokens, which of the lists of layers, kept tokens by stage].

    None stands for what is not known. The stages are there if the run says which tokens left where.
    """
    runs = layer_runs(row.get("tokens_per_layer"))
    number = layers.setdefault(repr(runs), (len(layers), runs))[0] if runs else -1
    tokens = row["visual_tokens"]
    if not is_known(row["kept"]) or tokens is None or tokens != tokens:
        return [None, None, None, number]
    cell = [pack(row["kept"], int(tokens)), len(row["kept"]), int(tokens), number]
    return [*cell, _stages(row["leaves"])] if is_known(row.get("leaves")) else cell


def _stages(leaves: npt.ArrayLike) -> list[list[Any]]:
    """[first layer, which tokens are kept from there on] of every stage."""
    gone = np.asarray(leaves)
    layers = sorted({int(layer) for layer in gone if layer >= 0})
    return [[layer, pack(np.flatnonzero((gone < 0) | (gone > layer)), len(gone))] for layer in layers]

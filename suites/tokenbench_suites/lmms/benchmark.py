"""A task of lmms-eval as a task of TokenBench."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any, overload

from PIL import Image

from tokenbench.contract.sampling import DEFAULT_SAMPLING, FrameSampling
from tokenbench.contract.suite import Sample, Task, Video
from tokenbench.errors import SampleError
from tokenbench_suites.clip_files import read_clip
from tokenbench_suites.images import normalise_image, open_image
from tokenbench_suites.lmms.catalogue import CATALOGUE
from tokenbench_suites.lmms.catalogue_entry import UNKNOWN, CatalogueEntry
from tokenbench_suites.lmms.index import find_lmms_eval, find_tasks
from tokenbench_suites.lmms.library import Definition, Library, library
from tokenbench_suites.lmms.misfit import report_misfit
from tokenbench_suites.lmms.probing import examine
from tokenbench_suites.lmms.video import hash_file, locate_file

__all__ = ["MAX_NEW_TOKENS", "Benchmark", "open_media"]

_FIRST_ROWS = 24
"""How many rows are tried, to find out whether a task shows clips."""
MAX_NEW_TOKENS = 64  # where a task leaves it open; all such tasks want a word or a phrase


TFLOPS = 8.72
"""Of one answer: the prefill of the unpruned LLaVA-1.5-7B, as `tokenbench cost` counts it."""
UNITS = {
    "mean": "several answers; their mean counts",
    "all": "several answers, all of which must be right",
    "mean+all": "several answers; their mean counts half, and whether all of them are right",
}


class Benchmark(Task):
    """One task of lmms-eval. lmms-eval is not imported before the samples are asked for.

    Args:
        name: The name of the task.
        folder: The user's folder with its data; by default lmms-eval's own source.
        definitions: Folders with task YAMLs, which are searched before lmms-eval.
        sampling: Which frames of clips are shown.
    """

    def __init__(
        self,
        name: str,
        folder: Path | None = None,
        definitions: tuple[Path, ...] = (),
        sampling: FrameSampling = DEFAULT_SAMPLING,
    ) -> None:
        self.name, self._folder, self._definitions, self._sampling = name, folder, definitions, sampling
        self.entry = CATALOGUE.get(name, UNKNOWN)
        self.description, self.unit_rule = self.entry.description, self.entry.unit_rule
        source = self.entry.source
        facts = {
            "source": f"hf download {source} --repo-type dataset" if "/" in source.partition(" ")[0] else source,
            "size": self.entry.size,
            "licence": self.entry.licence,
            "metric": self.entry.metric if source else "",
            "unit": UNITS[self.unit_rule] if self.entry.unit else "one answer" if source else "",
            "cost": _cost(self.entry.samples),
            "local data": f"--data {name}=FOLDER",
        }
        self.notes = {heading: text for heading, text in facts.items() if text}

    @property
    def identity(self) -> str:
        """Versions of lmms-eval and of the code and data of the task."""
        rows = self._library.rows
        digest = hashlib.sha256(repr((len(rows), rows.contents[:1], rows.contents[-1:])).encode())
        for path in sorted(p for p in self.definition.yaml.parent.iterdir() if p.is_file()):
            digest.update(path.name.encode() + path.read_bytes())
        return f"lmms-eval {_version()}, {digest.hexdigest()[:16]}"

    @cached_property
    def sampling(self) -> FrameSampling | None:
        """Which frames of its clips are shown; None if the first of its rows that can be read shows images only."""
        for i in self._samples.order[:_FIRST_ROWS]:
            try:
                shown = self._library.shown(i)
            except SampleError:
                continue  # a damaged image: the run names it, and goes on without it
            return None if all(isinstance(item, Image.Image) or _is_image(item) for item in shown) else self._sampling
        return None

    @cached_property
    def definition(self) -> Definition:
        """Where the task is defined."""
        find_lmms_eval()
        yaml = find_tasks(self.name, self._definitions)[self.name]
        return Definition(self.name, yaml, self._folder, self.entry)

    @property
    def _library(self) -> Library:
        return library(self.definition)

    def samples(self) -> Sequence[Sample]:
        """Return all rows, in an order that mixes categories and is the same under every limit.

        Raises:
            UsageError: The task's answers cannot be scored one by one.
        """
        if not self._library.max_new_tokens:
            self.max_new_tokens = MAX_NEW_TOKENS
        else:
            self.max_new_tokens = self._library.max_new_tokens
        self.graded, self.remarks = self._samples.scorer.graded, self._samples.scorer.remarks
        return self._samples

    @cached_property
    def _samples(self) -> _Samples:
        return _Samples(self.definition, self.entry, self._sampling)

    def score(self, answer: str, sample: Sample) -> float:
        """The score of the first metric of the task."""
        i = _place(self._samples, sample.key)
        with report_misfit(self.name, i):
            return self._samples.scorer.score(i, answer)

    def official(self, answers: Mapping[str, str]) -> Mapping[str, float]:
        """What lmms-eval reports, over the units that are answered in full."""
        with report_misfit(self.name):
            placed = {_place(self._samples, key): answer for key, answer in answers.items()}
            units = {i: self._samples.units[i] for i in placed}
            return self._samples.scorer.official(placed, units, self.unit_rule)


class _Samples(Sequence[Sample]):
    """Samples made when they are asked for: to hash a picture is to read it, and `--limit` reads few.

    How their answers are scored is found out first.
    """

    def __init__(self, definition: Definition, entry: CatalogueEntry, sampling: FrameSampling) -> None:
        self._definition, self._entry, self._sampling = definition, entry, sampling
        rows = library(definition).rows.plain
        with report_misfit(definition.name):
            self.units = [entry.unit_of(row) or str(i) for i, row in enumerate(rows)]
        mixed = {unit: hashlib.sha256(unit.encode()).digest() for unit in self.units}
        self.order = sorted(range(len(rows)), key=lambda i: (mixed[self.units[i]], i))
        grouped = [list(rows) for _, rows in groupby(self.order, key=lambda i: self.units[i])]
        self.scorer = examine(library(definition), grouped)
        self._made: dict[int, Sample] = {}
        self.places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(at, slice):
            return [self._sample(i) for i in self.order[at]]
        return self._sample(self.order[at])

    def _sample(self, i: int) -> Sample:
        if i not in self._made:
            with report_misfit(self._definition.name, i):
                made = _sample(self._definition, self._entry, i, self.scorer.stratum(i), self._sampling)
                self._made[i] = made
            self.places[made.key] = i
        return self._made[i]


def _sample(definition: Definition, entry: CatalogueEntry, i: int, stratum: str, sampling: FrameSampling) -> Sample:
    loaded = library(definition)
    row = loaded.rows.plain[i]
    question = loaded.question(i)
    media, names = loaded.rows.media_hash(i)
    shown = media or "-".join(hash_file(item, definition.folder) for item in loaded.shown(i))
    return Sample(
        key=loaded.rows.key(i, question, shown),
        cluster=f"media-{shown}",
        question=question,
        target=loaded.target(i),
        load=partial(_load, definition, i, sampling),
        unit=entry.unit_of(row),
        stratum=entry.stratum_of(row) or stratum,
        origin=", ".join([str(definition.folder or entry.source or definition.name), f"row {i}", *names]),
        place=i,
    )


def _load(definition: Definition, i: int, sampling: FrameSampling) -> list[Image.Image | Video]:
    with report_misfit(definition.name, i):
        shown = [open_media(item, definition.folder, sampling) for item in library(definition).shown(i)]
    if not shown:
        raise SampleError(
            f"task '{definition.name}': row {i} has neither an image nor a video, so there is nothing to prune"
        )
    return shown


def open_media(item: Any, folder: Path | None, sampling: FrameSampling) -> Image.Image | Video:
    """An image, or what is in the file that a task names instead."""
    if isinstance(item, Image.Image):
        return normalise_image(item)
    path = locate_file(item, folder)
    return open_image(path, f"the image {path}") if _is_image(path) else read_clip(path, sampling)


def _is_image(item: Any) -> bool:
    return str(item).lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".tiff", ".webp"))


def _cost(answers: int) -> str:
    if not answers:
        return ""
    return (
        f"{answers:,} answers a cell; {answers * TFLOPS / 1000:,.0f} PFLOPs for the unpruned LLaVA-1.5-7B "
        "(tokenbench cost counts other models and strategies)"
    )


def _place(samples: _Samples, key: str) -> int:
    """The row of a sample; a key that was not made yet is looked for."""
    if key not in samples.places:
        list(samples)
    return samples.places[key]


def _version() -> str:
    try:
        return version("lmms-eval")
    except PackageNotFoundError:
        return "unknown"

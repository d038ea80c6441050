"""CIDEr of single captions (Vedantam et al. 2015, in the variant of the COCO caption evaluation).

A corpus enters it only by how many images have an n-gram in their references. Once the images are known, it is therefore a mean over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import exp, log, sqrt
from typing import Any, NamedTuple

from tokenbench_suites.lmms.words import find_words

__all__ = ["TOP", "Caption", "Consensus", "NeedsJavaError", "is_consensus", "without_java"]

TOP = 10.0
"""CIDEr of a caption that all references equal."""
LONGEST = 4
"""Words in the longest n-gram."""
SIGMA = 6.0
"""By how many words a caption may be longer or shorter than a reference before it counts much less."""
Grams = Counter[tuple[str, ...]]


class NeedsJavaError(RuntimeError):
    """A metric is a program in Java."""


class Caption(NamedTuple):
    """An answer with its references, as lmms-eval's tasks note them."""

    said: str
    """The answer."""
    references: Sequence[str]
    """What people wrote of the same image."""

    @classmethod
    def of(cls, record: Any) -> Caption | None:
        """What a task noted for an answer as a caption; None if it is none."""
        if not isinstance(record, Mapping) or not isinstance(record.get("pred"), str):
            return None
        texts = record.get("answer")
        told = isinstance(texts, Sequence) and not isinstance(texts, str) and all(isinstance(t, str) for t in texts)
        return cls(record["pred"], list(texts)) if told and texts else None


def is_consensus(metric: str) -> bool:
    """Whether a metric is CIDEr, by its name."""
    return "cider" in metric.lower()


class Consensus:
    """CIDEr, given the references of all images.

    Args:
        references: Those of every image.
    """

    def __init__(self, references: Iterable[Sequence[str]]) -> None:
        self._images: Grams = Counter()
        count = 0
        for texts in references:
            self._images.update({gram for text in texts for gram in _grams(text)})
            count += 1
        self._log_count = log(max(1, count))

    def score(self, caption: Caption) -> float:
        """CIDEr of a caption, from 0 to 10."""
        said = self._weigh(_grams(caption.said))
        similar = [_compare(said, self._weigh(_grams(text))) for text in caption.references]
        return TOP * sum(similar) / len(similar)

    def _weigh(self, grams: Grams) -> _Weights:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
        for gram, times in grams.items():
            weights[len(gram) - 1][gram] = times * (self._log_count - log(max(1, self._images[gram])))
        pairs = sum(times for gram, times in grams.items() if len(gram) == 2)
        return _Weights(weights, [sqrt(sum(w * w for w in part.values())) for part in weights], pairs)


class _Weights(NamedTuple):
    """The n-grams of a text, for every n."""

    weights: Sequence[Mapping[tuple[str, ...], float]]
    """How often each occurs, weighted by how rare it is."""
    norms: Sequence[float]
    """The lengths of these vectors."""
    pairs: int
    """How many pairs of words there are."""


def _grams(text: str) -> Grams:
    words = find_words(text)
    return Counter(tuple(words[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(words) - n + 1))


def _compare(said: _Weights, reference: _Weights) -> float:
    """The cosine of two texts, in which no n-gram counts more often than in the reference, less if their lengths differ."""
    total = 0.0
    for mine, theirs, *norms in zip(said.weights, reference.weights, said.norms, reference.norms, strict=True):
        common = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in mine.items() if gram in theirs)
        total += common / (norms[0] * norms[1]) if norms[0] and norms[1] else 0.0
    return total / LONGEST * exp(-((said.pairs - reference.pairs) ** 2) / (2 * SIGMA**2))


@contextmanager
def without_java(aggregate: Any) -> Iterator[None]:
    """Let the code that aggregates captions find their words in Python, since Java takes seconds to start for every metric.

    METEOR, which is a Java program itself, raises `NeedsJavaError`.

    Args:
        aggregate: A function of a task.
    """
    own: dict[str, Any] = getattr(aggregate, "__globals__", {})
    stock = {name: own[name] for name in STANDS if name in own}
    own |= {name: stand for name, stand in STANDS.items() if name in stock}
    try:
        yield
    finally:
        own |= stock


class _Words:
    """Stands for `PTBTokenizer` of pycocoevalcap."""

    def tokenize(self, captions: Mapping[Any, Sequence[Mapping[str, str]]]) -> dict[Any, list[str]]:
        return {key: [" ".join(find_words(one["caption"])) for one in own] for key, own in captions.items()}


class _Absent:
    """Stands for `Meteor` of pycocoevalcap."""

    def compute_score(self, *_: Any) -> Any:
        raise NeedsJavaError("METEOR is a program in Java, which is not started here")


STANDS: dict[str, Any] = {"PTBTokenizer": _Words, "Meteor": _Absent}

"""The checks of suites. Images are loaded for the first samples of each task only."""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from math import comb, log2

from tokenbench.contract.suite import Sample, Suite, SuiteRequest, Task, Video, first
from tokenbench.errors import MachineError
from tokenbench.testing.check import Check, checks

__all__ = ["Made", "check_suite", "suite_checks"]

_CHECKS: list[Check] = []
LOADED = 16
"""The number of samples per task whose images are loaded."""
NONSENSE = ("", "zzzz qqqq")
SURPRISE = 9
"""How improbable an order may be, in bits: one of 512 random orders fails."""


class Made:
    """A suite as its function makes it, with the samples of every task.

    Args:
        make: The function that makes the suite.

    Raises:
        MachineError: The suite has tasks only by request.
    """

    def __init__(self, make: Callable[..., Suite]) -> None:
        self.make = make
        self.suite = make(SuiteRequest()) if inspect.signature(make).parameters else make()
        if isinstance(self.suite, Suite) and not self.suite.tasks and inspect.signature(make).parameters:
            raise MachineError(f"suite '{self.suite.name}' has no tasks of its own: they are requested by name")

    def samples(self) -> Iterator[tuple[Task, Sequence[Sample]]]:
        """Yield every task with its samples."""
        for task in self.suite.tasks:
            yield task, task.samples()

    def some(self) -> Iterator[tuple[Task, Sample]]:
        """Yield the first samples of every task."""
        for task, samples in self.samples():
            for sample in samples[:LOADED]:
                yield task, sample


def check_suite(make: Callable[..., Suite]) -> None:
    """Run every check on the suite that a function makes.

    Raises:
        AssertionError: A check fails. The message says what is wrong and how to fix it.
    """
    for check in suite_checks():
        check(make)


def suite_checks() -> list[Check]:
    """Return the checks of a suite. Each takes the function that makes the suite."""
    return list(_CHECKS)


@checks(_CHECKS, "return tokenbench.Suite(name, description, tasks), with tasks of different names and a line on each")
def has_named_tasks(make: Callable[..., Suite]) -> None:
    """It makes a Suite with a name, a description and tasks of different names."""
    suite = Made(make).suite
    assert isinstance(suite, Suite), f"it makes a {type(suite).__name__}, not a tokenbench.Suite"
    assert suite.name and suite.description, "name or description is empty"
    assert suite.tasks, "there is no task"
    for task in suite.tasks:
        assert isinstance(task, Task), f"{task!r} is not a tokenbench.Task"
        assert task.name and task.max_new_tokens >= 1, f"task '{task.name}' has no name, or no tokens to answer with"
    _unique([task.name for task in suite.tasks], "task")


@checks(_CHECKS, "give every sample a key of its own that says which it is, whatever the limit")
def keys_are_unique(make: Callable[..., Suite]) -> None:
    """Every task has samples; each has a key of its own, a cluster, a question and a target."""
    for task, samples in Made(make).samples():
        assert len(samples), f"task '{task.name}' has no sample"
        _unique([sample.key for sample in samples], f"key of task '{task.name}'")
        for sample in samples:
            whole = all(isinstance(text, str) for text in (sample.key, sample.cluster, sample.question, sample.target))
            assert whole, f"sample {sample.key!r} of task '{task.name}': key, cluster, question and target are texts"
            filled = sample.key and sample.cluster and sample.question.strip()
            assert filled, f"sample {sample.key!r} of task '{task.name}' has no key, cluster or question"


@checks(_CHECKS, "mix answers and strata over the whole order, and let the samples of a unit stand side by side")
def prefixes_are_fair(make: Callable[..., Suite]) -> None:
    """A limit takes the first samples, whole units of them, and no common answer is missing from the first half."""
    for task, samples in Made(make).samples():
        for limit in (1, len(samples) // 2, len(samples)):
            if limit:
                chosen = first(task, limit)
                same = [s.key for s in chosen] == [s.key for s in samples[: len(chosen)]]
                assert same, f"the first {limit} samples of task '{task.name}' are not a prefix"
        _unique(
            [unit for unit, _ in groupby(s.unit for s in samples) if unit], f"stretch of a unit in task '{task.name}'"
        )
        for what in ("target", "stratum"):
            # Questions about one image stand together and may have one answer, so that each image counts once.
            values = dict.fromkeys((sample.cluster, getattr(sample, what)) for sample in samples)
            _assert_mixed([value for _, value in values], f"{what} of task '{task.name}'")


@checks(_CHECKS, "score(target, sample) must be 1")
def targets_score_1(make: Callable[..., Suite]) -> None:
    """The right answer scores 1; if the metric is soft, as VQA's is where people disagree, on every second question at least."""
    for task, samples in Made(make).samples():
        scores = {sample.key: task.score(sample.target, sample) for sample in samples}
        soft = sum(0 < score < 1 for score in scores.values())
        for sample in samples:
            score = scores[sample.key]
            right = score == 1 or (0 < score < 1 and 2 * soft <= len(samples))
            assert right, f"task '{task.name}': the target '{sample.target}' of {sample.key} scores {score}"


@checks(_CHECKS, "score() must tell right answers from wrong ones, within 0 and 1")
def wrong_answers_score_below(make: Callable[..., Suite]) -> None:
    """An empty answer, nonsense, and most other samples' answers score below 1, and nothing outside 0 to 1."""
    for task, samples in Made(make).samples():
        for sample in samples[:LOADED]:
            for answer in NONSENSE:
                score = task.score(answer, sample)
                assert 0 <= score < 1, f"task '{task.name}': the answer '{answer}' to {sample.key} scores {score}"
            others = {s.target for s in samples} - {sample.target}
            scores = [task.score(other, sample) for other in islice(sorted(others), LOADED)]
            assert all(0 <= score <= 1 for score in scores), f"task '{task.name}': scores {scores}"
            right = sum(score == 1 for score in scores)
            assert 2 * right <= len(scores), (
                f"task '{task.name}': {right} of {len(scores)} other answers are right, too"
            )


@checks(_CHECKS, "load() returns a list of PIL images or tokenbench.Video, the same at every call")
def images_load(make: Callable[..., Suite]) -> None:
    """Every sample shows at least one image or clip, the same at every call."""
    for task, sample in Made(make).some():
        where = f"sample {sample.key} of task '{task.name}'"
        shown = sample.load()
        assert len(shown), f"{where} shows nothing"
        for item in shown:
            frames = item.frames if isinstance(item, Video) else [item]
            assert frames and all(hasattr(frame, "convert") and min(frame.size) > 0 for frame in frames), (
                f"{where} shows a {type(item).__name__} that is neither an image nor a clip with frames"
            )
        assert _pixels(sample) == _pixels(sample), f"{where} shows other images the second time"


@checks(_CHECKS, "samples of one cluster show the same images; give others a cluster of their own")
def clusters_show_the_same_images(make: Callable[..., Suite]) -> None:
    """Samples with the same cluster show the same images, in whatever task they are."""
    seen: dict[str, tuple[str, str]] = {}
    for _, sample in Made(make).some():
        pixels = _pixels(sample)
        key, first_pixels = seen.setdefault(sample.cluster, (sample.key, pixels))
        assert first_pixels == pixels, (
            f"samples {key} and {sample.key} are of cluster '{sample.cluster}' and show other images"
        )


@checks(_CHECKS, "draw from a generator seeded by the sample's own number, never from the global one or the clock")
def is_the_same_when_made_again(make: Callable[..., Suite]) -> None:
    """Made twice, it asks the same questions about the same images, in the same order."""
    once, again = (
        [(task.name, s.key, s.cluster, s.question, s.target) for task, samples in Made(make).samples() for s in samples]
        for _ in range(2)
    )
    different = next((a[1] for a, b in zip(once, again, strict=False) if a != b), None)
    assert once == again, f"made again, it asks something else (from sample {different} on)"
    first_pixels, later = ([_pixels(sample) for _, sample in islice(Made(make).some(), LOADED)] for _ in range(2))
    assert first_pixels == later, "made again, it shows other images"


@checks(_CHECKS, "boxes are relative to the image: 0 <= x0 < x1 <= 1, the same for y and t")
def evidence_lies_inside(make: Callable[..., Suite]) -> None:
    """Boxes of evidence have an area, and lie inside the image."""
    for task, samples in Made(make).samples():
        for sample in samples:
            for box in sample.evidence:
                inside = all(
                    0 <= low < high <= 1 for low, high in ((box.x0, box.x1), (box.y0, box.y1), (box.t0, box.t1))
                )
                assert inside, f"task '{task.name}': {box} of {sample.key}"


def _unique(names: Sequence[str], what: str) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    assert not repeated, f"the {what} '{repeated[0]}' is there more than once"


def _assert_mixed(values: list[str], what: str) -> None:
    """Assert that values that make up a tenth of 20 values or more are not all in one half, as they are in a sorted table.

    A value that occurs n times is in one half of a random order with probability 2^(1 - n).
    """
    half, counts = len(values) // 2, Counter(values)
    common = [value for value, times in counts.items() if len(values) >= 20 and times >= max(4, len(values) / 10)]
    before = Counter(values[:half])
    single = [value for value in common if before[value] in (0, counts[value])]
    bits = sum(counts[value] - 1 for value in single) - log2(comb(len(common), len(single)))
    assert bits < SURPRISE, f"the {what} '{single[0]}' is only in one half of the samples: are they sorted?"


def _pixels(sample: Sample) -> str:
    """Return a hash of the images of a sample."""
    digest = hashlib.sha256()
    for item in sample.load():
        for frame in item.frames if isinstance(item, Video) else [item]:
            digest.update(f"{frame.mode}{frame.size}".encode() + frame.tobytes())
    return digest.hexdigest()

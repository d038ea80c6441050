"""The suites of public benchmarks."""

from __future__ import annotations

from tokenbench.contract.suite import Suite, SuiteRequest
from tokenbench.errors import unknown
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.catalogue import DOCUMENT_TASKS, GROUNDING_TASKS, IMAGE_TASKS, LONG_VIDEO_TASKS, VIDEO_TASKS
from tokenbench_suites.lmms.index import OWN, find_tasks

__all__ = ["document", "grounding", "image_public", "lmms", "video_long", "video_public"]


def image_public(request: SuiteRequest) -> Suite:
    """Public image benchmarks."""
    return _suite("image-public", "Public image benchmarks, scored by lmms-eval", IMAGE_TASKS, request)


def video_public(request: SuiteRequest) -> Suite:
    """Public benchmarks on short clips: four with open answers, scored without a judge, NExT-QA and MVBench."""
    own = (*request.definitions, OWN)
    tasks = tuple(
        Benchmark(name, request.folder(name), own, request.sampling) for name in _choose(VIDEO_TASKS, request)
    )
    return Suite(
        "video-public", "Public benchmarks on short clips, scored without a judge", tasks, model="toy-video-llava"
    )


def document(request: SuiteRequest) -> Suite:
    """Benchmarks on documents, charts and diagrams."""
    return _suite("document", "Documents, infographics, charts and diagrams", DOCUMENT_TASKS, request)


def grounding(request: SuiteRequest) -> Suite:
    """Benchmarks that ask for the place of an object."""
    return _suite("grounding", "The box of an object that an expression refers to", GROUNDING_TASKS, request)


def video_long(request: SuiteRequest) -> Suite:
    """Benchmarks on long videos."""
    return _suite("video-long", "Multiple choice on long videos", LONG_VIDEO_TASKS, request, "toy-video-llava")


def lmms(request: SuiteRequest) -> Suite:
    """Any tasks of lmms-eval, or of the user's folders, by name."""
    names = dict.fromkeys(task for name in request.names for task in find_tasks(name, request.definitions))
    tasks = tuple(Benchmark(name, request.folder(name), request.definitions, request.sampling) for name in names)
    return Suite("lmms", "Tasks of lmms-eval by name", tasks, model="toy-llava")


def _suite(
    name: str, description: str, names: tuple[str, ...], request: SuiteRequest, model: str = "toy-llava"
) -> Suite:
    chosen = _choose(names, request)
    tasks = tuple(Benchmark(task, request.folder(task), request.definitions, request.sampling) for task in chosen)
    return Suite(name, description, tasks, model=model)


def _choose(names: tuple[str, ...], request: SuiteRequest) -> tuple[str, ...]:
    for name in request.names:
        if name not in names:
            raise unknown("task of the suite", name, names)
    return request.names or names

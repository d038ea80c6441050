"""The suites `image-public`, `video-public` and `lmms`."""

from __future__ import annotations

from tokenbench.contract.suite import Suite, SuiteRequest
from tokenbench.errors import unknown
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.catalogue import IMAGE_TASKS, VIDEO_TASKS
from tokenbench_suites.lmms.index import OWN, find_tasks

__all__ = ["image_public", "lmms", "video_public"]


def image_public(request: SuiteRequest) -> Suite:
    """Nine public image benchmarks."""
    tasks = tuple(Benchmark(name, request.folder(name), request.definitions) for name in _choose(IMAGE_TASKS, request))
    return Suite("image-public", "Nine public image benchmarks, scored by lmms-eval", tasks, model="toy-llava")


def video_public(request: SuiteRequest) -> Suite:
    """Four public video benchmarks with open answers, scored without a judge."""
    own = (*request.definitions, OWN)
    tasks = tuple(Benchmark(name, request.folder(name), own) for name in _choose(VIDEO_TASKS, request))
    return Suite("video-public", "Four public video benchmarks, scored without a judge", tasks, model="toy-video-llava")


def lmms(request: SuiteRequest) -> Suite:
    """Any tasks of lmms-eval, or of the user's folders, by name."""
    names = dict.fromkeys(task for name in request.names for task in find_tasks(name, request.definitions))
    tasks = tuple(Benchmark(name, request.folder(name), request.definitions) for name in names)
    return Suite("lmms", "Tasks of lmms-eval by name", tasks, model="toy-llava")


def _choose(names: tuple[str, ...], request: SuiteRequest) -> tuple[str, ...]:
    for name in request.names:
        if name not in names:
            raise unknown("task of the suite", name, names)
    return request.names or names

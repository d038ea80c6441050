"""What it costs to read the frames of clips: decodes, CPU time and memory, beside decoding every frame twice.

Clips are made here: H.264 at 25 frames per second with a key frame every ten seconds, which is x264's default; 1,280 x 720 pixels, or 640 x
360 for the ten minutes. The two ways of reading alternate; the least of the rounds counts.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.films import write_film
from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.suite import Sample, Task, Video
from tokenbench.runner.batches import QuestionBatch
from tokenbench.runner.media import Media
from tokenbench_suites import clip_files

RATE = 25
HD, SMALL = (1280, 720), (640, 360)
CLIPS = (
    ("1 frame", 1, HD, (1, 8), 3),
    ("8 frames", 8, HD, (1, 8, 9), 3),
    ("32 frames", 32, HD, (8, 32), 3),
    ("33 frames", 33, HD, (9, 33), 3),
    ("64 frames", 64, HD, (1, 8, 64), 3),
    ("30 seconds", 750, HD, (1, 8, 9, 32, 64), 2),
    ("10 minutes", 15_000, SMALL, (1, 8, 64), 1),
)
"""Name, number of frames, size, how many frames are asked for, and rounds."""


def twice(path: Path, frames: int) -> Video:
    """The way before: decode everything to count it, and once more to take the frames."""
    import av

    def decoded() -> Any:
        with av.open(str(path)) as file:
            yield from file.decode(video=0)

    count = sum(1 for _ in decoded())
    places = FrameSampling(frames).choose(count, None)
    return Video([Image.fromarray(f.to_ndarray(format="rgb24")) for at, f in enumerate(decoded()) if at in places])


def cpu_seconds(work: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def decoded_frames(work: Callable[[], Any]) -> int:
    """How many frames FFmpeg hands out."""
    import av

    count, stock = 0, av.container.InputContainer.decode

    class Counting:
        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def decode(self, *given: Any, **named: Any) -> Any:
            nonlocal count
            for frame in stock(self._container, *given, **named):
                count += 1
                yield frame

    opened = clip_files._opened

    @clip_files.contextmanager
    def watched(path: Path) -> Any:
        with opened(path) as (container, stream):
            yield Counting(container), stream

    clip_files._opened = watched
    try:
        work()
    finally:
        clip_files._opened = opened
    return count


def reading(folder: Path) -> None:
    print("| clip | frames shown | frames decoded | before | CPU seconds | before | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, count, size, asked, rounds in CLIPS:
        path = write_film(folder / f"{count}.mp4", count, rate=RATE, size=size, preset="ultrafast", g="250")
        for frames in asked:
            measure(name, path, count, frames, rounds)


def measure(name: str, path: Path, count: int, frames: int, rounds: int) -> None:
    read, before = partial(clip_files.read_clip, path, FrameSampling(frames)), partial(twice, path, frames)
    pairs = list(zip(read().frames, before().frames, strict=True))
    assert all(np.array_equal(a, b) for a, b in pairs), (name, frames)
    taken = [(cpu_seconds(read), cpu_seconds(before)) for _ in range(rounds)]
    new, old = (min(column) for column in zip(*taken, strict=True))
    handed = decoded_frames(read)
    print(
        f"| {name} | {len(pairs)} | {handed:,} | {2 * count:,} | {new:.2f} | {old:.2f} | {new / old:.2f} |", flush=True
    )


class Films(Task):
    """25 questions on each of 40 clips."""

    name = "films"

    def __init__(self, paths: list[Path], frames: int) -> None:
        self._paths, self._frames, self.decodes = paths, frames, 0

    def samples(self) -> list[Sample]:
        return [
            Sample(f"{i}-{q}", f"{i}", "?", "", lambda i=i: self._load(i))
            for i in range(len(self._paths))
            for q in range(25)
        ]

    def _load(self, i: int) -> list[Video]:
        self.decodes += 1
        return [clip_files.read_clip(self._paths[i], FrameSampling(self._frames))]

    def score(self, answer: str, sample: Sample) -> float:
        return 0.0


def holding(folder: Path) -> None:
    """Load the batches of a run as a worker does, without a model."""
    print(
        "\n| questions | clips | frames of each | batch size | decodes | decodes before | most held, MB | all clips, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    paths = [write_film(folder / f"film-{i}.mp4", 64, rate=RATE, size=SMALL, preset="ultrafast") for i in range(40)]
    for frames in (8, 64):
        task, media, held, before = Films(paths, frames), Media(), 0, 0
        samples = task.samples()
        batches = [QuestionBatch([(task, s) for s in samples[at : at + 32]], (0,)) for at in range(0, len(samples), 32)]
        media.expect(batches)
        for at, batch in enumerate(batches):
            media.begin(at)
            clusters = {sample.cluster: sample for _, sample in batch.questions}
            before += len(clusters)
            for sample in clusters.values():
                media.load(sample)
                held = max(held, media.held_bytes)
        whole = len(paths) * frames * 640 * 360 * 3
        print(
            f"| {len(samples):,} | {len(paths)} | {frames} | 32 | {task.decodes} | {before} | {held / 1e6:.0f} | {whole / 1e6:,.0f} |"
        )


if __name__ == "__main__":
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        reading(Path(name))
        holding(Path(name))
    print(f"\n{time.perf_counter() - start:.0f} seconds")

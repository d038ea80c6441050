"""Frames of clips in files: those in the middle of equal parts, the same as after decoding everything, but without doing so."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="clips are decoded with PyAV")

from tests.films import numbers, write_film
from tokenbench.contract.sampling import MOST_FRAMES, FrameSampling
from tokenbench.errors import SampleError, UsageError
from tokenbench_suites import clip_files
from tokenbench_suites.clip_files import read_clip

ASKED = [FrameSampling(n) for n in (1, 2, 5, 8, 31, 64, 200)] + [FrameSampling(None, f) for f in (0.01, 0.7, 3.0, 99.0)]
KINDS = {
    "clip.mp4": {"codec": "libx264", "g": "25"},
    "bframes.mkv": {"codec": "libx264", "g": "12", "bf": "3"},
    "open.mp4": {"codec": "libx264", "x264-params": "open-gop=1:keyint=12:bframes=3"},
    "hidden.webm": {"codec": "libvpx", "g": "20", "auto-alt-ref": "1", "lag-in-frames": "16"},
    "clip.webm": {"codec": "libvpx-vp9", "g": "20", "lag-in-frames": "16", "cpu-used": "8"},
    "old.avi": {"codec": "mpeg4", "g": "12"},
    "reordered.avi": {"codec": "libx264", "g": "12", "bf": "2"},
    "clip.gif": {"codec": "gif"},
    "stream.ts": {"codec": "libx264", "g": "12", "bf": "2"},
    "bare.h264": {"codec": "libx264", "g": "12", "bf": "2"},
}


def everything(path: Path) -> list[np.ndarray]:
    """All frames, decoded one after the other by one thread."""
    import av

    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


@pytest.mark.parametrize("name", KINDS)
def test_the_frames_are_those_that_decoding_everything_gives(name: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / name, 60, **KINDS[name])
    whole = everything(path)
    assert len(whole) == 60
    seconds = 60 / (25 if name.endswith("h264") else 10)  # a bare stream states no rate, and FFmpeg assumes 25
    for sampling in ASKED:
        clip = read_clip(path, sampling)
        expected = sampling.choose(60, seconds)
        assert len(clip.frames) == len(expected)
        assert all((np.asarray(f) == whole[at]).all() for f, at in zip(clip.frames, expected, strict=True)), sampling
        assert clip.fps == pytest.approx(len(expected) / seconds, rel=0.02)
        assert clip.start == pytest.approx(seconds / len(expected) / 2, rel=0.02)


@pytest.mark.parametrize(
    ("sampling", "count", "seconds", "expected"),
    [
        (FrameSampling(8), 12, 3.0, [0, 2, 3, 5, 6, 8, 9, 11]),
        (FrameSampling(1), 9, None, [4]),
        (FrameSampling(5), 5, None, [0, 1, 2, 3, 4]),
        (FrameSampling(8), 3, None, [0, 1, 2]),  # no frame twice
        (FrameSampling(8), 1, None, [0]),
        (FrameSampling(None, 2.0), 100, 2.0, [12, 37, 62, 87]),
        (FrameSampling(None, 2.0), 100, 0.1, [50]),  # one frame at least
        (FrameSampling(None, 500.0), 10, 5.0, list(range(10))),
    ],
)
def test_frames_are_in_the_middle_of_equal_parts(
    sampling: FrameSampling, count: int, seconds: float | None, expected: list[int]
) -> None:
    assert sampling.choose(count, seconds) == expected


def test_an_hour_at_many_frames_per_second_is_bounded() -> None:
    chosen = FrameSampling(None, 30.0).choose(108_000, 3600.0)
    assert len(chosen) == MOST_FRAMES == 768
    assert set(np.diff(chosen)) <= {140, 141}


def test_settings_that_cannot_be_are_refused() -> None:
    for frames, fps in (
        (0, None),
        (-1, None),
        (769, None),
        (None, 0.0),
        (None, float("nan")),
        (None, 2000.0),
        (4, 1.0),
    ):
        with pytest.raises(UsageError, match=r"frames|fps"):
            FrameSampling.of(frames, fps)
    assert str(FrameSampling.of(None, None)) == "8 frames"
    assert str(FrameSampling.of(1, None)) == "1 frame"
    assert str(FrameSampling.of(None, 0.5)) == "0.5 frames per second, at most 768"


def test_of_a_long_clip_only_what_leads_to_the_frames_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key frames are ten frames apart, so that four frames take at most forty decoded ones instead of a thousand."""
    path = write_film(tmp_path / "long.mp4", 1000, g="10", preset="ultrafast")
    seen: Counter[str] = Counter()
    stock = clip_files._opened

    class Counting:
        def __init__(self, container: object) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def decode(self, stream: object) -> object:
            for frame in self._container.decode(stream):  # type: ignore[attr-defined]
                seen["frames"] += 1
                yield frame

    @contextmanager
    def opened(path: Path) -> object:  # type: ignore[misc]
        with stock(path) as (container, stream):
            yield Counting(container), stream

    monkeypatch.setattr(clip_files, "_opened", opened)
    clip = read_clip(path, FrameSampling(4))
    assert numbers(clip.frames) == [125, 375, 625, 875]
    assert seen["frames"] <= 40


def test_a_clip_without_times_that_is_too_large_to_hold_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_film(tmp_path / "old.avi", 60, codec="mpeg4")
    held = read_clip(path, FrameSampling(5))
    monkeypatch.setattr(clip_files, "HELD_BYTES", 100_000)
    again = read_clip(path, FrameSampling(5))
    assert numbers(again.frames) == numbers(held.frames) == [6, 18, 30, 42, 54]


def test_packets_of_a_codec_that_hides_some_are_not_taken_for_frames(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.webm", 20, codec="libvpx")
    assert not clip_files._read_times(path)[0].times
    assert numbers(read_clip(path, FrameSampling(4)).frames) == [2, 7, 12, 17]


def test_a_clip_of_unknown_length_has_no_frames_per_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "bare.h264", 20)
    monkeypatch.setattr(clip_files, "_length", lambda *_: None)
    clip = read_clip(path, FrameSampling(4))
    assert (numbers(clip.frames), clip.fps) == ([2, 7, 12, 17], 1.0)
    with pytest.raises(SampleError, match=r"bare\.h264: the clip does not say how long it is, so that --fps"):
        read_clip(path, FrameSampling(None, 1.0))


def test_a_cut_clip_is_a_sample_error(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 12, codec="mpeg4")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SampleError, match=r"a\.mp4.*(cannot be loaded|no frames|no video stream)"):
        read_clip(path, FrameSampling())

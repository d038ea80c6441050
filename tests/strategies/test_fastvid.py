"""FastVID, whose code runs for all rows at once, against its definition token by token."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from tests.strategies.views import make_view, rand
from tokenbench import Grid, Signal
from tokenbench_strategies.density import find_peaks
from tokenbench_strategies.fastvid import FastVID, cut_segments, prune_clip
from tokenbench_strategies.frames import PrunedClip


def make_clip(seed: int, frames: int, places: int, tied: bool = False) -> tuple[Tensor, Tensor]:
    """A clip of several scenes and what its tokens receive; with `tied`, many tokens and much attention are equal."""
    draw = torch.Generator().manual_seed(seed)
    scene = (torch.rand(frames, generator=draw) < 0.3).cumsum(0)
    if tied:
        looks = torch.randn(4, 6, generator=draw)
        clip = looks[torch.randint(4, (frames, places), generator=draw)]
        return clip, torch.randint(3, (frames, places), generator=draw).float()
    clip = rand(seed + 1, frames + 1, places, 6)[scene] + 0.4 * rand(seed + 2, frames, places, 6)
    return clip, torch.rand(frames, places, generator=draw)


def lengths_of(segments: Tensor) -> list[int]:
    return segments.bincount().tolist()


def prune_by_definition(
    clip: Tensor, attention: Tensor, lengths: Sequence[int], q: int
) -> dict[tuple[int, int], Tensor]:
    """What is left of one clip: {(frame, place): value}."""
    context = int(0.4 * q)
    ranked = attention.argsort(dim=1, descending=True, stable=True).tolist()
    salient = [set(row[: q - context]) for row in ranked]
    left = {(t, p): clip[t, p] for t, own in enumerate(salient) for p in own}
    start = 0
    for length in lengths:
        segment = range(start, start + length)
        anchors = [t for t in segment if (segment[-1] - t) % 4 == 0]
        others = [(t, p) for t in segment for p in range(clip.shape[1]) if p not in salient[t]]
        for t in anchors:
            own = [p for p in range(clip.shape[1]) if p not in salient[t]]
            peaks = find_peaks(clip[t, own], min(context * length // len(anchors), len(own)), 4)
            if not len(peaks):
                continue
            states = clip[t, own][peaks]
            alike = torch.stack([normalize(clip[token], dim=-1) for token in others]) @ normalize(states, dim=-1).T
            homes = alike.argmax(1).tolist()
            for i, peak in enumerate(peaks.tolist()):
                joined = [clip[token] for token, home in zip(others, homes, strict=True) if home == i]
                weight = max(1 / (len(joined) + 1), 0.6)
                mean = torch.stack(joined).mean(0) if joined else states[i]
                left[t, own[peak]] = weight * states[i] + (1 - weight) * mean
        start += length
    return left


def left_of(pruned: PrunedClip, clip: Tensor, row: int) -> dict[tuple[int, int], Tensor]:
    values = clip[row].flatten(0, 1).clone()
    if pruned.merged is not None and pruned.values is not None:
        values[pruned.merged[row]] = pruned.values[row]
    values = values.view_as(clip[row])
    return {(t, p): values[t, p] for t, p in pruned.keep[row].nonzero().tolist()}


@given(
    st.integers(1, 14), st.integers(1, 9), st.sampled_from([(1, -2.0), (1, 0.8), (3, 0.8), (8, 0.9), (20, 0.5)]),
    st.floats(0, 1), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_rows_of_unlike_segments_are_pruned_as_defined(
    frames: int, places: int, cut: tuple[int, float], share: float, tied: bool, seed: int
) -> None:
    clips, attention = (
        torch.stack(parts)
        for parts in zip(*(make_clip(seed + 7 * b, frames, places, tied) for b in range(3)), strict=True)
    )
    q = max(1, round(share * places))
    segments = cut_segments(clips.mean(-2), *cut)
    pruned = prune_clip(clips, attention, segments, q)
    for b in range(3):
        expected = prune_by_definition(clips[b], attention[b], lengths_of(segments[b]), q)
        found = left_of(pruned, clips, b)
        assert found.keys() == expected.keys()
        assert len(found) <= frames * q
        for token, value in expected.items():
            if not tied:  # a token that is as similar to two peaks may join either, by the rounding of a product
                torch.testing.assert_close(found[token], value, atol=1e-5, rtol=1e-4)


def test_a_clip_is_cut_where_frames_differ_most_and_wherever_they_differ_much() -> None:
    angles = torch.tensor([[0.0, 5, 15, 75, 80, 82], [0, 0, 0, 0, 0, 0], [0, 90, 180, 270, 0, 90]]).deg2rad()
    frames = torch.stack([angles.cos(), angles.sin()], -1)
    # The least similar pair is the third; then the second; of equal ones the first.
    assert cut_segments(frames, 3, -2.0).tolist() == [[0, 0, 1, 2, 2, 2], [0, 1, 2, 2, 2, 2], [0, 1, 2, 2, 2, 2]]
    assert cut_segments(frames, 1, 0.9).tolist() == [[0, 0, 0, 1, 1, 1], [0] * 6, [0, 1, 2, 3, 4, 5]]
    assert cut_segments(frames[:, :1], 8, 0.9).tolist() == [[0]] * 3


def test_anchors_of_a_long_segment_are_taken_a_few_at_a_time() -> None:
    """All tokens of an anchor that are not salient are peaks, and a frame has 4 anchors: no more than 2 fit at once."""
    clip, attention = make_clip(3, 14, 10)
    pruned = prune_clip(clip[None], attention[None], torch.zeros(1, 14, dtype=torch.long), 10)
    expected = prune_by_definition(clip, attention, [14], 10)
    found = left_of(pruned, clip[None], 0)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(torch.stack([found[at] for at in expected]), torch.stack([*expected.values()]))
    merged = sum(not torch.equal(value, clip[at]) for at, value in expected.items())
    assert merged == 4 * 4


@pytest.mark.parametrize(("k", "frames"), [(1, [2]), (2, [1, 3]), (3, [0, 2, 4]), (4, [0, 1, 3, 4])])
def test_with_less_than_a_token_a_frame_some_frames_show_their_most_salient(k: int, frames: list[int]) -> None:
    attention = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    view = make_view(
        FastVID().stage(0, k, 0), 30, k, alive=torch.arange(30).expand(2, 30), grids=(Grid(5, 2, 3),),
        hidden={0: rand(1, 2, 30, 4)}, signals={Signal("received", -1): attention.flatten(1)},
    )  # fmt: skip
    expected = [[6 * t + int(row[t].argmax()) for t in frames] for row in attention]
    keep = FastVID().select(view).keep
    assert [row.nonzero().flatten().tolist() for row in keep] == expected

"""HoliTom, whose code runs for all rows at once, against its definition window by window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from tests.strategies.views import fit_share, make_view, rand
from tokenbench import Grid, Signal
from tokenbench_strategies.density import find_peaks
from tokenbench_strategies.holitom import HoliTom, average_in_turn, choose_windows, fit_quotas, prune_clip

TAU = 0.8


def make_clip(seed: int, frames: int, places: int, tied: bool = False) -> tuple[Tensor, Tensor]:
    """A clip of a few scenes, in which some places stand still; with `tied`, of few looks."""
    draw = torch.Generator().manual_seed(seed)
    scene = (torch.rand(frames, generator=draw) < 0.2).cumsum(0)
    if tied:
        looks = torch.randn(4, 6, generator=draw)[torch.randint(4, (frames + 1, places), generator=draw)]
    else:
        looks = rand(seed + 1, frames + 1, places, 6)
    moving = torch.rand(frames, places, 1, generator=draw) < 0.15
    clip = torch.where(moving, looks[1:].flip(1), looks[scene])
    if not tied:
        clip = clip + 0.2 * rand(seed + 3, frames, places, 6)
    return clip, torch.rand(frames, places, generator=draw)


def partitions(frames: int) -> Iterator[list[tuple[int, int]]]:
    for count in range(frames):
        for cuts in combinations(range(1, frames), count):
            yield list(pairwise([0, *cuts, frames]))


def left_out(alike: Tensor, windows: list[tuple[int, int]]) -> int:
    return sum(int(alike[a : b - 1].all(0).sum()) * (b - a - 1) for a, b in windows if b - a > 1)


@given(st.integers(1, 8), st.integers(1, 5), st.floats(0, 1), st.integers(0, 999))
def test_windows_leave_out_most_and_of_equal_ones_later_windows_are_short(
    frames: int, places: int, share: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    alike = torch.rand(3, frames - 1, places, generator=draw) < share
    first, static = choose_windows(alike)
    for row, own, still in zip(alike, first, static, strict=True):
        best = max(partitions(frames), key=lambda windows: (left_out(row, windows), [a for a, _ in windows[::-1]]))
        assert own.tolist() == [a for a, b in best for _ in range(a, b)]
        expected = [row[a : b - 1].all(0) if b - a > 1 else torch.zeros(places) for a, b in best for _ in range(a, b)]
        assert still.tolist() == torch.stack(expected).bool().tolist()


def prune_by_definition(clip: Tensor, attention: Tensor, k: int) -> list[tuple[int, Tensor]]:
    """Tokens and their values in the order of the sequence; nothing where no share holds the budget."""
    alike, places = cosine_similarity(clip[1:], clip[:-1], dim=-1) > TAU, clip.shape[1]
    first, static = choose_windows(alike)
    windows = [(a, a + int((first == a).sum())) for a in first.unique().tolist()]
    still = {a: static[a].nonzero().flatten().tolist() for a, _ in windows}

    def count(share: float) -> int:
        return sum(round(len(still[a]) * share) + (b - a) * ceil((places - len(still[a])) * share) for a, b in windows)

    share, left = fit_share(count, k), list[tuple[int, Tensor]]()
    for a, b in windows:
        means, peaks = clip[a:b, still[a]].mean(0), list[int]()
        if number := round(len(still[a]) * share):
            peaks = find_peaks(means, number, 7).tolist()
        homes: dict[int, list[Tensor]] = {peak: [] for peak in peaks}
        for i in range(len(means) if peaks else 0):
            if i not in peaks:
                homes[min(peaks, key=lambda peak: float((means[i] - means[peak]).norm()))].append(means[i])
        for peak, own in homes.items():
            value = 0.6 * means[peak] + 0.4 * torch.stack(own).mean(0) if own else means[peak]
            left.append((a * places + still[a][peak], value))
        moving = [p for p in range(places) if p not in still[a]]
        for t in range(a, b):
            best = sorted(moving, key=lambda p: -float(attention[t, p]))[: ceil(len(moving) * share)]
            left += [(t * places + p, clip[t, p]) for p in sorted(best)]
    return left


@given(st.integers(1, 9), st.integers(1, 12), st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_rows_of_unlike_windows_are_pruned_as_defined(
    frames: int, places: int, share: float, tied: bool, seed: int
) -> None:
    parts = [make_clip(seed + 11 * b, frames, places, tied) for b in range(3)]
    clips, attention = (torch.stack(part) for part in zip(*parts, strict=True))
    k = max(1, round(share * frames * places))
    view = make_view(
        HoliTom().stage(0, k, 0), frames * places, k, alive=torch.arange(frames * places).expand(3, -1),
        grids=(Grid(frames, 1, places),), hidden={0: clips.flatten(1, 2)},
        signals={Signal("received", -1): attention.flatten(1)},
    )  # fmt: skip
    selection = HoliTom(tau=TAU).select(view)
    assert selection.values is not None
    for b in range(3):
        expected = prune_by_definition(clips[b], attention[b], k)
        order = torch.arange(frames * places) if selection.order is None else selection.order[b]
        found = sorted(selection.keep[b].nonzero().flatten().tolist(), key=lambda i: int(order[i]))
        if not expected:
            assert 0 < len(found) <= k < frames
            continue
        assert found == [token for token, _ in expected]
        values = torch.stack([value for _, value in expected])
        torch.testing.assert_close(selection.values[b, found], values, atol=1e-5, rtol=1e-4)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 270), st.integers(0, 99))
def test_quotas_are_those_of_the_largest_share(frames: int, places: int, k: int, seed: int) -> None:
    alike = torch.rand(3, frames - 1, places, generator=torch.Generator().manual_seed(seed)) < 0.8
    first, static = choose_windows(alike)
    peaks, best = fit_quotas(first, static, k)
    for b in range(3):
        opens, still = first[b] == torch.arange(frames), static[b].sum(-1)
        numbers = [(int(m) * bool(new), places - int(m)) for m, new in zip(still, opens, strict=True)]
        share = fit_share(lambda part: sum(round(m * part) + ceil(d * part) for m, d in numbers), k)  # noqa: B023
        expected = [(round(m * share), ceil(d * share)) for m, d in numbers]
        if any(map(sum, expected)) or k >= frames:
            assert list(zip(peaks[b].tolist(), best[b].tolist(), strict=True)) == expected
        else:
            assert int(peaks[b].sum() + best[b].sum()) > k


def test_less_than_a_token_a_frame_is_taken_at_equal_steps() -> None:
    clip, attention = rand(0, 6, 4, 8), torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    best = [4 * t + int(attention[t].argmax()) for t in range(6)]
    for k, frames in [(1, [3]), (2, [1, 4]), (3, [1, 3, 5]), (5, [0, 1, 3, 4, 5]), (6, [0, 1, 2, 3, 4, 5])]:
        kept = prune_clip(clip, attention, k, 1.0).keep
        assert kept.flatten().nonzero().flatten().tolist() == [best[t] for t in frames]


def test_equal_tokens_stay_equal_in_a_window() -> None:
    """So that the first of them is the peak: products of matrices round equal columns in unlike ways."""
    for frames in range(2, 20):
        clip = rand(frames, 1, 1, 24).expand(frames, 25, 24)
        kept = prune_clip(clip, torch.rand(frames, 25), 2, TAU)
        assert kept.keep.flatten().nonzero().flatten().tolist() == [0, 1]


@pytest.mark.parametrize(("n", "k"), [(1, 1), (9, 9), (9, 1), (40, 7), (200, 3)])
def test_dropped_tokens_are_averaged_in_one_after_another(n: int, k: int) -> None:
    states = rand(n, 3, n, 5)
    keep = torch.stack(
        [torch.randperm(n, generator=torch.Generator().manual_seed(b))[:k].sort().values for b in range(3)]
    )
    found = average_in_turn(states, keep)
    for b in range(3):
        values, direction = states[b, keep[b]].clone(), normalize(states[b], dim=-1)
        for i in range(n):
            if i not in keep[b].tolist():
                home = int((direction[keep[b]] @ direction[i]).argmax())
                values[home] = (values[home] + states[b, i]) / 2
        torch.testing.assert_close(found[b], values)
        torch.testing.assert_close(average_in_turn(states[b], keep[b]), found[b])

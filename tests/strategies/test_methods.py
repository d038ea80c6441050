"""The strategies' own arithmetic: CLSE's schedules, its spectral score, merging."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.views import layer_means, make_view, rand
from tokenbench import Attn, Budget, Grid, Stage
from tokenbench_strategies.clse import CLSE, gate, high_frequency, high_pass, stage_keeps, stage_layers
from tokenbench_strategies.fastv import FastV
from tokenbench_strategies.merge import Matching


@pytest.mark.parametrize(
    ("budget", "kept"),
    [("192", [330, 210, 62]), ("128", [220, 140, 41]), ("64", [110, 70, 20]), ("100", [172, 109, 32]),
     ("1/3", [330, 210, 62]), ("2/9", [220, 140, 41]), ("1/9", [110, 70, 20]), ("0.334", [330, 210, 62]),
     ("0.5", [495, 313, 92])],
)  # fmt: skip
def test_clse_keeps_its_published_schedule_and_scales_it_elsewhere(budget: str, kept: list[int]) -> None:
    keeps = stage_keeps(32, Budget.parse(budget).of(576))
    assert [keep if isinstance(keep, int) else int(keep * 576) for keep in keeps] == kept


@pytest.mark.parametrize("depth", [28, 36])
@pytest.mark.parametrize(
    ("budget", "kept"),
    [("0.334", [56, 36, 9]), ("0.112", [19, 12, 3]), ("0.5", [85, 54, 14]), ("30", [51, 32, 8]), ("1", [1, 1, 1])],
)
def test_decoders_of_qwen2_vl_keep_its_shares_in_floating_point(depth: int, budget: str, kept: list[int]) -> None:
    """Of 100 tokens: .57 of them are 56, since the released code multiplies and rounds down in floating point."""
    assert list(stage_keeps(depth, Budget.parse(budget).of(100))) == kept


def test_the_caches_of_clse_are_those_of_the_released_code() -> None:
    assert (CLSE().trims(32), CLSE().trims(28), CLSE().trims(36)) == (True, False, False)
    assert (CLSE(kv="keep").trims(32), CLSE(kv="trim").trims(28)) == (False, True)


@pytest.mark.parametrize(
    ("depth", "layers"), [(32, (1, 11, 21)), (28, (1, 10, 19)), (36, (1, 13, 24)), (12, (1, 4, 8)), (2, (1,))]
)
def test_clse_stages_by_depth(depth: int, layers: tuple[int, ...]) -> None:
    assert stage_layers(depth) == layers


@pytest.mark.parametrize(("depth", "layer"), [(32, 2), (28, 2), (12, 1), (4, 1), (80, 5)])
def test_fastv_scales_its_layer(depth: int, layer: int) -> None:
    (stage,) = FastV().stages(depth, Budget.parse("1/3"))
    assert (stage.layer, stage.attention[0].layer) == (layer, layer - 1)


def test_clse_mean_at_192_is_208_tokens_a_layer() -> None:
    assert layer_means(CLSE(), "192") == 208.0625


def test_a_constant_image_has_no_high_frequency() -> None:
    assert high_frequency(torch.ones(1, 8, 8, 5), 0.1).abs().max() < 1e-5


def test_the_high_pass_is_the_direct_formula() -> None:
    mask = high_pass((6, 8), 0.1)
    for y in range(6):
        for x in range(8):
            r2 = min(y, 6 - y) ** 2 + min(x, 8 - x) ** 2
            assert mask[y, x] == pytest.approx(1 - 2.718281828459045 ** (-r2 / (2 * (0.1 * 3) ** 2)), abs=1e-6)


def test_frames_are_filtered_one_by_one() -> None:
    frames = torch.randn(2, 4, 4, 3)
    both = high_frequency(frames, 0.1)
    single = [high_frequency(frames[i : i + 1], 0.1) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(single))


def volume_strength(clip: torch.Tensor, cutoff: float) -> torch.Tensor:
    """[t, h, w, C] -> [t, h, w] by the sums that define the transform, with signed frequencies in place of shifts."""
    shape = clip.shape[:3]
    waves = []
    for size in shape:
        signed = torch.tensor([f if f < (size + 1) // 2 else f - size for f in range(size)]).double()
        waves.append((signed, torch.exp(-2j * math.pi * signed[:, None] * torch.arange(size) / size)))
    (ft, t), (fy, y), (fx, x) = waves
    spectrum = torch.einsum("at,by,dx,tyxc->abdc", t, y, x, clip.to(torch.complex128))
    squares = ft[:, None, None] ** 2 + fy[None, :, None] ** 2 + fx[None, None, :] ** 2
    width = cutoff * (min(shape) // 2)
    spectrum = spectrum * (1 - torch.exp(-squares / (2 * width**2))).unsqueeze(-1)
    passed = torch.einsum("at,by,dx,abdc->tyxc", t.conj(), y.conj(), x.conj(), spectrum) / math.prod(shape)
    return passed.abs().mean(-1)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 3, 5), (5, 6, 2)])
@pytest.mark.parametrize("cutoff", [0.1, 2.0])
def test_a_clip_may_be_filtered_as_one_volume(shape: tuple[int, int, int], cutoff: float) -> None:
    before, after = rand(0, *shape, 3).double(), rand(1, *shape, 3).double()
    s_ref, s_now = volume_strength(before, cutoff), volume_strength(after, cutoff)
    torch.testing.assert_close(high_frequency(before, cutoff, volume=True), s_ref)
    expected = ((s_now - s_ref).abs() / (s_ref.mean() + s_ref + 1e-6)).clamp(max=1)
    found = CLSE(fft="3d", cutoff=cutoff)._item(before.flatten(0, 2), after.flatten(0, 2), Grid(*shape))
    torch.testing.assert_close(found, expected.flatten())
    by_frame = CLSE(cutoff=cutoff)._item(before.flatten(0, 2), after.flatten(0, 2), Grid(*shape))
    assert not torch.allclose(found, by_frame)


def test_an_image_has_no_volume_and_a_leading_token_no_place_in_one() -> None:
    before, after = rand(0, 24, 3).double(), rand(1, 24, 3).double()
    flat, volume = CLSE(), CLSE(fft="3d")
    assert torch.equal(volume._item(before, after, Grid(1, 4, 6)), flat._item(before, after, Grid(1, 4, 6)))
    led = volume._item(before, after, Grid(3, 1, 7, num_prefix_tokens=1))
    assert led[0] == led[8] == led[16]
    led = volume._item(before[:20], after[:20], Grid(2, 3, 3, num_prefix_tokens=1))
    bare = [i for i in range(20) if i % 10]
    own = volume._item(before[bare], after[bare], Grid(2, 3, 3))
    torch.testing.assert_close(led[bare], own)
    torch.testing.assert_close(led[[0, 10]], own.mean().expand(2))


@pytest.mark.parametrize("fft", ["2d", "3d"])
@pytest.mark.parametrize(
    "grid", [Grid(1, 1, 9), Grid(1, 9, 1), Grid(1, 1, 1), Grid(3, 1, 3), Grid(2, 3, 1, num_prefix_tokens=1)]
)
def test_a_lattice_one_token_wide_gives_finite_scores(grid: Grid, fft: str) -> None:
    clse = CLSE(fft=fft)  # type: ignore[arg-type]
    scores = clse._item(torch.randn(grid.tokens, 4), torch.randn(grid.tokens, 4), grid)
    assert gate(scores, 0.1).isfinite().all()


@given(st.integers(2, 20), st.data())
def test_merging_preserves_the_weighted_sum(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    generator = torch.Generator().manual_seed(n * 31 + k)
    states = torch.randn(n, 3, generator=generator)
    sizes = torch.randint(1, 5, (n,), generator=generator).float()
    keep = torch.randperm(n, generator=generator)[:k].sort().values
    values, merged = Matching().merge(states, sizes, keep)
    torch.testing.assert_close(merged.sum(), sizes.sum())
    torch.testing.assert_close(
        (values * merged[:, None]).sum(0), (states * sizes[:, None]).sum(0), atol=1e-4, rtol=1e-4
    )


def test_a_dropped_token_joins_its_most_similar_kept_one() -> None:
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    values, sizes = Matching().merge(states, torch.ones(3), torch.tensor([0, 1]))
    assert sizes.tolist() == [1, 2]
    assert values.tolist() == [[1, 0], [0, 2]]


def test_the_shifted_lattice_counts_cls_tokens_as_patches_and_keeps_the_last_ones() -> None:
    grid, before, after = Grid(2, 3, 3, num_prefix_tokens=1), torch.randn(20, 4), torch.randn(20, 4)
    own, shifted = CLSE()._item(before, after, grid), CLSE(lattice="shifted")._item(before, after, grid)
    assert own[0] == own[10] == pytest.approx(own[[*range(1, 10), *range(11, 20)]].mean())
    torch.testing.assert_close(shifted[:18], CLSE()._item(before[:18], after[:18], Grid(2, 3, 3)))
    assert not torch.allclose(own[1:10], shifted[1:10])
    stage = Stage(1, 5, hidden=(0, 1), attention=(Attn(0),))
    attention = {Attn(0): torch.rand(2, 1, 20)}
    view = make_view(stage, 20, 5, grids=(grid,), hidden={0: before, 1: after}, attention=attention)
    assert {18, 19} <= set(CLSE(lattice="shifted").select(view).keep.tolist())

"""Methods that read the vision encoder, against what their papers say, written out in loops."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tokenbench
from tests.strategies.views import FakeFrame, make_view, rand
from tests.tiny import BACKBONES, tiny
from tokenbench import Budget, Grid, Selection, Signal, Strategy, UsageError, View
from tokenbench.testing import batched, generate
from tokenbench_strategies.ficoco_v import FiCoCoV, compress
from tokenbench_strategies.hired import HiRED
from tokenbench_strategies.prumerge import PruMerge, find_outliers
from tokenbench_strategies.shares import share_out
from tokenbench_strategies.visionzip import VisionZip
from tokenbench_strategies.vispruner import VisPruner

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda pair: (max(pair), min(pair)))
WEIGHT = rand(99, 3, 4)  # of the projector: 3 channels of the encoder to 4 of the decoder


def seen(strategy: Strategy, n: int, k: int, seed: int, sizes: Sequence[int] = ()) -> View:
    """A view with random signals of one frame, or of several frames of these sizes; its tokens are projected features."""
    (stage,) = strategy.stages(32, Budget.parse("1/3").of(576))
    signals = {}
    for i, signal in enumerate(stage.signals):
        shape = {"keys": (n, 5), "features": (n, 3)}.get(signal.kind, (n,))
        noise = rand(seed + 100 * i, *shape)
        signals[signal] = noise if len(shape) > 1 else noise.mul(2).softmax(0)  # a few stand out
    features = signals.get(Signal("features"), rand(seed, n, 3))
    return make_view(
        stage,
        n,
        k,
        signals=signals,
        grids=tuple(Grid(1, 1, size) for size in sizes or (n,)),
        frames=(FakeFrame(n, WEIGHT),),
        hidden={0: features @ WEIGHT},
    )


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / a.double().norm() / b.double().norm())


def ranking(values: Tensor, among: Sequence[int]) -> list[int]:
    """Highest first."""
    return sorted(among, key=lambda i: -float(values[i]))


def assert_selects(view: View, strategy: Strategy, expected: dict[int, Tensor | None]) -> None:
    """Of every kept token its encoder features, or None where it stays as it is; merging methods choose the order."""
    selection = strategy.select(view)
    if not strategy.merges:
        expected = dict(sorted(expected.items()))
    assert selection.keep.tolist() == list(expected)
    if any(value is not None for value in expected.values()):
        assert selection.values is not None
        for value, (i, features) in zip(selection.values, expected.items(), strict=True):
            torch.testing.assert_close(value, view.hidden[0][i] if features is None else features @ WEIGHT)


def vispruner(view: View, k: int, crop: Sequence[int], share: float = 0.5) -> list[int]:
    """Attention first; then rounds in which the even ones most similar to an odd one go, as in the released code."""
    attention, features = view.signals[Signal("cls", -2)], view.signals[Signal("features")]
    ranked = ranking(attention, crop)
    important, rest = ranked[: int(k * share)], ranked[int(k * share) :]
    missing = k - len(important)
    while missing and len(rest) > missing:
        even, odd = rest[::2], rest[1::2]
        alike = {i: max(cosine(features[i], features[j]) for j in odd) for i in even}
        even.sort(key=lambda i: -alike[i])
        rest = even[min(8, len(rest) - missing) :] + odd
    return important + rest[:missing]


@given(SIZES, st.integers(0, 9))
def test_vispruner_is_attention_and_rounds_of_thinning(size: tuple[int, int], seed: int) -> None:
    n, k = size
    view = seen(VisPruner(), n, k, seed)
    assert_selects(view, VisPruner(), dict.fromkeys(vispruner(view, k, range(n))))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_vispruner_splits_the_budget_as_told(share: float) -> None:
    strategy = VisPruner(important=share)
    view = seen(strategy, 40, 10, 3)
    assert_selects(view, strategy, dict.fromkeys(vispruner(view, 10, range(40), share)))


def test_vispruner_keeps_one_of_two_that_are_alike() -> None:
    view = seen(VisPruner(important=0), 4, 3, 0)
    view.signals = {
        Signal("cls", -2): torch.tensor([0.4, 0.3, 0.2, 0.1]),
        Signal("features"): torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 2, 0.1], [0, 0, 1]]),
    }
    # 0 and 2 are compared with 1 and 3: 2 is like 1.
    assert VisPruner(important=0).select(view).keep.tolist() == [0, 1, 3]


def visionzip(view: View, k: int, crop: Sequence[int]) -> dict[int, Tensor | None]:
    attention, keys, features = (view.signals[signal] for signal in view.stage.signals)
    count = max(1, round(k * 10 / 64)) if k > 1 else 0
    dominant = ranking(attention, crop)[: k - count]
    rest = [i for i in crop if i not in dominant]
    kept: dict[int, Tensor | None] = dict.fromkeys(sorted(dominant))
    if not count:
        return kept
    step = len(rest) // count
    targets = [rest[j * step] for j in range(count)]
    joined: dict[int, list[int]] = {target: [] for target in targets}
    for i in rest:
        if i not in targets:
            joined[max(targets, key=lambda t: cosine(keys[i], keys[t]))].append(i)
    for target, own in joined.items():
        kept[target] = features[target] + (features[own].mean(0) if own else 0)
    return kept


@given(SIZES, st.integers(0, 9))
def test_visionzip_is_dominant_and_contextual_tokens(size: tuple[int, int], seed: int) -> None:
    n, k = size
    view = seen(VisionZip(), n, k, seed)
    assert_selects(view, VisionZip(), visionzip(view, k, range(n)))


@pytest.mark.parametrize(("k", "contextual"), [(64, 10), (128, 20), (192, 30), (3, 1)])
def test_visionzip_splits_as_published(k: int, contextual: int) -> None:
    view = seen(VisionZip(), 576, k, 0)
    selection = VisionZip().select(view)
    assert selection.values is not None
    as_it_was = [
        torch.equal(value, view.hidden[0][i]) for i, value in zip(selection.keep, selection.values, strict=True)
    ]
    assert as_it_was.count(False) == contextual


def evenly(tokens: list[int], count: int) -> list[int]:
    return tokens if count >= len(tokens) else [tokens[int((j + 0.5) * len(tokens) / count)] for j in range(count)]


def prumerge(view: View, k: int, crop: Sequence[int], neighbours: int = 32) -> dict[int, Tensor | None]:
    attention, keys, features = (view.signals[signal] for signal in view.stage.signals)
    values = attention[list(crop)].tolist()
    low, high = (torch.tensor(values).quantile(q).item() for q in (0.25, 0.75))
    found = ranking(attention, [i for i in crop if attention[i] > high + 1.5 * (high - low)])[: max(1, k - 1)]
    missing, step = max(1, k - 1) - len(found), max(1, int(len(crop) / max(1, len(found))) // 3)
    spaced = [crop[j] for j in range(0, len(crop) - 1, step) if crop[j] not in found]
    rest = [i for i in crop if i not in found and i not in spaced]
    sample = evenly(spaced, missing)
    chosen = found + sorted(sample + evenly(rest, missing - len(sample)))
    weight = {i: float(attention[i]) for i in crop}  # shares of the whole attention, [CLS] included
    kept: dict[int, Tensor | None] = {}
    for i in chosen:
        near = sorted((j for j in crop if j != i), key=lambda j: -cosine(keys[i], keys[j]))[:neighbours]
        kept[i] = features[i] + sum(weight[j] * features[j] for j in near)
    if k > 1:
        others = [i for i in crop if i not in chosen]
        kept[ranking(attention, others)[0]] = sum((weight[i] * features[i] for i in others), torch.zeros(3))
    return kept


@given(SIZES, st.integers(0, 9), st.sampled_from([0, 2, 32]))
def test_prumerge_is_outliers_a_sample_and_their_neighbours(size: tuple[int, int], seed: int, neighbours: int) -> None:
    n, k = size
    strategy = PruMerge(neighbours=neighbours)
    view = seen(strategy, n, k, seed)
    assert_selects(view, strategy, prumerge(view, k, range(n), neighbours))


def test_prumerge_keeps_the_highest_of_too_many_outliers() -> None:
    attention = torch.full((20,), 0.01)
    attention[[3, 7, 11, 15]] = torch.tensor([0.3, 0.5, 0.4, 0.2])
    assert find_outliers(attention).nonzero().flatten().tolist() == [3, 7, 11, 15]
    view = seen(PruMerge(), 20, 3, 0)
    view.signals[Signal("cls", -1, "joined")] = attention
    # Two chosen, the higher first, and in the place of the best of the others the sum of these.
    assert PruMerge().select(view).keep.tolist() == [7, 11, 3]


@given(SIZES, st.integers(0, 9))
def test_hired_is_the_attention_of_the_late_layer_on_one_image(size: tuple[int, int], seed: int) -> None:
    n, k = size
    view = seen(HiRED(), n, k, seed)
    assert_selects(view, HiRED(), dict.fromkeys(ranking(view.signals[Signal("cls", -2)], range(n))[:k]))


def test_hired_shares_the_budget_out_by_early_attention() -> None:
    view = seen(HiRED(), 6, 4, 0, sizes=(2, 2, 2))
    view.signals = {
        Signal("cls", 0): torch.tensor([0.8, 0.9, 0.1, 0.1, 0.4, 0.2]),  # 1.7, 0.2 and 0.6 of 2.5
        Signal("cls", -2): torch.tensor([0.1, 0.2, 0.9, 0.8, 0.3, 0.4]),
    }
    view.k = 3  # shares of 2.04, 0.24 and 0.72: the first crop has only two tokens, the others share one by 1 to 3
    assert HiRED().select(view).keep.tolist() == [0, 1, 5]
    view.k = 2  # 1.36, 0.16 and 0.48
    assert HiRED().select(view).keep.tolist() == [1, 5]
    view.k = 5  # 2, and 3 by 1 to 3
    assert HiRED().select(view).keep.tolist() == [0, 1, 2, 4, 5]


CROPS = st.lists(st.integers(1, 9), min_size=2, max_size=4)


@pytest.mark.parametrize(("strategy", "oracle"), [(VisPruner(), vispruner), (VisionZip(), visionzip), (PruMerge(), prumerge)])  # fmt: skip
@given(sizes=CROPS, data=st.data())
def test_every_crop_is_reduced_by_itself(strategy: Strategy, oracle, sizes: list[int], data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    n = sum(sizes)
    k = data.draw(st.integers(1, n))
    view = seen(strategy, n, k, n, sizes)
    expected: dict[int, Tensor | None] = {}
    start = 0
    for size, count in zip(sizes, share_out(k, sizes, sizes), strict=True):
        if count:
            found = oracle(view, count, range(start, start + size))
            expected |= found if isinstance(found, dict) else dict.fromkeys(found)
        start += size
    assert_selects(view, strategy, expected)


@pytest.mark.parametrize("strategy", [VisPruner(), HiRED()])
def test_crops_are_known_in_later_stages_too(strategy: Strategy) -> None:
    whole = seen(strategy, 12, 4, 5, sizes=(6, 6))
    alive = torch.tensor([0, 2, 3, 7, 8, 9, 11])
    later = make_view(whole.stage, 7, 4, n0=12, alive=alive, grids=whole.grids, index=1)
    later.signals = {signal: value[alive] for signal, value in whole.signals.items()}
    kept = alive[strategy.select(later).keep]
    assert len(kept) == 4
    assert {int(i) // 6 for i in kept} == {0, 1}


@given(st.integers(2, 14), st.integers(0, 9), st.data())
def test_ficoco_compresses_by_weights_of_the_most_attended(m: int, seed: int, data: st.DataObject) -> None:
    gone = sorted(data.draw(st.sets(st.integers(0, m - 1), min_size=1, max_size=m - 1)))
    kept = [i for i in range(m) if i not in gone]
    states, rows = rand(seed, m, 2, 3), rand(seed + 1, m, m)
    sizes = torch.randint(1, 5, (m,), generator=torch.Generator().manual_seed(seed)).float()
    rows[gone[0], kept[:1]] = -torch.inf
    if len(gone) > 1:
        rows[gone[1], kept] = -torch.inf  # alone in its window
    totals = {j: float(sizes[j]) for j in kept}
    sums = {j: states[j] * sizes[j] for j in kept}
    for i in gone:
        products = {j: float(rows[i, j]) for j in kept if rows[i, j].isfinite()}
        if not products:
            continue
        # So few are kept that the .998 quantile lies between the highest and the second.
        target = max(products, key=lambda j: products[j])
        totals[target] += float(sizes[i])
        sums[target] = sums[target] + states[i] * sizes[i]
    values, merged = compress(states, sizes, rows, torch.tensor(gone), torch.tensor(kept))
    torch.testing.assert_close(merged, torch.tensor([totals[j] for j in kept]))
    torch.testing.assert_close(values, torch.stack([sums[j] / totals[j] for j in kept]))


def test_ficoco_spreads_a_token_over_several_when_many_are_kept() -> None:
    m = 1003  # 1002 are kept: of so many the .998 quantile leaves three above it
    rows = torch.zeros(m, m)
    rows[0, [5, 6, 7]] = torch.tensor([3.0, 2.0, 1.0])
    states = torch.zeros(m, 1, 1)
    states[0] = 1
    values, sizes = compress(states, torch.ones(m), rows, torch.tensor([0]), torch.arange(1, m))
    total = exp(3) + exp(2) + exp(1)
    share = {5: exp(3) / total, 6: exp(2) / total, 7: exp(1) / total}
    for j in (4, 5, 6, 7, 8):
        assert float(sizes[j - 1]) == pytest.approx(1 + share.get(j, 0))
        assert float(values[j - 1]) == pytest.approx(share.get(j, 0) / (1 + share.get(j, 0)))


def ficoco(frame: FakeFrame, grid: Grid, count: int, beta: float = 0.35) -> dict[int, Tensor]:
    """Every token's features, by ordinal, after equal merges in all layers; each token that goes joins one other."""
    assert frame.states is not None
    states = {i: frame.states[i] for i in range(frame.tokens)}
    sizes = dict.fromkeys(states, 1.0)
    for number, products in enumerate(frame.layers, 1):
        states = {i: 2 * state for i, state in states.items()}
        patches = [i for i in states if i >= grid.num_prefix_tokens]
        cls = {i: float(products[0, i]) for i in patches}
        mean = {i: sum(float(products[1 + i, j]) for j in states) / len(states) for i in patches}
        norms = [sqrt(sum(value**2 for value in values.values())) for values in (cls, mean)]
        score = {i: beta * cls[i] / norms[0] - (1 - beta) * mean[i] / norms[1] for i in patches}
        windows: dict[tuple[int, int], list[int]] = {}
        for i in patches:
            y, x = divmod(i - grid.num_prefix_tokens, grid.w)
            windows.setdefault((y // 2, x // 2), []).append(i)
        for own in windows.values():
            lowest = min(own, key=lambda i: score[i])
            score[lowest] *= 0.5 if score[lowest] > 0 else 2
        left = frame.tokens - int((frame.tokens - count) * number / len(frame.layers))
        gone = sorted(patches, key=lambda i: score[i])[: len(states) - left]
        kept = [i for i in states if i not in gone]
        sums = {j: states[j] * sizes[j] for j in kept}
        totals = {j: sizes[j] for j in kept}
        for i in gone:
            target = max(kept, key=lambda j: float(products[1 + i, j]))
            sums[target] = sums[target] + states[i] * sizes[i]
            totals[target] += sizes[i]
        states, sizes = {j: sums[j] / totals[j] for j in kept}, totals
    return states


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1), st.integers(1, 3), st.integers(0, 9), st.data())
def test_ficoco_is_filter_correlate_compress(
    h: int, w: int, lead: int, layers: int, seed: int, data: st.DataObject
) -> None:
    grid = Grid(1, h, w, lead)
    n = grid.tokens
    count = data.draw(st.integers(1, n))
    products = tuple(rand(seed + 10 * i, 1 + n, n) for i in range(layers))
    frame = FakeFrame(n, WEIGHT, states=rand(seed, n, 3), layers=products)
    strategy = FiCoCoV()
    (stage,) = strategy.stages(32, Budget.parse(str(count)).of(n))
    view = make_view(stage, n, count, grids=(grid,), frames=(frame,), hidden={0: torch.zeros(n, 4)})
    expected = ficoco(frame, grid, count)
    assert not lead or 0 in expected
    assert_selects(view, strategy, dict(expected))


def test_ficoco_shares_the_budget_among_frames() -> None:
    frames = tuple(
        FakeFrame(9, WEIGHT, states=rand(i, 9, 3), layers=(rand(i + 5, 10, 9), rand(i + 7, 10, 9))) for i in range(2)
    )
    view = make_view(FiCoCoV().stage(0, 7, 0), 18, 7, grids=(Grid(2, 3, 3),), frames=frames)
    first, second = ficoco(frames[0], Grid(1, 3, 3), 4), ficoco(frames[1], Grid(1, 3, 3), 3)
    selection = FiCoCoV().select(view)
    assert selection.keep.tolist() == [*sorted(first), *(9 + i for i in sorted(second))]


@pytest.mark.parametrize("name", ["visionzip", "prumerge", "ficoco-v", "downsample"])
def test_projected_features_have_no_place_inside_the_decoder(name: str) -> None:
    model, _ = tiny("llava")
    with (
        pytest.raises(UsageError, match="before layer 0, not before layer 1"),
        tokenbench.pruned(model, f"{name}@fastv"),
    ):
        pass


NAMES = ["vispruner", "visionzip", "prumerge", "hired", "ficoco-v"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("budget", [1, 2, 7, 999])
def test_every_budget_can_be_spent_on_every_backbone(backbone: str, budget: int) -> None:
    model, prompts = tiny(backbone)
    for name in NAMES:
        with tokenbench.pruned(model, name, budget) as pruning:
            generate(model, batched(prompts), tokens=1)
        for row in pruning.rows:
            assert row.tokens_per_layer == [min(budget, row.visual)] * row.depth


class Seeing(FiCoCoV):
    """Keeps everything in two ways: by running the encoder again, and as it is."""

    def select(self, view: View) -> Selection:
        again = super().select(view)
        assert again.values is not None
        torch.testing.assert_close(again.values, view.hidden[0], atol=2e-5, rtol=1e-4)
        return again

    def stage(self, layer: int, keep, index: int):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        return replace(super().stage(layer, keep, index), hidden=(0,))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_ficoco_without_anything_to_merge_is_the_stock_encoder(backbone: str) -> None:
    model, prompts = tiny(backbone)
    with tokenbench.pruned(model, Seeing(), 999):
        generate(model, batched(prompts), tokens=1)

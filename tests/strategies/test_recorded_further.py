"""Further methods keep what their released code keeps. Cases are named SEED-SETTING and share the inputs of their seed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.strategies.recorded import DATA, made
from tests.strategies.views import make_view
from tokenbench import Attn, Grid, Selection, Signal, Stage, Strategy
from tokenbench_strategies.framefusion import MERGE, PRUNE, REST


@cache
def arrays(method: str) -> dict[str, np.ndarray]:
    path = DATA / f"{method}.npz"
    if not path.exists():  # nothing was released
        return {}
    with np.load(path) as file:
        return dict(file)


class Recorded:
    """The arrays of one case, or of its seed."""

    def __init__(self, method: str, name: str) -> None:
        self.method, self.name = method, name

    def __getitem__(self, key: str) -> Tensor:
        held = arrays(self.method)
        found = held.get(f"{self.name}/{key}")
        tensor = torch.from_numpy(np.ascontiguousarray(held[f"{self.name[:2]}/{key}"] if found is None else found))
        return tensor.float() if tensor.dtype == torch.float16 else tensor

    def __str__(self) -> str:
        return f"{self.method}-{self.name}"


def named(method: str, bare: bool = False) -> list[str]:
    return [name for name in dict.fromkeys(key.rsplit("/", 1)[0] for key in arrays(method)) if bare or "-" in name]


def of(method: str, *ends: str, without: str = "\n", bare: bool = False) -> Any:
    """The cases of a method; with `bare`, a seed by itself is one."""
    names = [n for n in named(method, bare) if n.endswith(ends or "") and without not in n]
    return pytest.mark.parametrize("case", [Recorded(method, name) for name in names], ids=str)


def run(
    strategy: Strategy, k: int, n: int, keep: Any = None, index: int = 0, depth: int = 32, **shown: Any
) -> Selection:
    """The selection of a stage that keeps k; `shown` holds states by depth and signals by kind and layer."""
    layer, _ = strategy.schedule(depth, _budget(k).of(n))[index]
    stage = strategy.stage(layer, k if keep is None else keep, index)
    return strategy.select(make_view(stage, n, k, index=index, **shown))


def _budget(k: int) -> Any:
    from tokenbench import Budget

    return Budget.parse(k)


def kept(selection: Selection) -> list[int]:
    return selection.keep.sort().values.tolist()


@of("evs")
def test_evs(case: Recorded) -> None:
    """The released count is that of the schedule, or all tokens of the first frame, for which the budget is raised."""
    from fractions import Fraction

    from tokenbench import Budget

    states, frames = case["projected"], int(case["frames"])
    n, share = len(states), 1 - float(case["q"])
    ((_, planned),) = made("evs").schedule(32, Budget("", share=Fraction(str(round(share, 6)))).of(n))
    k = max(n // frames, int(planned))
    selection = run(made("evs"), k, n, hidden={0: states}, grids=(Grid(frames, 8, n // frames // 8),))
    assert kept(selection) == case["kept"].tolist()


@of("vidcom2")
def test_vidcom2(case: Recorded) -> None:
    from tokenbench_strategies.vidcom2 import pick_by_frame, rate_tokens

    states, frames, share = case["projected"], int(case["frames"]), float(case["ratio"])
    n = len(states)
    selection = run(made("vidcom2"), int(n * share), n, keep=share, hidden={0: states}, grids=(Grid(frames, 8, 8),))
    assert kept(selection) == case["kept_exact"].tolist()
    authors = pick_by_frame(*rate_tokens(states.unflatten(0, (frames, -1))), share)
    assert authors.flatten().nonzero().flatten().tolist() == case["kept"].tolist()


@of("cdpruner")
def test_cdpruner(case: Recorded) -> None:
    """The released choice, given the relevance of the released LLaVA code, which reads CLIP's text encoder."""
    from torch.nn.functional import cosine_similarity

    from tokenbench_strategies.cdpruner import pick_by_determinant, scale_relevance

    texts = case["text_embeds"]
    relevance = -cosine_similarity(case["image_embeds"].unsqueeze(1), texts.unsqueeze(0), dim=-1).mean(1)
    chosen = pick_by_determinant(case["projected"], scale_relevance(relevance), int(case["k"]))
    assert chosen.sort().values.tolist() == case["kept"].tolist()


@of("holov")
def test_holov(case: Recorded) -> None:
    attention, k, crops = case["cls_attention"], int(case["k"]), int(case["crops"])
    strategy = made("holov", crops=0 if "qwen" in case.name else crops)
    selection = run(strategy, k, len(attention), signals={Signal("cls", -2): attention})
    assert selection.keep.tolist() == case["order"].tolist()


@of("scope")
def test_scope(case: Recorded) -> None:
    from tokenbench_strategies.scope import pick_by_coverage

    features, attention, k = case["features"], case["cls_attention_sum"], int(case["k"])
    signals = {Signal("cls", -2): attention, Signal("features"): features}
    assert kept(run(made("scope"), k, len(features), signals=signals)) == case["kept"].tolist()
    assert pick_by_coverage(features, attention, k).tolist() == case["order"].tolist()


@of("v2drop")
def test_v2drop(case: Recorded) -> None:
    before, now = case["before"], case["now"]
    index = [3, 17, 22].index(int(case.name[3:]))
    hidden = dict(zip(range([2, 16, 21][index], 99), (before, now), strict=False))
    selection = run(made("v2drop"), len(case["kept"]), len(now), index=index, hidden=hidden)
    assert kept(selection) == case["kept"].tolist()


@of("vscan", "qwen")
def test_vscan_on_qwen(case: Recorded) -> None:
    states, k, strategy = case["projected"], int(case["k"]), made("vscan", form="qwen")
    stage = strategy.stage(0, k, 0)
    assert [signal.layer_of(32) for signal in stage.signals] == [7, 31]
    signals = dict(zip(stage.signals, (case["received_first_full"], case["received_last"]), strict=True))
    grid = Grid(1, *case["grid"].tolist())
    selection = strategy.select(make_view(stage, len(states), k, grids=(grid,), hidden={0: states}, signals=signals))
    assert selection.keep.tolist() == case["kept"].tolist()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)


@of("vscan", without="qwen")
def test_vscan(case: Recorded) -> None:
    states, k = case["projected"], int(case["k"])
    strategy = made("vscan")
    (_, first), _ = strategy.schedule(32, _budget(round(k / 1.5)).of(576))
    assert first == k
    local, overall = strategy.stage(0, k, 0).signals
    assert (local.layer_of(24), overall.layer_of(24)) == (5, 22)
    signals = {local: case["cls_attention_5"], overall: case["cls_attention_22"]}
    selection = strategy.select(
        make_view(strategy.stage(0, k, 0), 576, k, grids=(Grid(1, 24, 24),), hidden={0: states}, signals=signals)
    )
    assert selection.keep.tolist() == case["kept"].tolist()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)


@of("dycoke")
def test_dycoke(case: Recorded) -> None:
    states, places = case["projected"], int(case["per_frame"])
    frames = int(case.name.split("-")[1])
    states = states[: frames * places]
    selection = run(made("dycoke"), len(case["order"]), len(states), hidden={0: states}, grids=(Grid(frames, 7, 7),))
    assert selection.keep.tolist() == case["order"].tolist()


@of("sparsevlm-plus")
def test_sparsevlm_plus(case: Recorded) -> None:
    inverse, places = case["inv_freq"], case["visual_positions"]

    def rotary(positions: Tensor) -> tuple[Tensor, Tensor]:
        angles = (positions[0].unsqueeze(1) * inverse).repeat(1, 2)
        return angles.cos(), angles.sin()

    budget, after = case.name.split("-")[1:]
    strategy = made("sparsevlm-plus")
    index = ["2", "6", "15"].index(after)
    assert strategy.schedule(32, _budget(int(budget)).of(576))[index] == (int(after) + 1, int(case["k"]))
    stage = strategy.stage(int(after) + 1, int(case["k"]), index)
    raters = torch.zeros(len(case["question_positions"]), dtype=torch.bool)
    raters[case["raters"]] = True
    view = make_view(stage, len(places), int(case["k"]), n0=576, index=index, rotary=rotary,
                     attention={Attn(int(after), "question"): case["attention"]}, positions=places[None],
                     text_positions=case["question_positions"][None], memo={"raters": raters})  # fmt: skip
    assert kept(strategy.select(view)) == case["kept"].tolist()


@of("fastvid")
def test_fastvid(case: Recorded) -> None:
    """Given the pooled vectors and the attention of SigLIP's head, which the released code reads."""
    from tokenbench_strategies.fastvid import cut_segments, prune_clip
    from tokenbench_strategies.frames import join_clips

    clip = case["projected"]
    segments = cut_segments(case["pooled"], int(case["c"]), float(case["tau"]))
    assert segments.bincount().tolist() == case["segments"].tolist()
    q = int(clip.shape[1] * float(case["ratio"]))
    pruned = prune_clip(clip, case["head_attention"], segments, q)
    at = torch.arange(clip.shape[:2].numel()).view(clip.shape[:2])
    view = make_view(Stage(0, 1.0), at.numel(), at.numel())
    selection = join_clips(view, clip.flatten(0, 1), [(at, pruned)]).to_indices()
    assert selection.keep.tolist() == case["kept"].tolist()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)


@of("holitom", without="inner")
def test_holitom(case: Recorded) -> None:
    clip, attention = case["projected"], case["received"]
    frames, places = clip.shape[:2]
    strategy = made("holitom", tau=float(case["tau"]))
    n, k = frames * places, len(case["source"])
    selection = run(strategy, k, n, hidden={0: clip.flatten(0, 1)}, grids=(Grid(frames, 8, 8),),
                    signals={Signal("received", -1): attention.flatten()}).to_indices()  # fmt: skip
    assert selection.keep.tolist() == case["source"].tolist()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)


@of("mmtok")
def test_mmtok(case: Recorded) -> None:
    from tokenbench_strategies.mmtok import pick_for_text_and_image

    words, states, features, k = case["text"], case["projected"], case["features"], int(case["k"])
    assert made("mmtok").heat == float(case["tv"])
    seen = {"hidden": {0: states}, "text": {0: words}, "signals": {Signal("features"): features}}
    assert kept(run(made("mmtok"), k, len(states), **seen)) == case["kept"].tolist()
    asked = {"phrases": words}
    assert kept(run(made("mmtok"), k, len(states), **seen | {"text": {0: -words}} | asked)) == case["kept"].tolist()
    assert len(set(pick_for_text_and_image(words, states, features, k).tolist())) == k


@pytest.mark.parametrize(
    ("question", "words"),
    [("What is the color of the dog on the left?", "color of dog on left"), ("Who is he?", "Who is he?")],
)
def test_the_key_words_of_mmtok(question: str, words: str) -> None:
    """Both as the released filter leaves them."""
    from tokenbench_strategies.words import key_words

    assert " ".join(key_words(question)) == words


@of("holitom", "inner")
def test_holitom_inside_the_decoder(case: Recorded) -> None:
    states, row, drop = case["hidden"], case["last_row"], float(case["drop"])
    strategy = made("holitom", inner=drop)
    (_, outer), (layer, inner) = strategy.schedule(28, _budget(len(states)).of(960))
    assert (outer, layer, inner) == (120, 18, 60)
    stage = strategy.stage(layer, inner, 1)
    view = make_view(stage, len(states), 60, index=1, hidden={layer: states}, attention={Attn(17): row[None, None]})
    selection = strategy.select(view)
    assert kept(selection) == case["kept"].tolist()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)


@of("prunevid", bare=True)
def test_prunevid(case: Recorded) -> None:
    """The merged tokens in their order, by segment and set, and what the question keeps of them."""
    from tokenbench_strategies.prunevid import find_segments

    clip, strategy = case["projected"], made("prunevid")
    frames, places = clip.shape[:2]
    n, grids = frames * places, (Grid(frames, 8, 8),)
    (_, everything), (layer, _) = strategy.schedule(32, _budget(100).of(n))
    assert (everything, layer) == (1.0, 11)
    assert find_segments(clip.mean(1)).bincount().tolist() == case["segments"].tolist()
    view = make_view(strategy.stage(0, 1.0, 0), n, n, hidden={0: clip.flatten(0, 1)}, grids=grids)
    selection = strategy.select(view).to_indices()
    assert selection.values is not None
    torch.testing.assert_close(selection.values, case["values"], atol=1e-4, rtol=0)
    # Of every frame, static tokens and others; a set has the number of its first token twice, and one more if it is not static.
    counts = view.memo["sets"][selection.keep].bincount(minlength=2 * n).view(frames, -1)[:, :2].tolist()
    for length, static, dynamic in zip(case["segments"], case["static"], case["dynamic"], strict=True):
        own, counts = counts[: int(length)], counts[int(length) :]
        assert [sum(kind) for kind in zip(*own, strict=True)] == [int(static), int(dynamic)]
        assert not any(still for still, _ in own[1:])
    k, m = len(case["kept"]), len(selection.keep)
    later = make_view(strategy.stage(layer, k, 1), m, k, n0=n, index=1, alive=selection.keep, memo=view.memo,
                      attention={Attn(layer - 1, "question"): case["attention"]})  # fmt: skip
    assert kept(strategy.select(later).to_indices()) == case["kept"].tolist()


@of("framefusion", without="prune")
def test_framefusion_merges(case: Recorded) -> None:
    """The first step, before which nothing has been spent."""
    states, cost = case["hidden"], float(case["cost"])
    strategy = made("framefusion", low=float(case["low"]))
    n, places = len(states), int(case["patches"])
    order = torch.arange(n).view(-1, places)
    assert case["place"].view(-1, places).tolist() == (order % places).tolist()
    (_, keep), *_ = strategy.schedule(28, _budget(str(cost)).of(n))
    view = make_view(strategy.stage(0, keep, 0), n, n, hidden={0: states}, grids=(Grid(n // places, 6, places // 6),))
    selection = strategy.select(view).to_indices()
    assert selection.keep.tolist() == case["kept"].tolist()
    values = states[selection.keep] if selection.values is None else selection.values
    torch.testing.assert_close(values, case["values"], atol=1e-4, rtol=0)
    done = {(False, False): MERGE, (True, False): PRUNE, (True, True): REST}
    assert int(view.memo["next"]) == done[bool(case["merging_done"]), bool(case["pruning_done"])]


@of("framefusion", "prune")
def test_framefusion_prunes(case: Recorded) -> None:
    row, alive, strategy = case["row"], case["alive"].long(), made("framefusion")
    left, spent = 1.0, []
    for sparsity in case["sparsity"].tolist():
        left *= 1 - sparsity
        spent.append(left)
    stages = strategy.schedule(28, _budget(str(float(case["cost"]))).of(360))
    stage = strategy.stage(*stages[len(spent)], len(spent))
    view = make_view(stage, len(row), len(row), n0=360, index=len(spent), alive=alive, attention={Attn(len(spent) - 1): row[None, None]},
                     memo={"spent": torch.tensor([sum(spent)], dtype=torch.float64), "next": torch.tensor([PRUNE])})  # fmt: skip
    assert alive[strategy.select(view).keep].tolist() == case["kept"].tolist()

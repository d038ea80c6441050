"""Methods that read the vision encoder, or merge before the decoder, keep and make what their released code does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.strategies.recorded import Case, assert_keeps, cases, made, seen, stages
from tests.strategies.views import FakeFrame, make_view
from tokenbench import Grid, Selection, Signal, Strategy
from tokenbench.engine.attention_tap import Attended
from tokenbench_strategies.ficoco_released import fresh_memory, score_released


def by_case(*found: Case) -> Any:
    return pytest.mark.parametrize("case", found, ids=str)


def select(strategy: Strategy, case: Case, features: Tensor, signals: dict[str, Tensor], **shown: Any) -> Selection:
    """The selection before the decoder, where the projector changes nothing: `signals` by kind, or by kind and layer."""
    n = len(features)
    (stage,) = stages(strategy, case, n)
    assert stage.keep is None or [[seen(stage, n).k, case.facts.get("depth", 32)]] == case.facts["tokens"]

    def signal(request: Signal) -> Tensor:
        exact = f"{request.kind}{request.layer}"
        return features if request.kind == "features" else signals.get(exact, signals.get(request.kind))  # type: ignore[return-value]

    frame = FakeFrame(n, torch.eye(features.shape[1]), cls=shown.pop("cls", None))
    return strategy.select(
        seen(stage, n, grids=shown.pop("grids", (case.grid,)), frames=(frame,), hidden={0: features},
             signals={request: signal(request) for request in stage.signals}, **shown)
    )  # fmt: skip


def close(ours: Tensor, recorded: Tensor, atol: float = 1e-4) -> None:
    torch.testing.assert_close(ours.float(), recorded.float(), atol=atol, rtol=0)


@by_case(*cases("visionzip", "no-cls"))
def test_visionzip(case: Case) -> None:
    """Without the [CLS] token, for which stock LLaVA has no place."""
    attention, keys, features = case["cls_attention"].mean(0)[1:], case["keys"][1:], case["features"][1:]
    selection = select(made("visionzip"), case, features, {"cls": attention, "keys": keys})
    assert selection.keep.tolist() == case["order"].tolist()
    assert selection.values is not None
    dominant = case.facts["dominant"]
    close(selection.values[:dominant], features[selection.keep[:dominant]], atol=0)
    close(selection.values[dominant:], case["contextual"])


@by_case(*cases("visionzip", "released"))
def test_visionzip_with_cls(case: Case) -> None:
    """The [CLS] token, which the recorded indices count as 0, stands in the place of a token that was dropped."""
    attention, keys, features = case["cls_attention"].mean(0)[1:], case["keys"][1:], case["features"]
    signals = {"cls": attention, "keys": keys}
    selection = select(made("visionzip", released=True), case, features[1:], signals, cls=features[0])
    kept = selection.keep.tolist()
    assert [0, *(token + 1 for token in kept[1:])] == case["order"].tolist()
    assert kept[0] + 1 not in case.kept()
    assert selection.values is not None
    contextual = len(case["contextual"])
    close(selection.values[:-contextual], features[case["order"].long()[:-contextual]], atol=0)
    close(selection.values[-contextual:], case["contextual"])


@by_case(*cases("divprune"))
def test_divprune(case: Case) -> None:
    selection = select(made("divprune"), case, case["hidden"], {})
    assert_keeps(selection, case)


def prumerge_signals(case: Case) -> dict[str, Tensor]:
    heads, keys = case.facts["heads"], case["keys"]
    by_head = [part.unflatten(1, (heads, -1)).transpose(0, 1)[None] for part in (case["query"][None], keys)]
    joined = Attended(by_head[0], by_head[1], 1.0).join_heads()
    attention = joined.products(slice(None)).softmax(-1)[0, 0, 0, 1:]
    close(attention, case["attention"], atol=1e-6)
    return {"cls": attention, "keys": keys[1:]}


@by_case(*cases("prumerge"))
@pytest.mark.parametrize("name", ["prumerge", "prumerge-adaptive"])
def test_prumerge(name: str, case: Case) -> None:
    """Held to the released count, and by its own count, which must be the same."""
    selection = select(made(name), case, case["features"], prumerge_signals(case)).to_indices()
    assert selection.keep[:-1].tolist() == case["order"].tolist()
    assert selection.values is not None
    close(selection.values, case["values"])


@by_case(*(case for case in cases("hired") if case.facts["crops"] == 1))
def test_hired(case: Case) -> None:
    late = case["late"].sum(0)[1:]
    assert_keeps(select(made("hired"), case, torch.zeros(len(late), 1), {"cls": late}), case)


@by_case(*(case for case in cases("hired") if case.facts["crops"] > 1))
@pytest.mark.parametrize("full", ["first", "last"])
def test_hired_with_crops(case: Case, full: str) -> None:
    """The released code has the full image first; last, as InternVL has it, the same tokens stay."""
    crops = case.facts["crops"]
    order = list(range(crops)) if full == "first" else [*range(1, crops), 0]
    early, late = (case[name].sum(1)[order, 1:].flatten() for name in ("early", "late"))
    n = len(late)
    (stage,) = stages(made("hired", full=full), case, n)
    signals = {Signal("cls", 0): early, Signal("cls", -2): late}
    view = seen(stage, n, grids=(Grid(1, 24, 24),) * crops, signals=signals)
    kept = made("hired", full=full).select(view).keep
    each = n // crops
    back = torch.tensor(order)[kept // each] * each + kept % each
    assert back.sort().values.tolist() == case.kept()


@by_case(*cases("vispruner"))
def test_vispruner(case: Case) -> None:
    attention = case["cls_attention"].mean(0)
    assert_keeps(select(made("vispruner"), case, case["features"], {"cls": attention}), case)


@by_case(*cases("tome"))
def test_tome(case: Case) -> None:
    selection = select(made("tome"), case, case["hidden"], {})
    assert selection.values is not None
    gaps = torch.cdist(selection.values.double(), case["values"].double())
    assert gaps.min(1).values.max() < 1e-4
    assert gaps.min(0).values.max() < 1e-4


@by_case(*cases("ficoco-v", "paper"))
def test_ficoco_v(case: Case) -> None:
    """The paper's method in its first layer; products are exact integers times 2^-20."""
    queries, keys = case["queries"][0].double(), case["keys"][0].double()
    products = (queries @ keys.T * 2.0 ** case.facts["scale_exponent"]).float()[:, 1:]
    frame = FakeFrame(576, torch.eye(8), states=case["states"][1:] / 2, layers=(products,))  # a fake layer doubles them
    strategy = made("ficoco-v")
    (stage,) = stages(strategy, case, 576)
    selection = strategy.select(seen(stage, 576, grids=(case.grid,), frames=(frame,)))
    assert_keeps(selection, case)
    assert selection.values is not None
    close(selection.values, case["values"])


def products_of(case: Case, layer: int) -> Tensor:
    """[577, 577] exact products of all original tokens, the [CLS] first."""
    queries, keys = case["queries"][layer].double(), case["keys"][layer].double()
    return (queries @ keys.T * 2.0 ** case.facts["scale_exponent"]).float()


@by_case(*cases("ficoco-v", "released"))
def test_ficoco_v_as_released(case: Case) -> None:
    """All eleven layers: tokens in the released order and their values. The [CLS] has the place of a dropped patch."""
    layers = tuple(products_of(case, layer) for layer in range(case.facts["layers"]))
    states = case["states"] / 2 ** len(layers)  # a fake layer doubles them
    frame = FakeFrame(576, torch.eye(8), states=states, layers=layers)
    strategy = made("ficoco-v", released=True)
    view = make_view(strategy.stage(0, 114, 0), 576, case.facts["reach_decoder"], grids=(case.grid,), frames=(frame,))
    selection = strategy.select(view)
    recorded = case["order"].tolist()
    kept = [token + 1 for token in selection.keep.tolist()]
    assert [token for token, right in zip(kept, recorded, strict=True) if right] == [t for t in recorded if t]
    assert 0 not in recorded or kept[recorded.index(0)] not in recorded
    assert selection.values is not None
    close(selection.values, case["values"])


@by_case(*cases("ficoco-v", "second-image"))
def test_the_released_ficoco_v_remembers_the_image_before(case: Case) -> None:
    """Given the memory that an image leaves behind, the next one is as recorded; the strategy begins every image anew."""
    before = Case("ficoco-v", case.facts["after"] + "-released")
    memory, order = fresh_memory(576), torch.arange(577)
    for layer in range(before.facts["layers"]):
        products = products_of(before, layer)[order][:, order]
        order = order[score_released(products, memory, 0.35).argsort(stable=True)][42:]
        assert order.tolist() == before[f"order_{layer + 1}"].tolist()
    ranked = score_released(products_of(case, 0), memory, 0.35).argsort(stable=True)
    assert ranked[:42].tolist() == case["gone_1"].tolist()
    assert ranked[42:].tolist() == case["order_1"].tolist()

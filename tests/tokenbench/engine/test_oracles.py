"""What the kit does not ask: other strategies' requests, beams, resumed caches, attention itself, unlike plans in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from tests.tiny import BACKBONES, STRATEGIES, spread, tiny
from tokenbench import Attn, Budget, OwnLayerAttn, Selection, Stage, Strategy, UsageError, View
from tokenbench.contract.stage import Queries
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt, batched, check_strategy, generate, logits, masked

ALL = pytest.mark.parametrize("backbone", BACKBONES)


class Compact(Strategy):
    """Every other token before the LLM, positions renumbered."""

    positions: ClassVar[Any] = "compact"

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(0, 0.5)]

    def score(self, view: View) -> Tensor:
        return (view.alive % 2 == 0).float()


class Peek(Strategy):
    """PDrop-like: ranks by the attention of the very layer it prunes before, twice."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(layer, keep, attention=(OwnLayerAttn(layer),)) for layer, keep in ((2, 0.5), (4, 0.25))]

    def score(self, view: View) -> Tensor:
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)


def run(model: Any, strategy: str | Strategy, prompts: Sequence[Prompt], **options: Any) -> tuple[Any, list[RowTrace]]:
    with tokenbench.pruned(model, strategy, "1/3") as pruning:
        output = generate(model, batched(prompts), **options)
    return output, pruning.prefills[0]


def close(a: Tensor, b: Tensor, atol: float = 2e-5, rtol: float = 1e-4) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=rtol)


@ALL
def test_a_strategy_may_peek_at_the_layer_it_prunes_before(backbone: str) -> None:
    check_strategy(Peek(), tiny(backbone))


@ALL
def test_rows_of_one_batch_may_run_different_strategies(backbone: str) -> None:
    model, prompts = tiny(backbone)
    names = [("clse", "1/3"), ("fastv", "1/9"), ("clse-m", "2/9")]
    plans = [RowPlan.make(registry().get("strategies", name)(), Budget.parse(budget), 6) for name, budget in names]
    with attach(model, backbone_for(model, registry()), plans) as pruner:
        together = generate(model, batched(prompts))
    for b, ((name, budget), prompt) in enumerate(zip(names, prompts, strict=True)):
        with tokenbench.pruned(model, name, budget) as alone:
            output = generate(model, batched([prompt]))
        assert pruner.rows[b].kept == alone.rows[0].kept
        close(logits(together)[:, b], logits(output)[:, 0])


def test_compact_positions_before_the_llm_equal_stock_on_the_shortened_prompt() -> None:
    model, prompts = tiny("llava")
    inputs = batched(prompts[:1])
    output, (row,) = run(model, Compact(), prompts[:1])
    with torch.no_grad():
        features = torch.cat(model.get_image_features(inputs["pixel_values"]).pooler_output)
        ids = inputs["input_ids"][0]
        embeds = model.get_input_embeddings()(ids).clone()
        columns = (ids == model.config.image_token_id).nonzero().flatten()
        embeds[columns] = features
        left = torch.ones(len(ids), dtype=torch.bool)
        left[columns] = False
        left[columns[row.stages[0][1]]] = True
        short = generate(model, {"inputs_embeds": embeds[left][None]})
    close(logits(output), logits(short))
    uncached, _ = run(model, Compact(), prompts[:1], use_cache=False)
    close(logits(output), logits(uncached))


@ALL
def test_positions_of_several_parts_stay_when_a_strategy_asks_for_compact_ones(backbone: str) -> None:
    model, prompts = tiny(backbone)
    together, _ = run(model, Compact(), prompts)
    for b, prompt in enumerate(prompts):
        alone, _ = run(model, Compact(), [prompt])
        close(logits(together)[:, b], logits(alone)[:, 0])


@ALL
def test_the_tap_equals_eager_attention(backbone: str) -> None:
    """Queries of every kind, on a left-padded batch with grouped keys, from SDPA and from eager itself."""
    seen: dict[str, list[dict[Attn, Tensor]]] = {"sdpa": [], "eager": []}

    class Look(Strategy):
        into: str

        def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
            kinds: tuple[Queries, ...] = ("last", "null", "question", "question[:-1]")
            return [Stage(5, 1.0, attention=tuple(Attn(layer, kind) for layer in range(5) for kind in kinds))]

        def score(self, view: View) -> Tensor:
            seen[self.into].append(dict(view.attention))
            return view.alive.float()

    for name in seen:
        model, prompts = tiny(backbone, name)
        run(model, Look(into=name), prompts, tokens=1)
    inputs = batched(prompts)
    visual = backbone_for(model, registry()).visual(model, inputs["input_ids"])
    with torch.no_grad():
        stock = model(**inputs, output_attentions=True).attentions
    for b, ids in enumerate(inputs["input_ids"]):
        columns = visual[b].nonzero().flatten()
        after = int(columns[-1]) + 1
        queries = {
            "last": [-1],
            "null": [after],
            "question": range(after, len(ids)),
            "question[:-1]": range(after, len(ids) - 1),
        }
        for request, weights in seen["sdpa"][b].items():
            expected = stock[request.layer][b][:, list(queries[request.queries])][:, :, columns]
            close(weights, expected, 1e-5, 0)
            close(seen["eager"][b][request], expected, 1e-5, 0)


@pytest.mark.parametrize(("strategy", "backbone"), spread(STRATEGIES))
def test_eager_and_sdpa_agree(strategy: str, backbone: str) -> None:
    (sdpa, rows), (eager, eager_rows) = (
        run(model, strategy, prompts) for model, prompts in (tiny(backbone), tiny(backbone, "eager"))
    )
    assert [row.kept for row in rows] == [row.kept for row in eager_rows]
    close(logits(sdpa), logits(eager), 5e-5, 1e-3)


@ALL
@pytest.mark.parametrize("strategy", ["clse", "fastv"])
def test_beam_search_keeps_the_same_tokens_and_runs_every_beam_on_them(backbone: str, strategy: str) -> None:
    model, prompts = tiny(backbone)
    _, rows = run(model, strategy, prompts)
    output, beams = run(model, strategy, prompts, num_beams=3)
    assert [row.kept for row in beams] == [row.kept for row in rows for _ in range(3)]
    alone, _ = run(model, strategy, prompts[1:2], num_beams=3)
    assert torch.equal(output.sequences[1, -5:], alone.sequences[0, -5:])


@ALL
@pytest.mark.parametrize("strategy", ["clse", "fastv", "clse-m"])
def test_generation_resumes_from_a_pruned_cache(backbone: str, strategy: str) -> None:
    """A cache that answered its physical length would give later tokens wrong positions."""
    model, prompts = tiny(backbone)
    whole, _ = run(model, strategy, prompts[:1], tokens=6)
    with tokenbench.pruned(model, strategy, "1/3"):
        first = generate(model, batched(prompts[:1]), tokens=3)
        ids = first.sequences
        text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        rest = generate(model, text, tokens=3, past_key_values=first.past_key_values)
    assert torch.equal(rest.sequences, whole.sequences)
    close(logits(rest), logits(whole)[3:])


@ALL
def test_hooks_leave_no_trace(backbone: str) -> None:
    model, prompts = tiny(backbone)
    inputs = batched(prompts)
    before = generate(model, inputs)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with tokenbench.pruned(model, "clse", "1/3"), pytest.raises(UsageError, match="padded on the left"):
        generate(model, {**inputs, "attention_mask": inputs["attention_mask"].flip(1)})
    decoder = model.model.language_model
    assert decoder.config._attn_implementation == "sdpa"
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(generate(model, inputs)), logits(before))


def test_a_draw_depends_on_seed_and_sample_alone() -> None:
    model, prompts = tiny("llava")

    def kept(seed: int, keys: list[str]) -> list[list[int]]:
        with tokenbench.pruned(model, "random", "1/3", seed=seed, keys=keys) as pruning:
            generate(model, batched(prompts), tokens=1)
        return [row.kept for row in pruning.rows]

    assert kept(0, ["a", "b", "c"]) == kept(0, ["a", "b", "c"])
    assert kept(0, ["a", "b", "c"])[0] == kept(0, ["a", "x", "y"])[0]
    assert kept(0, ["a", "b", "c"])[0] != kept(1, ["a", "b", "c"])[0]
    assert kept(0, ["a", "b", "c"])[0] != kept(0, ["c", "b", "a"])[0]


@ALL
def test_text_only_rows_ride_along(backbone: str) -> None:
    model, prompts = tiny(backbone)
    ids = torch.arange(3, 17, device=model.device)[None]
    text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in prompts[0]:
        text["mm_token_type_ids"] = torch.zeros_like(ids, dtype=torch.int32)
    output, _ = run(model, "clse", [prompts[0], text])
    close(logits(output)[:, 1], logits(generate(model, text))[:, 0])


@ALL
def test_merged_states_go_into_the_kept_slots(backbone: str) -> None:
    """clse-m equals the stock model whose layer inputs were overwritten by the merged states, dropped columns masked."""
    model, prompts = tiny(backbone)
    values: list[Tensor] = []
    cls = registry().get("strategies", "clse-m")

    class Recorded(cls):  # type: ignore[misc, valid-type]
        def select(self, view: View) -> Selection:
            selection = super().select(view)
            values.append(selection.values)
            return selection

    output, (row,) = run(model, Recorded(), prompts[:1])
    columns = backbone_for(model, registry()).visual(model, prompts[0]["input_ids"])[0].nonzero().flatten()
    layers = model.model.language_model.layers

    def overwrite(at: Tensor, new: Tensor) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            hidden = args[0].clone()
            hidden[0, at] = new
            return (hidden, *args[1:]), kwargs

        return hook

    hooks = [
        layers[layer].register_forward_pre_hook(overwrite(columns[kept], new), with_kwargs=True)
        for (layer, kept), new in zip(row.stages, values, strict=True)
    ]
    expected = masked(model, output, prompts[0], 0, row)
    for hook in hooks:
        hook.remove()
    close(logits(output)[:, 0], expected, 5e-5, 1e-3)

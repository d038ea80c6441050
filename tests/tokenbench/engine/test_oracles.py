"""What every strategy on every backbone must satisfy, against stock transformers as the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from tests.tiny import IMAGE, SIDE, batch, generate, logits, prompt
from tokenbench import Attn, Budget, Selection, Stage, Strategy, UsageError, View
from tokenbench.engine import Plan, RowTrace
from tokenbench.plugins import registry
from tokenbench.pruning import attached, backbone_for

STRATEGIES = [name for name in registry().names("strategies") if name != "vanilla"]
MERGES = {"clse-m"}


class KeepAll(Strategy):
    """Asks for everything and drops nothing."""

    trim: ClassVar[bool] = True

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        asks = [(layer, (Attn(layer - 1), Attn(layer - 1, "question"))) for layer in (1, 3)]
        return [Stage(layer, 1.0, hidden=(0, layer), text=(layer,), attention=rows) for layer, rows in asks]

    def score(self, view: View) -> Tensor:
        (last, question) = view.stage.attention
        return view.attention[last][:, 0].mean(0) + view.attention[question].mean((0, 1))


class Replay(Strategy):
    """Keeps what a trace says was kept, row by row of one sample."""

    row: Any

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(layer, len(kept)) for layer, kept in self.row.stages]

    def select(self, view: View) -> Selection:
        kept = self.row.stages[view.index][1]
        return Selection(torch.searchsorted(view.alive, kept))


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
        return [Stage(layer, keep, attention=(Attn(layer, peek=True),)) for layer, keep in ((2, 0.5), (4, 0.25))]

    def score(self, view: View) -> Tensor:
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)


def prompts() -> list[Tensor]:
    return [prompt(1, 5, seed=1), prompt(2, 3, seed=2), prompt(1, 8, before=6, seed=3)]


def run(
    model: Any, strategy: str | Strategy, inputs: dict[str, Tensor], keys: list[str] | None = None, **options: Any
) -> tuple[Any, list[list[RowTrace]]]:
    with tokenbench.pruned(model, strategy, "1/3", keys=keys) as pruning:
        output = generate(model, inputs, **options)
    return output, pruning.prefills


def masked_logits(model: Any, output: Any, inputs: dict[str, Tensor], b: int, row: RowTrace) -> Tensor:
    """[steps, V] logits of row b from the stock model, with the dropped columns at -inf from each stage's layer on.

    A trimmed KV cache also hides them from later queries in earlier layers.
    """
    real = inputs["attention_mask"][b].bool()
    ids = torch.cat([inputs["input_ids"][b][real], output.sequences[b, inputs["input_ids"].shape[1] :]])[:-1]
    end = int(real.sum())
    visual = (ids[:end] == IMAGE).nonzero().flatten()
    images = [int((r == IMAGE).sum()) // SIDE**2 for r in inputs["input_ids"]]
    pixels = inputs["pixel_values"].split(images)[b]
    causal = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    masks = {}
    for i in range(row.depth):
        seen = causal.clone()
        for layer, kept in row.stages:
            gone = torch.ones(len(visual), dtype=torch.bool)
            gone[kept] = False
            if i >= layer:
                seen[:, visual[gone]] = False
            elif row.trim:
                seen[end:, visual[gone]] = False
        masks[i] = seen | torch.eye(len(ids), dtype=torch.bool)
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs, i=i: (args, {**kwargs, "attention_mask": masks[i][None, None]}),
            with_kwargs=True,
        )
        for i, layer in enumerate(model.model.language_model.layers)
    ]
    with torch.no_grad():
        stock = model(input_ids=ids[None], pixel_values=pixels, use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    return stock[end - 1 :]


@pytest.mark.parametrize("strategy", [KeepAll(), "vanilla"], ids=str)
def test_keeping_everything_equals_stock_bit_for_bit(llava: Any, strategy: str | Strategy) -> None:
    inputs = batch(*prompts())
    stock = generate(llava, inputs)
    output, _ = run(llava, strategy, inputs)
    assert torch.equal(logits(output), logits(stock))
    assert torch.equal(output.sequences, stock.sequences)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in MERGES])
@pytest.mark.parametrize("count", [1, 3])
def test_pruned_equals_stock_with_dropped_tokens_masked(llava: Any, strategy: str, count: int) -> None:
    inputs = batch(*prompts()[:count])
    output, ((*rows,),) = run(llava, strategy, inputs)
    for b, row in enumerate(rows):
        expected = masked_logits(llava, output, inputs, b, row)
        torch.testing.assert_close(logits(output)[:, b], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("strategy", [Peek(), *STRATEGIES], ids=str)
def test_something_is_removed_and_exactly_the_schedule_is_kept(llava: Any, strategy: str | Strategy) -> None:
    method = registry().get("strategies", strategy)() if isinstance(strategy, str) else strategy
    _, ((*rows,),) = run(llava, strategy, batch(*prompts()))
    for row in rows:
        stages = method.stages(row.depth, Budget.parse("1/3"))
        assert [layer for layer, _ in row.stages] == [stage.layer for stage in stages]
        assert [len(kept) for _, kept in row.stages] == [int(stage.keep * row.visual + 1e-6) for stage in stages]
        assert row.mean_tokens < row.visual


@pytest.mark.parametrize("strategy", [Peek(), Compact(), *STRATEGIES], ids=str)
def test_a_batch_of_unlike_rows_equals_one_by_one(llava: Any, strategy: str | Strategy) -> None:
    together, ((*rows,),) = run(llava, strategy, batch(*prompts()), keys=["0", "1", "2"])
    for b, single in enumerate(prompts()):
        alone, (((row),),) = run(llava, strategy, batch(single), keys=[str(b)])
        assert [kept.tolist() for _, kept in row.stages] == [kept.tolist() for _, kept in rows[b].stages]
        torch.testing.assert_close(logits(together)[:, b], logits(alone)[:, 0], atol=2e-5, rtol=1e-4)


def test_rows_of_one_batch_may_run_different_strategies(llava: Any) -> None:
    backbone = backbone_for(llava, registry())
    names = [("clse", "1/3"), ("fastv", "1/9"), ("clse-m", "2/9")]
    plans = [Plan.make(registry().get("strategies", name)(), Budget.parse(budget), 6) for name, budget in names]
    with attached(llava, backbone, plans) as pruner:
        together = generate(llava, batch(*prompts()))
    for b, ((name, budget), single) in enumerate(zip(names, prompts(), strict=True)):
        with tokenbench.pruned(llava, name, budget) as alone:
            output = generate(llava, batch(single))
        assert pruner.rows[b].kept == alone.rows[0].kept
        torch.testing.assert_close(logits(together)[:, b], logits(output)[:, 0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("strategy", [Compact(), *STRATEGIES], ids=str)
def test_cached_equals_uncached(llava: Any, strategy: str | Strategy) -> None:
    inputs = batch(prompts()[0])
    cached, (((row),),) = run(llava, strategy, inputs)
    if row.trim or strategy in MERGES:  # a trimmed or merged past cannot be recomputed from the prompt alone
        replay = masked_logits if strategy not in MERGES else None
        if replay is not None:
            expected = replay(llava, cached, inputs, 0, row)
            torch.testing.assert_close(logits(cached)[:, 0], expected, atol=2e-5, rtol=1e-4)
        return
    same = Replay(row=row) if not isinstance(strategy, Compact) else strategy
    uncached, _ = run(llava, same, inputs, use_cache=False)
    torch.testing.assert_close(logits(cached), logits(uncached), atol=2e-5, rtol=1e-4)


def test_compact_positions_before_the_llm_equal_stock_on_the_shortened_prompt(llava: Any) -> None:
    inputs = batch(prompts()[0])
    output, (((row),),) = run(llava, Compact(), inputs)
    with torch.no_grad():
        features = torch.cat(llava.get_image_features(inputs["pixel_values"]).pooler_output)
        ids = inputs["input_ids"][0]
        embeds = llava.get_input_embeddings()(ids).clone()
        columns = (ids == IMAGE).nonzero().flatten()
        embeds[columns] = features
        left = torch.ones(len(ids), dtype=torch.bool)
        left[columns] = False
        left[columns[row.stages[0][1]]] = True
        short = llava.generate(
            inputs_embeds=embeds[left][None],
            max_new_tokens=5,
            min_new_tokens=5,
            do_sample=False,
            suppress_tokens=[IMAGE],
            return_dict_in_generate=True,
            output_logits=True,
        )
    torch.testing.assert_close(logits(output), logits(short), atol=2e-5, rtol=1e-4)


def test_the_probe_equals_eager_attention(llava: Any, eager_llava: Any) -> None:
    """Rows of every kind, on a left-padded batch with grouped keys, from SDPA and from eager itself."""
    seen: dict[str, list[dict[Attn, Tensor]]] = {"sdpa": [], "eager": []}

    class Look(Strategy):
        into: str

        def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
            kinds = ("last", "null", "question", "question[:-1]")
            return [Stage(5, 1.0, attention=tuple(Attn(layer, rows) for layer in range(5) for rows in kinds))]

        def score(self, view: View) -> Tensor:
            seen[self.into].append(dict(view.attention))
            return view.alive.float()

    inputs = batch(*prompts())
    for name, model in (("sdpa", llava), ("eager", eager_llava)):
        run(model, Look(into=name), inputs, tokens=1)
    with torch.no_grad():
        stock = eager_llava(**inputs, output_attentions=True).attentions
    for b, ids in enumerate(inputs["input_ids"]):
        visual = (ids == IMAGE).nonzero().flatten()
        after = int(visual[-1]) + 1
        queries = {
            "last": [-1],
            "null": [after],
            "question": range(after, len(ids)),
            "question[:-1]": range(after, len(ids) - 1),
        }
        for request, rows in seen["sdpa"][b].items():
            expected = stock[request.layer][b][:, list(queries[request.rows])][:, :, visual]
            torch.testing.assert_close(rows, expected, atol=5e-6, rtol=0)
            torch.testing.assert_close(seen["eager"][b][request], expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_eager_and_sdpa_agree(llava: Any, eager_llava: Any, strategy: str) -> None:
    inputs = batch(*prompts())
    sdpa, (rows,) = run(llava, strategy, inputs)
    eager, (eager_rows,) = run(eager_llava, strategy, inputs)
    assert [row.kept for row in rows] == [row.kept for row in eager_rows]
    torch.testing.assert_close(logits(sdpa), logits(eager), atol=5e-5, rtol=1e-3)


@pytest.mark.parametrize("strategy", ["clse", "fastv"])
def test_beam_search_keeps_the_same_tokens_and_runs_every_beam_on_them(llava: Any, strategy: str) -> None:
    inputs = batch(*prompts())
    _, (rows,) = run(llava, strategy, inputs)
    output, (beams,) = run(llava, strategy, inputs, num_beams=3)
    assert [row.kept for row in beams] == [row.kept for row in rows for _ in range(3)]
    alone, _ = run(llava, strategy, batch(prompts()[1]), num_beams=3)
    assert torch.equal(output.sequences[1, -5:], alone.sequences[0, -5:])


@pytest.mark.parametrize("strategy", ["clse", "fastv", "clse-m"])
def test_generation_resumes_from_a_pruned_cache(llava: Any, strategy: str) -> None:
    """A cache that answered its physical length would give later tokens wrong positions."""
    inputs = batch(prompts()[0])
    whole, _ = run(llava, strategy, inputs, tokens=6)
    with tokenbench.pruned(llava, strategy, "1/3"):
        first = generate(llava, inputs, tokens=3)
        ids = first.sequences
        rest = generate(
            llava,
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            tokens=3,
            past_key_values=first.past_key_values,
        )
    assert torch.equal(rest.sequences, whole.sequences)
    torch.testing.assert_close(logits(rest), logits(whole)[3:], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_cache_holds_what_the_trace_says(llava: Any, strategy: str) -> None:
    inputs = batch(prompts()[0])
    output, (((row),),) = run(llava, strategy, inputs, tokens=2)
    stored = [layer.keys.shape[2] - 1 for layer in output.past_key_values.layers]
    assert stored == row.cache_lengths
    assert output.past_key_values.get_seq_length() == inputs["input_ids"].shape[1] + 1


def test_hooks_leave_no_trace(llava: Any) -> None:
    inputs = batch(*prompts())
    before = generate(llava, inputs)
    state = {name: value.clone() for name, value in llava.state_dict().items()}

    def hooks() -> list[tuple[int, int]]:
        return [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in llava.modules()]

    hooked = hooks()
    right = {**inputs, "attention_mask": inputs["attention_mask"].flip(1)}
    run(llava, "clse", inputs)
    with pytest.raises(UsageError, match="padded on the left"):
        run(llava, "clse", right)
    decoder = llava.model.language_model
    assert decoder.config._attn_implementation == "sdpa"
    assert hooks() == hooked  # transformers keeps hooks of its own
    assert all(torch.equal(value, state[name]) for name, value in llava.state_dict().items())
    assert torch.equal(logits(generate(llava, inputs)), logits(before))


def test_a_draw_depends_on_seed_and_sample_alone(llava: Any) -> None:
    inputs = batch(*prompts())

    def kept(seed: int, keys: list[str]) -> list[list[int]]:
        with tokenbench.pruned(llava, "random", "1/3", seed=seed, keys=keys) as pruning:
            generate(llava, inputs, tokens=1)
        return [row.kept for row in pruning.rows]

    assert kept(0, ["a", "b", "c"]) == kept(0, ["a", "b", "c"])
    assert kept(0, ["a", "b", "c"])[0] == kept(0, ["a", "x", "y"])[0]
    assert kept(0, ["a", "b", "c"])[0] != kept(1, ["a", "b", "c"])[0]
    assert kept(0, ["a", "b", "c"])[0] != kept(0, ["c", "b", "a"])[0]


def test_text_only_rows_ride_along(llava: Any) -> None:
    rows = [prompt(1, 5, seed=1), prompt(0, 9, seed=2)]
    output, _ = run(llava, "clse", batch(*rows))
    stock = generate(llava, batch(rows[1]))
    torch.testing.assert_close(logits(output)[:, 1], logits(stock)[:, 0], atol=2e-5, rtol=1e-4)


def test_merged_states_go_into_the_kept_slots(llava: Any) -> None:
    """clse-m equals the stock model whose layer inputs were overwritten by the merged states, dropped columns masked."""
    inputs = batch(prompts()[0])
    values: list[Tensor] = []
    cls = registry().get("strategies", "clse-m")

    class Recorded(cls):  # type: ignore[misc, valid-type]
        def select(self, view: View) -> Selection:
            selection = super().select(view)
            values.append(selection.values)
            return selection

    output, (((row),),) = run(llava, Recorded(), inputs)
    columns = (inputs["input_ids"][0] == IMAGE).nonzero().flatten()
    layers = llava.model.language_model.layers

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
    expected = masked_logits(llava, output, inputs, 0, row)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(logits(output)[:, 0], expected, atol=5e-5, rtol=1e-3)

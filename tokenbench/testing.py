"""The conformance kit: stock transformers as the oracle for strategies and backbones, built-in or not.

    def test_my_strategy():
        check_strategy(MyStrategy())  # on a tiny model of every registered architecture

    def test_my_backbone():
        check_backbone(*MyBackbone().tiny())

A model comes with prompts: its inputs for one row each, three or more, unlike in length and in images; `Backbone.tiny()`
gives both. Every check raises AssertionError with what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from tokenbench.backbone import Backbone
from tokenbench.budget import Budget, count
from tokenbench.engine import Plan, RowTrace
from tokenbench.plugins import registry
from tokenbench.pruning import backbone_for, pruned
from tokenbench.strategy import Attn, Selection, Signal, Stage, Strategy, View

__all__ = [
    "KeepAll",
    "Prompt",
    "Replay",
    "batched",
    "check_backbone",
    "check_strategy",
    "generate",
    "logits",
    "masked",
    "strategy_checks",
]

Prompt = dict[str, Tensor]
BUDGET = "1/3"
CLOSE: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-4}


class KeepAll(Strategy):
    """Asks for all there is to see and drops nothing."""

    trim: ClassVar[bool] = True

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        asks = [(layer, (Attn(layer - 1), Attn(layer - 1, "question"), Attn(layer - 1, "prior"))) for layer in (1, 3)]
        signals = tuple(Signal(kind) for kind in ("cls", "received", "keys", "features"))
        return [
            Stage(
                layer,
                1.0,
                hidden=(0, layer),
                text=(layer,),
                keys=(layer - 1,),
                attention=rows,
                signals=signals if layer == 1 else (),
                rerun=0.5 if layer == 1 else None,
            )
            for layer, rows in asks
        ]

    def score(self, view: View) -> Tensor:
        return torch.stack([rows.mean((0, 1)) for rows in view.attention.values()]).sum(0)


class Replay(Strategy):
    """Keeps what a trace says was kept, for one sample."""

    row: Any

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(layer, len(kept)) for layer, kept in self.row.stages]

    def select(self, view: View) -> Selection:
        return Selection(torch.searchsorted(view.alive, self.row.stages[view.index][1]))


def check_strategy(strategy: Strategy, *models: tuple[Any, Sequence[Prompt]], budget: str = BUDGET) -> None:
    """Run every check on the models, each with its prompts; without any, on those of every registered architecture."""
    for model, prompts in models or _architectures():
        for check in strategy_checks():
            check(strategy, model, prompts, budget)


def check_backbone(model: Any, prompts: Sequence[Prompt]) -> None:
    """Run the checks of an adapter: that it finds the visual tokens, their lattices and features, and changes nothing."""
    backbone = backbone_for(model, registry())
    for prompt in prompts:
        lattices_add_up(backbone, model, prompt)
        features_go_round(backbone, model, prompt)
    keeping_all_is_stock(model, prompts)


def strategy_checks() -> list[Callable[[Strategy, Any, Sequence[Prompt], str], None]]:
    """The checks of a strategy, by name."""
    return [
        keeps_its_schedule,
        equals_stock_with_dropped_tokens_masked,
        batch_equals_one_by_one,
        cached_equals_uncached,
        cache_holds_what_the_trace_says,
        leaves_nothing_behind,
    ]


def keeping_all_is_stock(model: Any, prompts: Sequence[Prompt]) -> None:
    """A strategy that looks at everything and keeps everything changes no bit."""
    inputs = batched(prompts)
    stock = generate(model, inputs)
    with pruned(model, KeepAll(), BUDGET):
        output = generate(model, inputs)
    assert torch.equal(logits(output), logits(stock)), "keeping every token changes the logits of the stock model"


def lattices_add_up(backbone: Backbone, model: Any, prompt: Prompt) -> None:
    """The lattices hold as many tokens as the prompt, and there is one at all."""
    with pruned(model, "vanilla") as pruning:
        generate(model, batched([prompt]), tokens=1)
    (row,) = pruning.rows
    tokens = sum(grid.tokens for grid in row.grids)
    visual = int(backbone.visual(model, prompt["input_ids"]).sum())
    assert tokens == visual > 0, f"lattices of {tokens} tokens for {visual} visual tokens"


def features_go_round(backbone: Backbone, model: Any, prompt: Prompt) -> None:
    """Features that were encoded apart and put together again give the stock model's logits."""
    text = {name: value for name, value in prompt.items() if not name.startswith("pixel_values")}
    features: list[tuple[str, Tensor]] = []
    for kind in ("image", "video"):
        suffix = "_videos" if kind == "video" else ""
        inputs = {name: prompt[name] for name in (f"pixel_values{suffix}", f"{kind}_grid_thw") if name in prompt}
        if f"pixel_values{suffix}" in inputs:
            with torch.no_grad():
                features += [(kind, item) for item in backbone.encode(model, inputs)]
    with torch.no_grad():
        apart, stock = (
            model(**text, mm_encoder_outputs=backbone.encoded(model, features)).logits,
            model(**prompt).logits,
        )
    torch.testing.assert_close(apart, stock, msg=lambda text: f"encode and encoded are not inverse: {text}", **CLOSE)


def keeps_its_schedule(strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET) -> None:
    """Every stage runs, keeps exactly what the schedule says, and something is removed."""
    _, rows = _run(strategy, model, prompts, budget, tokens=1)
    for row in rows:
        stages = Plan.make(strategy, Budget.parse(budget), row.depth).stages(row.visual, row.text)
        assert [layer for layer, _ in row.stages] == [stage.layer for stage in stages], "a stage did not run"
        alive = row.visual
        for stage, (_, kept) in zip(stages, row.stages, strict=True):
            if stage.keep is not None:
                right = count(stage.keep, row.visual, alive)
                assert len(kept) == right or (stage.at_most and len(kept) < right), (
                    f"{len(kept)} tokens kept at {stage}"
                )
            alive = len(kept)
        assert row.mean_tokens < row.visual, "nothing was removed"


def equals_stock_with_dropped_tokens_masked(
    strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET
) -> None:
    """Prefill and cached decoding equal the stock model whose attention cannot see what was dropped."""
    for chosen in (prompts[:1], prompts):
        output, rows = _run(strategy, model, chosen, budget)
        for b, (prompt, row) in enumerate(zip(chosen, rows, strict=True)):
            if not row.merged and not (row.compact and row.stages[-1][0] > 0):  # stock has one set of positions
                torch.testing.assert_close(logits(output)[:, b], masked(model, output, prompt, b, row), **CLOSE)


def batch_equals_one_by_one(strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET) -> None:
    """Unlike rows in one left-padded batch keep and answer what each does alone."""
    together, rows = _run(strategy, model, prompts, budget)
    for b, prompt in enumerate(prompts):
        alone, (row,) = _run(strategy, model, [prompt], budget, keys=[str(b)])
        same = [kept.tolist() for _, kept in row.stages] == [kept.tolist() for _, kept in rows[b].stages]
        assert same, f"row {b} keeps other tokens in a batch than alone: does the strategy look at other rows?"
        torch.testing.assert_close(logits(together)[:, b], logits(alone)[:, 0], **CLOSE)


def cached_equals_uncached(strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET) -> None:
    """Without a cache, the same decisions give the same logits (where the past can be recomputed at all)."""
    cached, (row,) = _run(strategy, model, prompts[:1], budget)
    if row.trim or row.merged or strategy.positions == "compact":
        return
    uncached, _ = _run(Replay(row=row), model, prompts[:1], budget, use_cache=False)
    torch.testing.assert_close(logits(cached), logits(uncached), **CLOSE)


def cache_holds_what_the_trace_says(
    strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET
) -> None:
    """Every layer's KV cache has the traced length, and answers the original one."""
    output, (row,) = _run(strategy, model, prompts[:1], budget, tokens=2)
    stored = [layer.keys.shape[2] - 1 for layer in output.past_key_values.layers]
    assert stored == row.cache_lengths, f"cache lengths {stored}, traced {row.cache_lengths}"
    assert output.past_key_values.get_seq_length() == prompts[0]["input_ids"].shape[1] + 1


def leaves_nothing_behind(strategy: Strategy, model: Any, prompts: Sequence[Prompt], budget: str = BUDGET) -> None:
    """The strategy carries nothing from sample to sample, and the model is as it was."""
    stock = generate(model, batched(prompts[:1]))
    hooks = [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in model.modules()]
    before, (first,) = _run(strategy, model, prompts[:1], budget)
    _run(strategy, model, prompts[1:], budget)
    after, (again,) = _run(strategy, model, prompts[:1], budget)
    assert first.kept == again.kept, "the same sample keeps other tokens the second time: does the strategy hold state?"
    assert torch.equal(logits(before), logits(after))
    assert hooks == [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in model.modules()]
    assert torch.equal(logits(generate(model, batched(prompts[:1]))), logits(stock)), "the model was changed"


def batched(prompts: Sequence[Prompt], pad: int = 0) -> Prompt:
    """One batch of prompts of one row each: what has the length of the prompt is padded on the left, the rest put together."""
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch: Prompt = {}
    for name in dict.fromkeys(name for prompt in prompts for name in prompt):
        parts = [prompt[name] for prompt in prompts if name in prompt]
        if all(part.shape == p["input_ids"].shape for part, p in zip(parts, prompts, strict=False)):
            fill = pad if name == "input_ids" else 0
            parts = [torch.nn.functional.pad(p, (longest - p.shape[1], 0), value=fill) for p in parts]
        batch[name] = torch.cat(parts)
    return batch


def generate(model: Any, inputs: Prompt, tokens: int = 5, **options: Any) -> Any:
    """Greedy generation of exactly so many tokens, with the logits of every step, never a visual token."""
    visual = [getattr(model.config, f"{kind}_token_id", None) for kind in ("image", "video")]
    return model.generate(
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        suppress_tokens=[token for token in visual if token is not None],
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )


def logits(output: Any) -> Tensor:
    """[steps, B, V] raw logits."""
    return torch.stack(output.logits)


def masked(model: Any, output: Any, prompt: Prompt, b: int, row: RowTrace) -> Tensor:
    """[steps, V] logits of row b from the stock model, in which dropped tokens are hidden from each stage's layer on.

    A trimmed KV cache also hides them from later queries in earlier layers.
    """
    end = prompt["input_ids"].shape[1]
    new = output.sequences[b : b + 1, output.sequences.shape[1] - len(output.logits) :][:, :-1]
    ids = torch.cat([prompt["input_ids"], new], 1)
    longer = {name: _extended(value, prompt, new.shape[1]) for name, value in prompt.items()} | {"input_ids": ids}
    visual = backbone_for(model, registry()).visual(model, prompt["input_ids"])[0].nonzero().flatten()
    if row.compact:
        left = torch.ones(ids.shape[1], dtype=torch.long)
        left[visual] = 0
        left[visual[row.stages[0][1]]] = 1
        longer["position_ids"] = (left.cumsum(0) - 1).clamp_min(0)[None]
    with _hidden(model, _masks(row, visual, end, ids.shape[1])), torch.no_grad():
        stock: Tensor = model(**longer, use_cache=False).logits[0]
    return stock[end - 1 :]


def _architectures() -> Iterator[tuple[Any, Sequence[Prompt]]]:
    for name in registry().names("backbones"):
        backbone = registry().get("backbones", name)()
        if backbone.source is None:
            yield backbone.tiny()


def _run(
    strategy: Strategy,
    model: Any,
    prompts: Sequence[Prompt],
    budget: str,
    keys: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Any, list[RowTrace]]:
    names = keys if keys is not None else [str(b) for b in range(len(prompts))]
    with pruned(model, strategy, budget, keys=names) as pruning:
        output = generate(model, batched(prompts), **options)
    return output, pruning.prefills[0]


def _extended(value: Tensor, prompt: Prompt, more: int) -> Tensor:
    """Masks and token types, which have the prompt's length, for `more` tokens of text."""
    if value.shape != prompt["input_ids"].shape:
        return value
    fill = 1 if value is prompt["attention_mask"] else 0
    return torch.nn.functional.pad(value, (0, more), value=fill)


def _masks(row: RowTrace, visual: Tensor, end: int, length: int) -> list[Tensor]:
    """[length, length] of what may be seen, for every layer."""
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    masks = []
    for layer in range(row.depth):
        seen = causal.clone()
        for first, kept in row.stages:
            gone = torch.ones(len(visual), dtype=torch.bool)
            gone[kept] = False
            if layer >= first:
                seen[:, visual[gone]] = False
            elif row.trim:
                seen[end:, visual[gone]] = False
        masks.append(seen | torch.eye(length, dtype=torch.bool))
    return masks


@contextmanager
def _hidden(model: Any, masks: Sequence[Tensor]) -> Iterator[None]:
    def swap(mask: Tensor, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "attention_mask": mask[None, None]}

    layers = backbone_for(model, registry()).decoder(model).layers
    with ExitStack() as hooks:
        for layer, mask in zip(layers, masks, strict=True):  # type: ignore[arg-type]
            hooks.callback(layer.register_forward_pre_hook(partial(swap, mask), with_kwargs=True).remove)
        yield

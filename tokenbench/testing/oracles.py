"""Stock transformers as the oracle: how a model is run, and what a pruned model must answer.

A model comes with three or more prompts: its inputs for one row each, which differ in length and images. `Backbone.tiny()` makes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Backbone
from tokenbench.engine import RowTrace
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry

__all__ = [
    "CLOSE",
    "Prompt",
    "assert_close",
    "assert_close_or_sensitive",
    "batched",
    "generate",
    "kv_cache",
    "logits",
    "masked",
    "rounded_otherwise",
    "shortened",
]

Prompt = dict[str, Tensor]
CLOSE: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-4}


def batched(prompts: Sequence[Prompt], pad: int = 0) -> Prompt:
    """Concatenate prompts of one row into one batch. Inputs of the prompt's length are padded on the left, pictures at the end.

    Args:
        prompts: The prompts.
        pad: The id of the padding token.
    """
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch: Prompt = {}
    for name in dict.fromkeys(name for prompt in prompts for name in prompt):
        parts = [prompt[name] for prompt in prompts if name in prompt]
        if all(part.shape == p["input_ids"].shape for part, p in zip(parts, prompts, strict=False)):
            fill = pad if name == "input_ids" else 0
            parts = [torch.nn.functional.pad(p, (longest - p.shape[1], 0), value=fill) for p in parts]
        if name == "image_token_pooling":  # numbers of patches in all pictures of the batch (Molmo 2)
            before = torch.tensor([0, *(p["pixel_values"][..., 0].numel() for p in prompts)]).cumsum(0).to(parts[0])
            parts = [part + offset for part, offset in zip(parts, before, strict=False)]
        # Patches of all images side by side in one strip (MiniCPM-V 4.6).
        strip = name == "pixel_values" and "target_sizes" in prompts[0]
        batch[name] = torch.cat(parts, -1) if strip else torch.cat(_alike(parts))
    return batch


def _alike(parts: Sequence[Tensor]) -> list[Tensor]:
    """Pad the ends of all dimensions but the first with zeros, so that the parts can be concatenated."""
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return [
        torch.nn.functional.pad(
            part, [n for i in range(part.ndim - 1, 0, -1) for n in (0, largest[i - 1] - part.shape[i])]
        )
        for part in parts
    ]


def generate(model: Any, inputs: Prompt, tokens: int = 5, **options: Any) -> Any:
    """Generate a fixed number of tokens greedily, with the logits of every step, and without visual tokens.

    Args:
        model: The model.
        inputs: A batch of prompts.
        tokens: The number of tokens.
        **options: Options of the model's generate().
    """
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


def assert_close(actual: Tensor, expected: Tensor, what: str = "") -> None:
    """Assert that logits are equal but for rounding, which grows with the largest of them.

    Args:
        actual: The logits.
        expected: What they should be.
        what: What is wrong if they differ.
    """
    scale = max(1.0, float(expected.abs().max()))
    message = (lambda text: f"{what}: {text}") if what else None
    torch.testing.assert_close(actual, expected, atol=CLOSE["atol"] * scale, rtol=CLOSE["rtol"], msg=message)


def assert_close_or_sensitive(actual: Tensor, expected: Tensor, rounded: Callable[[int], Tensor]) -> None:
    """Assert that logits are equal but for rounding, even where the model itself answers rounding with more.

    A router that weighs experts can turn a difference of 1e-7 into one of 1e-3. Differences of ten times what `assert_close`
    allows are never rounding.

    Args:
        actual: The logits [steps, V].
        expected: What they should be.
        rounded: Computes what should come out once more, with other rounding for every seed.
    """
    try:
        assert_close(actual, expected)
    except AssertionError:
        limit = CLOSE["atol"] * max(1.0, float(expected.abs().max()))
        moved = torch.stack([(rounded(seed) - expected).abs().amax(-1) for seed in range(4)]).amax(0)
        if bool(((actual - expected).abs().amax(-1) > (2 * moved).clamp(limit, 10 * limit)).any()):
            raise


@contextmanager
def rounded_otherwise(model: Any, seed: int) -> Iterator[None]:
    """Change the embeddings of a model by as much as rounding them to float32 may, for as long as the context lasts."""
    weight = model.get_input_embeddings().weight
    before, generator = weight.data, torch.Generator().manual_seed(seed)
    noise = torch.randn(before.shape, generator=generator).to(before) * torch.finfo(torch.float32).eps
    weight.data = before * (1 + noise)
    try:
        yield
    finally:
        weight.data = before


def kv_cache(output: Any) -> Any:
    """Return the KV cache in a model's output, under either name that transformers uses."""
    cache = getattr(output, "cache", None)
    return output.past_key_values if cache is None else cache


def logits(output: Any) -> Tensor:
    """Return the raw logits [steps, B, V] of an output."""
    return torch.stack(output.logits)


def masked(
    model: Any,
    output: Any,
    prompt: Prompt,
    b: int,
    row: RowTrace,
    backbone: Backbone | None = None,
    gradients: bool = False,
    later: bool = False,
) -> Tensor:
    """Run the stock model on one row, with the dropped tokens masked from each stage's layer on.

    A trimmed KV cache also hides them from later queries in earlier layers.

    Args:
        model: The model.
        output: The output of the pruned model, whose tokens are used.
        prompt: The prompt of the row.
        b: The number of the row in the output.
        row: The trace of the row.
        backbone: The adapter; by default, the registered one that serves the model.
        gradients: Whether the logits can be differentiated.
        later: Whether the row is a later question, asked of the tokens that the trace's own question left.

    Returns:
        The logits [steps, V].
    """
    backbone = backbone or backbone_for(model, registry())
    end = prompt["input_ids"].shape[1]
    longer, visual, rank = _continued(model, output, prompt, b, row, backbone)
    trimmed = int(visual[-1]) + 1 if later else end
    masks = _masks(row, visual, trimmed, longer["input_ids"].shape[1])
    with _hide(backbone.decoder(model).layers, masks, rank), torch.set_grad_enabled(gradients):
        stock: Tensor = model(**longer, use_cache=False).logits[0]
    return stock[end - 1 :]


def shortened(model: Any, output: Any, prompt: Prompt, b: int, row: RowTrace, backbone: Backbone) -> Tensor:
    """Run the stock model on one row, and take the dropped tokens out of the input of each stage's layer.

    That is what pruning means for a decoder with recurrent layers, which see no mask. Takes the arguments of `masked`, and
    returns what it returns; the trace may not be that of a strategy that trims.
    """
    longer, visual, _ = _continued(model, output, prompt, b, row, backbone)
    columns = torch.arange(longer["input_ids"].shape[1], device=visual.device)
    with ExitStack() as hooks, torch.no_grad():
        stages = dict(row.stages)
        for i, layer in enumerate(backbone.decoder(model).layers):  # type: ignore[arg-type]
            before = columns
            if i in stages:
                gone = torch.ones_like(visual, dtype=torch.bool)
                gone[stages[i]] = False
                columns = columns[~torch.isin(columns, visual[gone])]
            if len(columns) < longer["input_ids"].shape[1]:
                cut = partial(_shorten, torch.searchsorted(before, columns), columns)
                hooks.callback(layer.register_forward_pre_hook(cut, with_kwargs=True).remove)
        stock: Tensor = model(**longer, use_cache=False).logits[0]
    return stock[-len(output.logits) :]


def _shorten(
    at: Tensor, columns: Tensor, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The arguments of a layer for the tokens at these places of its input, which are these columns of the prompt."""
    mask, rope = kwargs.get("attention_mask"), kwargs.get("position_embeddings")
    changed: dict[str, Any] = {"position_ids": None, "attention_mask": None}
    if mask is not None and mask.ndim == 4:
        changed["attention_mask"] = mask[..., columns, :][..., columns]
    if rope is not None:
        changed["position_embeddings"] = tuple(part[:, columns] for part in rope)
    return (args[0][:, at], *args[1:]), {**kwargs, **changed}


def _continued(
    model: Any, output: Any, prompt: Prompt, b: int, row: RowTrace, backbone: Backbone
) -> tuple[Prompt, Tensor, Tensor]:
    """Return a row's prompt [S] with the tokens that were generated, the columns [n] of its visual tokens, and the place [S] of every token in the sequence."""
    new = output.sequences[b : b + 1, output.sequences.shape[1] - len(output.logits) :][:, :-1]
    ids = torch.cat([prompt["input_ids"], new], 1)
    longer = {name: _extend(name, value, prompt, new.shape[1]) for name, value in prompt.items()} | {"input_ids": ids}
    visual = backbone.visual(model, prompt["input_ids"])[0].nonzero().flatten()
    rank = torch.arange(ids.shape[1], device=ids.device)
    if row.compact:
        kept, left = visual[row.stages[0][1]], torch.ones_like(rank)
        rank[kept] = kept.sort().values
        left[visual] = 0
        left[kept] = 1
        longer["position_ids"] = (left.cumsum(0) - 1).clamp_min(0)[rank][None]
    return longer, visual, rank


def _extend(name: str, value: Tensor, prompt: Prompt, more: int) -> Tensor:
    """Extend an input of the prompt's length, such as a mask or token types, by `more` tokens of text."""
    if value.shape != prompt["input_ids"].shape:
        return value
    # A prompt of type 0 throughout is the prefix of a prefix LM; what follows is of type 1.
    fill = name == "attention_mask" or (name == "token_type_ids" and not bool(value.any()))
    return torch.nn.functional.pad(value, (0, more), value=int(fill))


def _masks(row: RowTrace, visual: Tensor, end: int, length: int) -> list[Tensor]:
    """Return [length, length] for every layer, which is true where pruning hides a key from a query.

    A trimmed KV cache hides tokens from the queries from column `end` on.
    """
    masks = []
    for layer in range(row.depth):
        hidden = torch.zeros(length, length, dtype=torch.bool, device=visual.device)
        for first, kept in row.stages:
            gone = torch.ones_like(visual, dtype=torch.bool)
            gone[kept] = False
            if layer >= first:
                hidden[:, visual[gone]] = True
            elif row.trim:
                hidden[end:, visual[gone]] = True
        masks.append(hidden.fill_diagonal_(False))  # a token that sees nothing would have no softmax
    return masks


@contextmanager
def _hide(layers: Any, masks: Sequence[Tensor], rank: Tensor) -> Iterator[None]:
    """Hide keys [S, S] from the queries of each layer, whose tokens stand at the places rank [S] in the sequence."""

    def swap(hidden: Tensor, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        stock = kwargs.get("attention_mask")
        if stock is None or stock.ndim != 4:  # the kernel's own rule
            stock = torch.ones_like(hidden).tril()[None, None]
        stock = stock[..., rank, :][..., rank]
        if stock.dtype == torch.bool:
            return args, {**kwargs, "attention_mask": stock & ~hidden}
        return args, {**kwargs, "attention_mask": stock.masked_fill(hidden, torch.finfo(stock.dtype).min)}

    with ExitStack() as hooks:
        for layer, mask in zip(layers, masks, strict=True):
            hooks.callback(layer.register_forward_pre_hook(partial(swap, mask), with_kwargs=True).remove)
        yield

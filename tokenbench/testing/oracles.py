"""Stock transformers as the oracle: how a model is run, and what a pruned model must answer.

A model comes with three or more prompts: its inputs for one row each, which differ in length and images. `Backbone.tiny()` makes both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Backbone
from tokenbench.engine import RowTrace
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry

__all__ = ["CLOSE", "Prompt", "batched", "generate", "logits", "masked"]

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
        batch[name] = torch.cat(_alike(parts))
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

    Returns:
        The logits [steps, V].
    """
    backbone = backbone or backbone_for(model, registry())
    end = prompt["input_ids"].shape[1]
    new = output.sequences[b : b + 1, output.sequences.shape[1] - len(output.logits) :][:, :-1]
    ids = torch.cat([prompt["input_ids"], new], 1)
    longer = {name: _extend(value, prompt, new.shape[1]) for name, value in prompt.items()} | {"input_ids": ids}
    visual = backbone.visual(model, prompt["input_ids"])[0].nonzero().flatten()
    if row.compact:
        left = torch.ones(ids.shape[1], dtype=torch.long)
        left[visual] = 0
        left[visual[row.stages[0][1]]] = 1
        longer["position_ids"] = (left.cumsum(0) - 1).clamp_min(0)[None]
    masks = _masks(row, visual, end, ids.shape[1])
    with _hide(backbone.decoder(model).layers, masks), torch.set_grad_enabled(gradients):
        stock: Tensor = model(**longer, use_cache=False).logits[0]
    return stock[end - 1 :]


def _extend(value: Tensor, prompt: Prompt, more: int) -> Tensor:
    """Extend an input of the prompt's length, such as a mask or token types, by `more` tokens of text."""
    if value.shape != prompt["input_ids"].shape:
        return value
    fill = 1 if value is prompt["attention_mask"] else 0
    return torch.nn.functional.pad(value, (0, more), value=fill)


def _masks(row: RowTrace, visual: Tensor, end: int, length: int) -> list[Tensor]:
    """Return a mask [length, length] for every layer, which is true where a query sees a key."""
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
def _hide(layers: Any, masks: Sequence[Tensor]) -> Iterator[None]:
    def swap(mask: Tensor, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "attention_mask": mask[None, None]}

    with ExitStack() as hooks:
        for layer, mask in zip(layers, masks, strict=True):
            hooks.callback(layer.register_forward_pre_hook(partial(swap, mask), with_kwargs=True).remove)
        yield

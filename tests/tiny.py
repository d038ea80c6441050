"""Tiny random models of the supported architectures, and prompts for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

IMAGE, PAD, VOCAB = 90, 0, 96
SIDE = 4  # the lattice of an image: 4 x 4 visual tokens


def tiny_llava(attention: str = "sdpa", depth: int = 6, kv_heads: int = 2) -> Any:
    """A random LLaVA: 16 visual tokens an image, grouped-query attention."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    text = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=depth,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,  # sharp enough that tokens matter
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    config.image_token_id = IMAGE
    config.pad_token_id = PAD
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention).eval()
    model.generation_config.pad_token_id = PAD
    return model


def prompt(images: int = 1, question: int = 5, before: int = 3, seed: int = 0) -> Tensor:
    """[S] token ids: text, the images one after the other, text."""
    words = torch.Generator().manual_seed(seed)
    head = torch.randint(3, IMAGE, (before,), generator=words)
    tail = torch.randint(3, IMAGE, (question,), generator=words)
    return torch.cat([head, torch.full((images * SIDE * SIDE,), IMAGE), tail])


def batch(*prompts: Tensor) -> dict[str, Tensor]:
    """Left-padded inputs with random pictures, a different one for every image."""
    longest = max(map(len, prompts))
    ids = torch.stack([torch.nn.functional.pad(p, (longest - len(p), 0), value=PAD) for p in prompts])
    mask = torch.stack([torch.arange(longest) >= longest - len(p) for p in prompts]).long()
    pixels = [
        torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1000 * int(p.sum()) + i))
        for p in prompts
        for i in range(int((p == IMAGE).sum()) // SIDE**2)
    ]
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs | ({"pixel_values": torch.stack(pixels)} if pixels else {})


def generate(model: Any, inputs: dict[str, Tensor], tokens: int = 5, **options: Any) -> Any:
    """Greedy generation of exactly so many tokens, with the logits of every step, never an image token."""
    return model.generate(
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        suppress_tokens=[IMAGE],
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )


def logits(output: Any) -> Tensor:
    """[steps, B, V] raw logits."""
    return torch.stack(output.logits)

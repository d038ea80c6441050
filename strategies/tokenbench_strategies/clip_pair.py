"""The text encoder that a CLIP tower was trained with, which is no part of a multimodal LLM."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad

from tokenbench import UsageError

__all__ = ["rate_alignment"]

_MANY = 77
"""Tokens of a text that the encoder reads at once."""


def rate_alignment(checkpoint: str, features: Tensor, question: str) -> Tensor:
    """[n] mean cosine of patches with the pieces of a text, in the space that CLIP's two encoders share.

    Args:
        checkpoint: The CLIP model that the tower comes from, a folder or a name on the Hugging Face Hub.
        features: [n, C] outputs of the tower's last but one layer.
        question: The text. What exceeds 77 tokens goes into further pieces, the last one filled up with zeros.

    Raises:
        UsageError: If the checkpoint cannot be loaded, or does not fit the tower.
    """
    clip, tokenizer = _load(checkpoint, str(features.device))
    width = clip.config.vision_config.hidden_size
    if features.shape[1] != width:
        raise UsageError(
            f"the vision encoder is {features.shape[1]} wide, but that of '{checkpoint}' is {width}",
            "name the CLIP model whose tower the multimodal model uses",
        )
    ids = torch.tensor(tokenizer(question)["input_ids"], device=features.device)
    starts = range(0, len(ids), _MANY)
    pieces = ids[None] if len(ids) <= _MANY else torch.stack([_fill(ids[start : start + _MANY]) for start in starts])
    with torch.no_grad():
        patches = clip.visual_projection(clip.vision_model.post_layernorm(features))
        texts = clip.text_projection(clip.text_model(input_ids=pieces).pooler_output)
    return cosine_similarity(patches.unsqueeze(1), texts.unsqueeze(0), dim=-1).mean(1)


def _fill(ids: Tensor) -> Tensor:
    """A piece [77] of a text, with zeros behind it."""
    return pad(ids, (0, _MANY - len(ids)))


@lru_cache(maxsize=1)
def _load(checkpoint: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, CLIPModel

    try:
        model: Any = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32)
        return model.to(device).eval(), AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"the CLIP model '{checkpoint}' cannot be loaded: {reason}") from error

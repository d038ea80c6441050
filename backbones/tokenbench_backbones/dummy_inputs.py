"""Prompts without a processor: random words around marks for what is shown. What they show is up to the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tokenbench import UsageError

__all__ = ["noise", "prompt"]


def prompt(config: Any, shown: Sequence[int], text: int) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` [1, S] of the ids `shown` in the middle of random words: `text` other tokens in
    all.

    Args:
        shown: Ids of visual tokens and of marks around them, which count as text. Raises UsageError for less text than
            marks.
    """
    visual = {config.image_token_id, getattr(config, "video_token_id", None)}
    marks = sum(token not in visual for token in shown)
    before = (text - marks) // 2
    after = text - marks - before
    if before < 1:
        raise UsageError(f"this model's prompt needs at least {marks + 2} text tokens, not {text}")
    words = torch.randint(
        3, min(token for token in visual if token is not None), (text - marks,), generator=_generator()
    )
    ids = torch.cat([words[:before], torch.tensor(shown), words[-after:]])[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def noise(*shape: int) -> Tensor:
    """Pixels: the same ones every time."""
    return torch.randn(*shape, generator=_generator())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)

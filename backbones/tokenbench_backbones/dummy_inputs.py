"""Prompts without a processor: random words around marks for what is shown. What they show is up to the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tokenbench import UsageError

__all__ = ["noise", "prompt"]


def prompt(config: Any, shown: Sequence[int], text: int) -> dict[str, Tensor]:
    """Make one row of random words with the ids `shown` in the middle.

    Args:
        config: The model's stock configuration.
        shown: Ids of visual tokens and of the marks around them; marks count as text.
        text: How many tokens the row has besides the visual ones.

    Returns:
        `input_ids` and `attention_mask`, both [1, S].

    Raises:
        UsageError: If `text` has no room for the marks and a word on either side.
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
    """Random pixels of that shape, the same ones every time."""
    return torch.randn(*shape, generator=_generator())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)

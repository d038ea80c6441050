"""Sets of visual tokens as short text: one bit for every token, lowest bit first, in base64."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["is_known", "pack", "unpack"]


def pack(ordinals: Iterable[int], tokens: int) -> str:
    """Write down which of so many tokens are kept; empty text means all of them."""
    kept = np.zeros(tokens, dtype=bool)
    kept[np.asarray(list(ordinals) if not isinstance(ordinals, np.ndarray) else ordinals, dtype=np.int64)] = True
    return "" if kept.all() else b64encode(np.packbits(kept, bitorder="little").tobytes()).decode()


def unpack(text: str) -> set[int]:
    """The ordinals of a text that is not empty."""
    bits = np.unpackbits(np.frombuffer(b64decode(text), dtype=np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def is_known(value: Any) -> bool:
    """Whether a list of a record is there: runs of other tools do not say which tokens were kept."""
    return value is not None and not np.isscalar(value)

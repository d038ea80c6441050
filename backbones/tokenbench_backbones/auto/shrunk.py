"""A small random model of any architecture, made by shrinking its default configuration, and prompts for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tokenbench import MachineError
from tokenbench.errors import brief
from tokenbench_backbones.auto.small_inputs import INPUTS, Images, plain
from tokenbench_backbones.auto.small_overrides import OTHERS, OVERRIDES
from tokenbench_backbones.auto.small_sizes import AUDIO, SIZES, TEXT, TOKENS, VISION
from tokenbench_backbones.tiny import END, IMAGE, PAD, START

__all__ = ["shrunk"]

MOST = 5_000_000
"""Parameters of a model that is small."""
BREAK = 89
"""The token between two rows of an image."""
PREFIX_LMS = ("paligemma",)
"""Architectures whose whole prompt is of type 0, and attends to all of itself."""
ROWS: list[tuple[int, tuple[int, int]]] = [(1, (3, 5)), (2, (3, 3)), (1, (6, 8))]
"""Of three rows: how many images, and how many words stand before and after them."""


def shrunk(model_type: str, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
    """Make a small random model of an architecture.

    Args:
        model_type: The architecture's name in configurations.
        attention: The decoder's implementation of attention, as transformers names it.

    Returns:
        The model, and the inputs of three prompts, one row each, that differ in length and in what they show.

    Raises:
        MachineError: If the default configuration cannot be shrunk, or the model rejects the images made for it.
    """
    from transformers import AutoModelForImageTextToText

    try:
        config = small_config(model_type)
        with torch.device("meta"):  # shapes alone: what is still large must not be made
            count = sum(p.numel() for p in AutoModelForImageTextToText.from_config(config).parameters())
        if count > MOST:
            raise ValueError(f"{count:,} parameters are left")
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=attention).eval()
        model.generation_config.pad_token_id = PAD
        images = INPUTS.get(model_type, plain)
        return model, [_row(model_type, model, images, words, n) for n, words in ROWS]
    except Exception as error:  # transformers raises anything
        raise MachineError(f"no small model of type '{model_type}' can be made: {brief(error)}") from error


def small_config(model_type: str) -> Any:
    """Return the default configuration of an architecture with small sizes everywhere."""
    from transformers import CONFIG_MAPPING

    cls: Any = CONFIG_MAPPING[model_type]
    default, more = cls(), OVERRIDES.get(model_type, OTHERS)
    given: dict[str, Any] = {}
    parts = {"text_config": more.text, "vision_config": more.vision, **more.parts}
    for name in getattr(default, "sub_configs", None) or {}:
        part = getattr(default, name, None) or _absent(default, name, parts)
        if part is not None:
            table = {"text_config": TEXT, "audio_config": AUDIO}.get(name, VISION)
            given[name] = _small_part(part, table, parts.get(name, {}))
    known = {**default.to_dict(), **dict.fromkeys(cls.attribute_map)}
    # A decoder without a configuration of its own is described at the top.
    own = TEXT if "text_config" not in given else {}
    given |= {name: value for name, value in {**own, **TOKENS, **SIZES}.items() if name in known}
    return cls(**{**given, **more.top})


def _absent(config: Any, name: str, parts: Mapping[str, Mapping[str, Any]]) -> Any:
    """The default configuration of a part that a default model lacks, if this architecture is to have it."""
    return config.sub_configs_defaults[name].config_class() if parts.get(name) else None


def _small_part(part: Any, table: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a part's class: all that it knows of a table, and what this architecture needs."""
    known = part.to_dict()
    small = {
        # Configurations check the type of every number.
        name: float(value) if isinstance(known[name], float) else value
        for name, value in table.items()
        if name in known
    }
    return {"model_type": part.model_type, **small, **more}


def _row(model_type: str, model: Any, images: Images, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """One row with `n` images between words, each between its marks."""
    from tokenbench_backbones.auto.backbone import Auto

    media = images(model.config, words, n)
    with torch.no_grad():
        counts = [len(part) for part in Auto(model_type).encode_images(model, media)]
    rows = media.pop("rows", None)
    heights = rows.tolist() if rows is not None else [1] * len(counts)
    shown = [token for count, h in zip(counts, heights, strict=True) for token in _marked(count, h)]
    before, after = words
    text = torch.randint(3, BREAK, (before + after,), generator=torch.Generator().manual_seed(before + 10 * after))
    ids = torch.cat([text[:before], torch.tensor(shown), text[before:]])[None]
    row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}
    taken = _parameters([model.forward, model.base_model.forward])
    types: dict[str, Tensor] = {
        name: (ids == IMAGE).long() for name in ("mm_token_type_ids", "token_type_ids") if name in taken
    }
    if model_type in PREFIX_LMS:
        types["token_type_ids"] = torch.zeros_like(ids)
    return {**row, **types}


def _marked(count: int, height: int) -> list[int]:
    """An image of `count` tokens between its marks, with a token between its rows."""
    row = [IMAGE] * (count // height)
    return [START, *([*row, BREAK] * height)[:-1], END]


def _parameters(functions: Iterable[Any]) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters}

"""Greedy decoding, whatever else a checkpoint's generation settings say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["checkpoint_config", "checkpoint_options", "describe_options", "greedy_config"]

IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""The settings that say where a text begins and ends. They hold for every way of decoding."""
LENGTHS = ("max_length", "max_new_tokens")
"""The settings that the task decides."""
LONGEST = 40


def checkpoint_config(folder: Path) -> Any:
    """Read the generation settings of a checkpoint.

    They are in generation_config.json; older checkpoints have them in config.json and its text_config. Raises whatever transformers
    raises for a file that cannot be read.
    """
    from transformers import GenerationConfig

    if (folder / "generation_config.json").exists():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True)


def greedy_config(config: Any) -> Any:
    """Return generation settings with nothing but the ids, since generate() takes from them all that its caller leaves out."""
    from transformers import GenerationConfig

    made: Any = GenerationConfig
    return made(**{name: getattr(config, name, None) for name in IDS})


def checkpoint_options(config: Any) -> dict[str, Any]:
    """Return the settings of a checkpoint that differ from the default, except ids and lengths, by transformers' names."""
    from transformers import GenerationConfig

    made: Any = GenerationConfig
    plain = made()
    usual = {**plain.to_dict(), **plain._get_default_generation_params()}
    said: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    others = set(usual) - {*IDS, *LENGTHS, "transformers_version", "_from_model_config"}
    return {name: value for name, value in said.items() if name in others and value not in (None, usual[name])}


def describe_options(name: str, options: Mapping[str, Any]) -> str:
    """Return a sentence on the settings that greedy decoding ignores; an empty one if there are none.

    Args:
        name: The name of the model.
        options: The settings of its checkpoint, as `checkpoint_options` returns them.
    """
    if not options:
        return ""
    shown = [f"{key}={value}" if len(str(value)) < LONGEST else key for key, value in options.items()]
    return f"The checkpoint of {name} asks for {', '.join(shown)}. This run decodes greedily, without any of it."

"""Greedy decoding, whatever else a checkpoint asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["asked_for", "checkpoint_config", "greedy", "note"]

IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""What a checkpoint says of where a text begins and ends. It holds for every way of decoding."""
LENGTHS = ("max_length", "max_new_tokens")  # the task's to say
LONGEST = 40


def checkpoint_config(folder: Path) -> Any:
    """What a checkpoint says of generation: its generation_config.json or, where there is none, what older ones wrote into
    config.json and the text_config in it. Raises whatever transformers does for a file that cannot be read.
    """
    from transformers import GenerationConfig

    if (folder / "generation_config.json").exists():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True)


def greedy(config: Any) -> Any:
    """The same with nothing left but the ids: generate() takes from it all that its caller does not say."""
    from transformers import GenerationConfig

    made: Any = GenerationConfig
    return made(**{name: getattr(config, name, None) for name in IDS})


def asked_for(config: Any) -> dict[str, Any]:
    """What a checkpoint asks for beyond ids and lengths, by the names that transformers knows."""
    from transformers import GenerationConfig

    made: Any = GenerationConfig
    plain = made()
    usual = {**plain.to_dict(), **plain._get_default_generation_params()}
    said: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    others = set(usual) - {*IDS, *LENGTHS, "transformers_version", "_from_model_config"}
    return {name: value for name, value in said.items() if name in others and value not in (None, usual[name])}


def note(name: str, asked: Mapping[str, Any]) -> str:
    """A sentence for readers of the numbers; nothing if there is nothing to say."""
    if not asked:
        return ""
    shown = [f"{key}={value}" if len(str(value)) < LONGEST else key for key, value in asked.items()]
    return f"The checkpoint of {name} asks for {', '.join(shown)}. This run decodes greedily, without any of it."

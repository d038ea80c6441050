"""Adapters of peft, such as LoRA: where they are, which model they change, and how they are put on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, brief
from tokenbench.registry.installation import install

__all__ = ["CONFIG", "apply_adapter", "describe_adapter", "has_processor", "name_base"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")


def name_base(folder: Path) -> str:
    """Return the name of the model that an adapter changes.

    Raises:
        MachineError: The adapter does not say so.
    """
    base = _read(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise MachineError(
            f"the adapter in {folder} does not say which model it changes",
            f"write its folder or Hugging Face id as base_model_name_or_path into {folder / CONFIG}",
        )
    return base


def has_processor(folder: Path) -> bool:
    """Return whether a processor was saved beside the adapter."""
    return any((folder / name).is_file() for name in PROCESSORS)


def describe_adapter(name: str, folder: Path) -> str:
    """Say in a sentence which adapter a model runs with.

    Raises:
        MachineError: Its configuration cannot be read.
    """
    config = _read(folder)
    kind = str(config.get("peft_type") or "an unknown kind")[:20]
    rank = f" of rank {config['r']}" if isinstance(config.get("r"), int) else ""
    return f"{name} runs with an adapter ({kind}{rank})."


def apply_adapter(name: str, model: Any, folder: Path) -> None:
    """Put an adapter on a model. Its weights are not merged into those of the model.

    Args:
        name: The name of the model, for errors.
        model: The stock model.
        folder: The folder with the adapter's configuration and weights.

    Raises:
        MachineError: peft is missing, or the adapter does not fit the model.
    """
    config = _read(folder)
    if config.get("megatron_config"):  # peft would import the module that the file names
        raise _error(name, folder, "it asks for layers of Megatron")
    if not (folder / WEIGHTS).is_file():
        raise _error(name, folder, f"there is no {WEIGHTS}")
    try:
        loaded = model.load_adapter(str(folder))
    except ImportError as error:
        raise MachineError(
            f"model '{name}' has an adapter, which needs the package peft: {brief(error)}", install("adapters")
        ) from error
    except Exception as error:  # peft raises anything for a broken folder
        raise _error(name, folder, brief(error)) from error
    for what in ("missing", "unexpected", "mismatched"):
        if keys := sorted(map(str, getattr(loaded, f"{what}_keys", ()) or ())):
            raise _error(name, folder, f"{len(keys)} of its weights are {what}, the first of them {keys[0]}")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        reason = "it is not a JSON object"
    except (OSError, ValueError, RecursionError) as error:
        reason = brief(error)
    raise MachineError(f"{path} cannot be read: {reason}", "save the adapter again")


def _error(name: str, folder: Path, reason: str) -> MachineError:
    return MachineError(
        f"the adapter of model '{name}' in {folder} cannot be loaded: {reason}",
        "save it with peft's save_pretrained(), on the model that base_model_name_or_path names",
    )

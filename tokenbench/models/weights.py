"""Weights from a folder, as the stock class of its architecture: nothing in the folder is executed or unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, brief
from tokenbench.models.decoding import asked_for, checkpoint_config, greedy

__all__ = ["generation_asked", "stock_model", "stock_processor", "stock_skeleton"]

DEPTHS = ("num_hidden_layers", "num_layers", "depth")


def stock_model(name: str, folder: Path, **options: Any) -> Any:
    """The model, every weight of which comes from the folder's safetensors. It decodes greedily. name: for errors; options: of
    `from_pretrained`.

    Raises MachineError if it cannot be loaded, or if weights are missing, which would be drawn at random.
    """
    from transformers import AutoModelForImageTextToText

    try:
        _check_depth(folder)
        decoding = greedy(checkpoint_config(folder))
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
        )
    except Exception as error:  # transformers raises anything for a broken folder
        sizes = "ignore_mismatched_sizes" in str(error)
        raise _broken(
            name, folder, "config.json has other sizes than the weights" if sizes else brief(error)
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise _broken(name, folder, f"{len(missing)} weights are missing, the first of them {missing[0]}")
    model.generation_config = decoding
    return model.eval()


def stock_processor(name: str, folder: Path) -> Any:
    """What prepares prompts and images. Raises MachineError if it cannot be loaded, or has no tokenizer."""
    from transformers import AutoProcessor

    load: Any = AutoProcessor.from_pretrained
    try:
        processor = load(folder, trust_remote_code=False)
        processor.tokenizer.padding_side = "left"
    except Exception as error:
        raise _broken(name, folder, brief(error)) from error
    return processor


def generation_asked(name: str, folder: Path) -> dict[str, Any]:
    """What the checkpoint asks of generation beside greedy decoding. Raises MachineError if it cannot be read."""
    try:
        return asked_for(checkpoint_config(folder))
    except Exception as error:
        raise _broken(name, folder, f"generation_config.json cannot be read: {brief(error)}") from error


def stock_skeleton(name: str, folder: Path) -> Any:
    """The model without weights, on torch's device "meta". Raises MachineError for a configuration that makes none."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    made: Any = AutoModelForImageTextToText.from_config
    try:
        _check_depth(folder)
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            return made(config, trust_remote_code=False)
    except Exception as error:
        raise _broken(name, folder, brief(error)) from error


def _broken(name: str, folder: Path, reason: str) -> MachineError:
    return MachineError(f"model '{name}' cannot be loaded from {folder}: {reason}", "download the folder again")


def _check_depth(folder: Path) -> None:
    """Raise ValueError for more layers than there are tensors: to build them would take all the memory."""
    from safetensors import safe_open

    tensors = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            tensors += len(weights.keys())
    deepest = max(_depths(json.loads((folder / "config.json").read_text(encoding="utf-8"))), default=0)
    if tensors and deepest > tensors:
        raise ValueError(f"config.json asks for {deepest} layers, but the weights hold {tensors} tensors")


def _depths(config: Any) -> Iterator[int]:
    if isinstance(config, dict):
        for key, value in config.items():
            if key in DEPTHS and isinstance(value, int):
                yield value
            yield from _depths(value)

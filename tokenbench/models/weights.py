"""Loads models from folders as stock classes of transformers. Nothing in a folder is executed or unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, brief
from tokenbench.models.decoding import checkpoint_config, checkpoint_options, greedy_config
from tokenbench.models.quantization import library_missing

__all__ = ["generation_options", "stock_model", "stock_processor", "stock_skeleton"]

NO_ADAPTER = "no adapter"
"""A folder that no model has, in place of the one where transformers looks for an adapter: it would load one without a word if peft
is installed, and leave it out without a word if not. `tokenbench.models.adapters` loads it."""
DEPTHS = ("num_hidden_layers", "num_layers", "depth")


def stock_model(name: str, folder: Path, **options: Any) -> Any:
    """Load a model that decodes greedily. All its weights come from the folder's safetensors.

    Args:
        name: The name of the model, for errors.
        folder: The folder.
        **options: Options of `from_pretrained`.

    Raises:
        MachineError: The model cannot be loaded, or weights are missing, which transformers would draw at random.
    """
    from transformers import AutoModelForImageTextToText

    try:
        _check_depth(folder)
        decoding = greedy_config(checkpoint_config(folder))
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            adapter_kwargs={"subfolder": NO_ADAPTER},
            **options,
        )
    except ImportError as error:
        if "flash" in str(options.get("attn_implementation")):
            raise MachineError(
                f"model '{name}' cannot run with flash attention here: {brief(error)}",
                "use --attention sdpa, or install flash-attn, which needs a CUDA device",
            ) from error
        raise library_missing(f"model '{name}'", error) from error
    except Exception as error:  # transformers raises anything for a broken folder
        sizes = "ignore_mismatched_sizes" in str(error)
        raise _load_error(
            name, folder, "config.json has other sizes than the weights" if sizes else brief(error)
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise _load_error(name, folder, f"{len(missing)} weights are missing, the first of them {missing[0]}")
    model.generation_config = decoding
    return model.eval()


def stock_processor(name: str, folder: Path) -> Any:
    """Load the processor, which prepares prompts and images.

    Raises:
        MachineError: It cannot be loaded, or has no tokenizer.
    """
    from transformers import AutoProcessor

    load: Any = AutoProcessor.from_pretrained
    try:
        processor = load(folder, trust_remote_code=False)
        processor.tokenizer.padding_side = "left"
    except Exception as error:
        raise _load_error(name, folder, brief(error)) from error
    return processor


def generation_options(name: str, folder: Path) -> dict[str, Any]:
    """Read the generation settings of a checkpoint that go beyond greedy decoding.

    Raises:
        MachineError: They cannot be read.
    """
    try:
        return checkpoint_options(checkpoint_config(folder))
    except Exception as error:
        raise _load_error(name, folder, f"generation_config.json cannot be read: {brief(error)}") from error


def stock_skeleton(name: str, folder: Path) -> Any:
    """Build the model without weights, on torch's device "meta".

    Raises:
        MachineError: The configuration does not describe a model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    made: Any = AutoModelForImageTextToText.from_config
    try:
        _check_depth(folder)
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            return made(config, trust_remote_code=False)
    except Exception as error:
        raise _load_error(name, folder, brief(error)) from error


def _load_error(name: str, folder: Path, reason: str) -> MachineError:
    return MachineError(f"model '{name}' cannot be loaded from {folder}: {reason}", "download the folder again")


def _check_depth(folder: Path) -> None:
    """Raise ValueError if there are more layers than tensors: building them would take all the memory."""
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

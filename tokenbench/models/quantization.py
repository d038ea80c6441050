"""Quantized weights, as transformers loads them: names of its quantization configurations, and what a checkpoint says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tokenbench.errors import MachineError, brief
from tokenbench.registry.installation import install

__all__ = ["describe_quantization", "library_missing", "make_config"]


def make_config(name: str, dtype: torch.dtype) -> Any:
    """Make the configuration by which transformers quantizes weights while it loads them.

    Args:
        name: `bnb-8bit`, `bnb-4bit` or `torchao-int8`.
        dtype: The type of numbers that the quantized layers compute in.

    Raises:
        MachineError: The library that quantizes them is not installed.
    """
    from transformers import BitsAndBytesConfig, TorchAoConfig

    try:
        if name == "bnb-8bit":
            return BitsAndBytesConfig(load_in_8bit=True)
        if name == "bnb-4bit":
            return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    except ImportError as error:
        raise library_missing(f"--quantization {name}", error) from error


def library_missing(what: str, error: ImportError) -> MachineError:
    """Return the error for quantized weights whose library is not installed.

    Args:
        what: What needs the library.
        error: What transformers says about it.
    """
    return MachineError(
        f"{what} needs a library that is not installed: {brief(error)}",
        f"for bitsandbytes and torchao: {install('quantized')}; other libraries have to match your GPU, and their own pages say how "
        "to install them",
    )


def describe_quantization(name: str, asked: str, config: Mapping[str, Any]) -> str:
    """Say in a sentence how the weights of a model are quantized; empty if they are not.

    Args:
        name: The name of the model.
        asked: The value of `--quantization`; empty if the weights are as they are stored.
        config: The content of config.json.
    """
    if asked:
        return f"The weights of {name} are quantized while they are loaded (--quantization {asked})."
    stored = config.get("quantization_config")
    if not isinstance(stored, Mapping):
        return ""
    bits = stored.get("bits") or next((n for n in (4, 8) if stored.get(f"load_in_{n}bit")), None)
    method = f"{stored.get('quant_method', 'an unknown method')}"[:40] + (f", {bits} bits" if bits else "")
    return f"The weights of {name} are stored quantized ({method})."

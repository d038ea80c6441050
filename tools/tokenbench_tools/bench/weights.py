"""The model to measure: a stock model with its weights, or one of the same sizes with random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tokenbench.errors import MachineError, UsageError
from tokenbench.models.adapters import apply_adapter
from tokenbench.models.decoding import greedy_config
from tokenbench.models.device import check_device, resolve_device
from tokenbench.models.quantization import make_config
from tokenbench.models.source import configuration, locate
from tokenbench.models.weights import stock_model

if TYPE_CHECKING:
    from tokenbench.contract.backbone import Backbone
    from tokenbench.registry.plugins import Registry
    from tokenbench_tools.bench.protocol import Protocol

__all__ = ["choose_device", "cut", "load_model"]


def load_model(protocol: Protocol, registry: Registry) -> tuple[Backbone, Any]:
    """Load the adapter and the model on its device.

    Raises:
        MachineError: If the model cannot be loaded or does not fit.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    device = choose_device(protocol)
    options: dict[str, Any] = {
        "dtype": getattr(torch, protocol.dtype),
        "attn_implementation": protocol.attention,
    }
    try:
        if protocol.random_weights and protocol.quantization:
            raise UsageError("--quantization needs the model's own weights", "leave out --random-weights")
        if protocol.random_weights:
            backbone, config = configuration(protocol.model, registry)
            with torch.device(device):
                model = AutoModelForImageTextToText.from_config(cut(config, protocol.layers), **options)
            model.generation_config = greedy_config(model.generation_config)
        else:
            source = locate(protocol.model, registry)
            backbone, config = (
                source.backbone,
                cut(AutoConfig.from_pretrained(source.folder, trust_remote_code=False), protocol.layers),
            )
            if protocol.quantization:
                options["quantization_config"] = make_config(protocol.quantization, options["dtype"])
            if quantized := bool(protocol.quantization or getattr(config, "quantization_config", None)):
                options["device_map"] = {"": device}
            model = stock_model(protocol.model, source.folder, config=config, **options)
            if source.adapter is not None:
                apply_adapter(protocol.model, model, source.adapter)
            if quantized:  # it stands there already, and transformers does not move it
                return backbone, model.eval()
        return backbone, model.eval().to(device)
    except (UsageError, MachineError):
        raise
    except Exception as error:  # transformers raises anything
        reason = " ".join(str(error).split())[:200]
        raise MachineError(f"model '{protocol.model}' cannot be loaded: {reason}") from error


def cut(config: Any, layers: int | None) -> Any:
    """Return the configuration with only the first `layers` layers of the decoder.

    Raises:
        UsageError: If the decoder has fewer layers.
    """
    text = config.text_config
    if layers is not None:
        if layers > text.num_hidden_layers:
            raise UsageError(f"--layers {layers} is too many: the decoder has {text.num_hidden_layers} layers")
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
    return config


def choose_device(protocol: Protocol) -> str:
    """Return the device that the protocol names.

    Raises:
        UsageError: If there is no device of that name.
        MachineError: If this machine does not have it.
    """
    device = resolve_device(protocol.device)
    check_device(device)
    return device

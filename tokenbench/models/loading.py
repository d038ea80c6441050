"""Loads the weights of a folder with the options of a run: on one device or several, as they are stored or quantized, with an adapter or without."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from tokenbench.errors import MachineError, brief
from tokenbench.models.adapters import apply_adapter, describe_adapter
from tokenbench.models.decoding import describe_options
from tokenbench.models.device import check_device, read_device_map, resolve_device
from tokenbench.models.quantization import describe_quantization, make_config
from tokenbench.models.weights import generation_options, stock_model, stock_processor, stock_skeleton
from tokenbench.registry.installation import install, installed_version

if TYPE_CHECKING:
    from tokenbench.models.source import Source

__all__ = ["FolderWeights", "Loading"]


@dataclass(frozen=True)
class Loading:
    """How the weights of a model are loaded."""

    device: str = "auto"
    """A name of torch's, or `auto` for the GPUs (several share the layers) or, without any, the CPU."""
    dtype: str = "float32"
    """The data type of the weights, by torch's name."""
    attention: str = "sdpa"
    """An attention implementation, by transformers' name."""
    quantization: str = ""
    """How the weights are quantized while they are loaded; empty for as they are stored."""
    device_map: str = ""
    """How the modules are spread over devices: a strategy of accelerate's, or a JSON object of devices by module; empty for one device."""


class FolderWeights:
    """The weights of a folder, with its configuration and processor.

    Args:
        name: The name of the model, for errors.
        source: The folder.
        loading: How they are loaded.

    Raises:
        UsageError: There is no such device.
        MachineError: The configuration or the processor cannot be read.
    """

    def __init__(self, name: str, source: Source, loading: Loading) -> None:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._name, self._source, self._loading, self.identity = name, source, loading, source.identity
        self.device = resolve_device(loading.device)
        self.attention, self.dtype = loading.attention, getattr(torch, loading.dtype)
        self.processor = stock_processor(name, source.processor)
        self.skeleton = stock_skeleton(name, source.folder)
        self.generation_options = generation_options(name, source.folder)
        self.notes = list(filter(None, self._notes()))
        self._offloaded: TemporaryDirectory[str] | None = None

    def load(self) -> Any:
        """Load the model.

        Raises:
            MachineError: The weights cannot be read, or this machine has no such device, too little memory, or not the libraries
                that they need.
        """
        check_device(self.device)
        placement = self._place()
        options: dict[str, Any] = {"dtype": self.dtype, "attn_implementation": self.attention}
        if self._loading.quantization:
            options["quantization_config"] = make_config(self._loading.quantization, self.dtype)
        if placement is not None:
            if not installed_version("accelerate"):
                raise MachineError(
                    f"model '{self._name}' is spread over devices or quantized, which requires the package accelerate",
                    install("gpu"),
                )
            self._offloaded = TemporaryDirectory(prefix="tokenbench-")
            options |= {"device_map": placement, "offload_folder": self._offloaded.name}
        model = stock_model(self._name, self._source.folder, **options)
        if placement is None:
            try:
                model.to(self.device)
            except RuntimeError as error:
                raise MachineError(f"model '{self._name}' does not fit on {self.device}: {brief(error)}") from error
        if self._source.adapter is not None:
            apply_adapter(self._name, model, self._source.adapter)
        return model

    def release(self) -> None:
        """Remove what was written to the disk for a model that does not fit into memory."""
        if self._offloaded is not None:
            self._offloaded.cleanup()
            self._offloaded = None

    def _place(self) -> str | dict[str, Any] | None:
        """Return the device map; None if the whole model stands on one device and is moved there."""
        if self._loading.device_map:
            return read_device_map(self._loading.device_map)
        if self._loading.device == "auto" and torch.cuda.device_count() > 1:
            return "auto"
        quantized = self._loading.quantization or getattr(self.skeleton.config, "quantization_config", None)
        return {"": self.device} if quantized else None  # which transformers does not move afterwards

    def _notes(self) -> list[str]:
        config = self.skeleton.config.to_dict()
        spread = self._loading.device_map
        return [
            describe_options(self._name, self.generation_options),
            describe_quantization(self._name, self._loading.quantization, config),
            describe_adapter(self._name, self._source.adapter) if self._source.adapter else "",
            f"The modules of {self._name} are spread over devices (--device-map {spread})." if spread else "",
        ]

"""The weights of a model that the user's own code has loaded."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from torch import Tensor

from tokenbench.errors import UsageError, brief
from tokenbench.models.decoding import greedy_config
from tokenbench.models.device import input_device
from tokenbench.models.source import fingerprint

if TYPE_CHECKING:
    from tokenbench.contract.loaded import LoadedModel

__all__ = ["GivenWeights"]


class GivenWeights:
    """The weights of an object. They are loaded already, and stay in memory for as long as the user keeps them.

    While a run uses the model, it is in evaluation mode and has greedy settings of generation.

    Args:
        name: The name under which the run uses it.
        given: The model with its processor.

    Raises:
        UsageError: The processor has no tokenizer, or cannot be saved.
    """

    def __init__(self, name: str, given: LoadedModel) -> None:
        self._model, self._before = given.model, (given.model.generation_config, given.model.training)
        self.skeleton = given.model
        self.processor = copy.deepcopy(given.processor)  # which is set to pad on the left
        try:
            self.processor.tokenizer.padding_side = "left"
        except AttributeError:
            raise UsageError(
                f"models: the processor of {name} is a {type(given.processor).__name__}, which has no tokenizer",
                "pass the model's processor, AutoProcessor.from_pretrained(...)",
            ) from None
        self.dtype = given.model.dtype
        self.device = str(input_device(given.model))
        self.attention = str(given.model.config._attn_implementation)
        self.generation_options: dict[str, Any] = {}
        self._name = name

    @cached_property
    def identity(self) -> str:
        """A hash of the configuration, the weights and the processor; another text for each object if weights are not in memory."""
        return f"object {self._digest or uuid4().hex} {_hash_processor(self._name, self.processor)}"

    @cached_property
    def _digest(self) -> str:
        return _hash_weights(self._model)

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers must see."""
        name = self._name
        notes = [
            f"{name} is a model object that was passed to tokenbench.run. It cannot be loaded again by a name or folder."
        ]
        if not self._digest:
            notes.append(
                f"The weights of {name} are not all in memory and could not be hashed. Whether they change between two runs is unknown, "
                "so that every run computes all answers of this model again."
            )
        return notes

    def load(self) -> Any:
        """Return the model, which decodes greedily until it is released."""
        self._model.generation_config = greedy_config(self._model.generation_config)
        return self._model.eval()

    def release(self) -> None:
        """Leave the object as the user had it."""
        self._model.generation_config, training = self._before
        self._model.train(training)


def _hash_weights(model: Any) -> str:
    """Return a hash of the configuration and all weights; empty if some are not in memory."""
    digest = hashlib.sha256(type(model).__qualname__.encode())
    config = model.config.to_dict()
    digest.update(json.dumps({**config, "_name_or_path": ""}, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        for part in _plain(tensor):
            if part.device.type == "meta":
                return ""
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            flat = part.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def _plain(tensor: Any) -> Iterator[Tensor]:
    """Yield the plain tensors that a tensor consists of: itself, or the parts of a quantized one."""
    if not isinstance(tensor, Tensor):  # what a module keeps beside its tensors
        return
    if type(tensor) in (Tensor, torch.nn.Parameter) or not hasattr(tensor, "__tensor_flatten__"):
        yield tensor.as_subclass(Tensor)
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from _plain(getattr(tensor, name))


def _hash_processor(name: str, processor: Any) -> str:
    with TemporaryDirectory(prefix="tokenbench-") as folder:
        try:
            processor.save_pretrained(folder)
        except Exception as error:  # a processor of somebody's own
            raise UsageError(
                f"models: the processor of {name} cannot be saved, and so not be identified: {brief(error)}"
            ) from None
        return fingerprint(Path(folder))

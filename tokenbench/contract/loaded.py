"""A model that the user's own code has loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LoadedModel"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A stock transformers model with its processor, for `tokenbench.run(models=...)`.

    Example::

        model = AutoModelForImageTextToText.from_pretrained("my-model", dtype="bfloat16")
        tokenbench.run("fastv", models=tokenbench.LoadedModel(model, AutoProcessor.from_pretrained("my-model"), "mine"))
    """

    model: Any
    """The model, with its weights, on the devices where it is to run."""
    processor: Any
    """Its processor."""
    name: str = ""
    """The name under which the run uses it; by default that of the model's class."""

    def __repr__(self) -> str:
        return f"LoadedModel({type(self.model).__name__})"

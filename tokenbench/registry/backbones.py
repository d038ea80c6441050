"""Finds the registered backbone that serves a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.contract.backbone import Backbone
    from tokenbench.registry.plugins import Registry

__all__ = ["backbone_for", "backbone_of"]


def backbone_for(model: Any, known: Registry) -> Backbone:
    """The registered backbone that serves the model's architecture."""
    return backbone_of(getattr(getattr(model, "config", None), "model_type", type(model).__name__), known)


def backbone_of(model_type: str, known: Registry) -> Backbone:
    """The registered backbone that serves an architecture, by the name that configurations give it.

    Raises UsageError if there is none.
    """
    served: list[str] = []
    for name in known.names("backbones"):
        backbone = known.get("backbones", name)
        served += backbone.model_types
        if model_type in backbone.model_types:
            return backbone()  # type: ignore[no-any-return]
    raise UsageError(
        f"no backbone supports models of type '{model_type}'",
        f"supported: {', '.join(sorted(set(served)))}; for another architecture, write a backbone plug-in: tokenbench new backbone NAME",
    )

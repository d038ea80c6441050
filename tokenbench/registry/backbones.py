"""Finds the registered backbone that serves a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.contract.backbone import Backbone
    from tokenbench.registry.plugins import Registry

__all__ = ["backbone_for", "backbone_of", "is_served"]


def backbone_for(model: Any, registry: Registry) -> Backbone:
    """Return the registered backbone that serves a model's architecture. Raises the errors of `backbone_of`."""
    return backbone_of(getattr(getattr(model, "config", None), "model_type", type(model).__name__), registry)


def backbone_of(model_type: str, registry: Registry) -> Backbone:
    """Return the registered backbone that serves an architecture.

    Args:
        model_type: The name of the architecture in configurations.
        registry: The plug-ins that register backbones.

    Raises:
        UsageError: No backbone serves it, or one is known not to.
    """
    backbones = [registry.get("backbones", name) for name in registry.names("backbones")]
    for backbone in sorted(backbones, key=lambda one: one.fallback):
        if (found := backbone.serve(model_type)) is not None:
            return found  # type: ignore[no-any-return]
    served = {kind for backbone in backbones for kind in backbone.model_types}
    raise UsageError(
        f"no backbone supports models of type '{model_type}'",
        f"supported: {', '.join(sorted(served))}; for another architecture, write a backbone plug-in: tokenbench new backbone NAME",
    )


def is_served(model_type: str, registry: Registry) -> bool:
    """Return whether a registered backbone serves an architecture."""
    try:
        backbone_of(model_type, registry)
    except UsageError:
        return False
    return True

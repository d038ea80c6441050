"""One backbone for every architecture of transformers that needs no adapter of its own."""

from tokenbench_backbones.auto.backbone import Auto

__all__ = ["Auto"]

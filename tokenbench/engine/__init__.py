"""The pruning engine: hooks on stock transformers decoders. Knows neither architectures nor strategies by name."""

from tokenbench.engine.plan import Plan
from tokenbench.engine.prefill import Layout
from tokenbench.engine.pruner import Pruner
from tokenbench.engine.trace import RowTrace

__all__ = ["Layout", "Plan", "Pruner", "RowTrace"]

"""The pruning engine: hooks on stock transformers models. Knows neither architectures nor strategies by name."""

from tokenbench.engine.cache import cache_name
from tokenbench.engine.frame import Frame
from tokenbench.engine.plan import Fit, Plan
from tokenbench.engine.prefill import Layout
from tokenbench.engine.prefix import Prefix
from tokenbench.engine.pruner import Pruner
from tokenbench.engine.state import before, replaced
from tokenbench.engine.trace import RowTrace
from tokenbench.engine.watch import Watch, Wish, dealt

__all__ = [
    "Fit",
    "Frame",
    "Layout",
    "Plan",
    "Prefix",
    "Pruner",
    "RowTrace",
    "Watch",
    "Wish",
    "before",
    "cache_name",
    "dealt",
    "replaced",
]

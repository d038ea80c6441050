"""The pruning engine: hooks on stock transformers models. Knows neither architectures nor strategies by name."""

from tokenbench.engine.cache import cache_name, selects_rows
from tokenbench.engine.checkpoint import LayerCheckpoint
from tokenbench.engine.encoder_recorder import EncoderRecorder, EncoderRequests, split_frames
from tokenbench.engine.frame import Frame
from tokenbench.engine.joining import CannotSplitError, JoinedCache, can_join
from tokenbench.engine.layout import Layout
from tokenbench.engine.plan import Fit, Question, RowPlan
from tokenbench.engine.pruner import Pruner
from tokenbench.engine.replay import Replay, replay
from tokenbench.engine.state import call_before, replace_method
from tokenbench.engine.timer import SelectionTimer
from tokenbench.engine.trace import RowTrace

__all__ = [
    "CannotSplitError",
    "EncoderRecorder",
    "EncoderRequests",
    "Fit",
    "Frame",
    "JoinedCache",
    "LayerCheckpoint",
    "Layout",
    "Pruner",
    "Question",
    "Replay",
    "RowPlan",
    "RowTrace",
    "SelectionTimer",
    "cache_name",
    "call_before",
    "can_join",
    "replace_method",
    "replay",
    "selects_rows",
    "split_frames",
]

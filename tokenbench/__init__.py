"""TokenBench: compare visual-token pruning strategies of multimodal LLMs.

Names are imported on first use, so that the command line starts without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenbench.backbone import Backbone
    from tokenbench.budget import Budget
    from tokenbench.errors import MachineError, TokenBenchError, UsageError
    from tokenbench.hookspecs import Register, hookimpl
    from tokenbench.pruning import pruned
    from tokenbench.report import Report
    from tokenbench.runner.api import run
    from tokenbench.store.run import Run
    from tokenbench.strategy import (
        Attn,
        EncodedFrame,
        Grid,
        Keep,
        Merger,
        NoQuestionAttn,
        OwnLayerAttn,
        Selection,
        Signal,
        Stage,
        Strategy,
        View,
    )
    from tokenbench.suite import Box, Sample, Suite, SuiteRequest, Task, Video

__version__ = "0.1.0"

_HOME = {
    "Attn": "strategy",
    "Backbone": "backbone",
    "Box": "suite",
    "Budget": "budget",
    "EncodedFrame": "strategy",
    "Grid": "strategy",
    "Keep": "strategy",
    "MachineError": "errors",
    "Merger": "strategy",
    "NoQuestionAttn": "strategy",
    "OwnLayerAttn": "strategy",
    "Register": "hookspecs",
    "Report": "report",
    "Run": "store.run",
    "Sample": "suite",
    "Selection": "strategy",
    "Signal": "strategy",
    "Stage": "strategy",
    "Strategy": "strategy",
    "Suite": "suite",
    "SuiteRequest": "suite",
    "Task": "suite",
    "TokenBenchError": "errors",
    "UsageError": "errors",
    "Video": "suite",
    "View": "strategy",
    "hookimpl": "hookspecs",
    "pruned": "pruning",
    "run": "runner.api",
}

__all__ = [
    "Attn",
    "Backbone",
    "Box",
    "Budget",
    "EncodedFrame",
    "Grid",
    "Keep",
    "MachineError",
    "Merger",
    "NoQuestionAttn",
    "OwnLayerAttn",
    "Register",
    "Report",
    "Run",
    "Sample",
    "Selection",
    "Signal",
    "Stage",
    "Strategy",
    "Suite",
    "SuiteRequest",
    "Task",
    "TokenBenchError",
    "UsageError",
    "Video",
    "View",
    "hookimpl",
    "pruned",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tokenbench' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"tokenbench.{_HOME[name]}"), name)
    return value

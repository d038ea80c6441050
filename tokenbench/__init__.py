"""TokenBench: compare visual-token pruning strategies of multimodal LLMs.

Names are imported on first use, so that the command line starts without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenbench.api.pruned import pruned
    from tokenbench.api.run import run
    from tokenbench.contract.backbone import Backbone, Encoder, FrameLayout
    from tokenbench.contract.budget import Budget
    from tokenbench.contract.executor import Executor
    from tokenbench.contract.hookspecs import Register, hookimpl
    from tokenbench.contract.lattice import Grid
    from tokenbench.contract.loaded import LoadedModel
    from tokenbench.contract.report import Report
    from tokenbench.contract.sampling import FrameSampling
    from tokenbench.contract.sizes import DecoderSize, EncoderSize, ModelSize
    from tokenbench.contract.stage import Attn, Keep, NoQuestionAttn, OwnLayerAttn, Signal, Stage
    from tokenbench.contract.strategy import Dial, Merger, Selection, Strategy
    from tokenbench.contract.suite import HERE, Box, Sample, Suite, SuiteRequest, Task, Video
    from tokenbench.contract.view import EncodedFrame, View
    from tokenbench.errors import MachineError, TokenBenchError, UsageError
    from tokenbench.store.report_files import write_text
    from tokenbench.store.run import Run

__version__ = "0.2.0"

_HOME = {
    "Attn": "contract.stage",
    "Backbone": "contract.backbone",
    "Box": "contract.suite",
    "Budget": "contract.budget",
    "DecoderSize": "contract.sizes",
    "Dial": "contract.strategy",
    "EncodedFrame": "contract.view",
    "Encoder": "contract.backbone",
    "EncoderSize": "contract.sizes",
    "Executor": "contract.executor",
    "FrameLayout": "contract.backbone",
    "FrameSampling": "contract.sampling",
    "Grid": "contract.lattice",
    "HERE": "contract.suite",
    "Keep": "contract.stage",
    "LoadedModel": "contract.loaded",
    "MachineError": "errors",
    "Merger": "contract.strategy",
    "ModelSize": "contract.sizes",
    "NoQuestionAttn": "contract.stage",
    "OwnLayerAttn": "contract.stage",
    "Register": "contract.hookspecs",
    "Report": "contract.report",
    "Run": "store.run",
    "Sample": "contract.suite",
    "Selection": "contract.strategy",
    "Signal": "contract.stage",
    "Stage": "contract.stage",
    "Strategy": "contract.strategy",
    "Suite": "contract.suite",
    "SuiteRequest": "contract.suite",
    "Task": "contract.suite",
    "TokenBenchError": "errors",
    "UsageError": "errors",
    "Video": "contract.suite",
    "View": "contract.view",
    "hookimpl": "contract.hookspecs",
    "pruned": "api.pruned",
    "run": "api.run",
    "write_text": "store.report_files",
}

__all__ = [
    "HERE",
    "Attn",
    "Backbone",
    "Box",
    "Budget",
    "DecoderSize",
    "Dial",
    "EncodedFrame",
    "Encoder",
    "EncoderSize",
    "Executor",
    "FrameLayout",
    "FrameSampling",
    "Grid",
    "Keep",
    "LoadedModel",
    "MachineError",
    "Merger",
    "ModelSize",
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
    "write_text",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tokenbench' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"tokenbench.{_HOME[name]}"), name)
    return value

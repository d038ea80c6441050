"""The built-in strategies, one file a method. A new one is a file here and a line below."""

from __future__ import annotations

from tokenbench import Register, hookimpl
from tokenbench.contract.cells import VANILLA

STRATEGIES = {
    "attention": "attention:Attention",
    "blind": "blind:Blind",
    "clse": "clse:CLSE",
    "clse-m": "clse_m:CLSEM",
    "clse-m-paper": "clse_m_paper:CLSEMPaper",
    "dart": "dart:DART",
    "divprune": "divprune:DivPrune",
    "downsample": "downsample:Downsample",
    "fastv": "fastv:FastV",
    "ficoco-v": "ficoco_v:FiCoCoV",
    "hired": "hired:HiRED",
    "pdrop": "pdrop:PDrop",
    "pooling": "pooling:Pooling",
    "priortr": "priortr:PriorTR",
    "priortr-2f": "priortr:PriorTR2F",
    "prumerge": "prumerge:PruMerge",
    "random": "random:Random",
    "sparsevlm": "sparsevlm:SparseVLM",
    "tome": "tome:ToMe",
    "uniform": "uniform:Uniform",
    VANILLA: "vanilla:Vanilla",
    "visionzip": "visionzip:VisionZip",
    "vispruner": "vispruner:VisPruner",
}


@hookimpl
def tokenbench_register_strategies(register: Register) -> None:
    """Register every built-in strategy; each is imported when somebody asks for it."""
    for name, target in STRATEGIES.items():
        register(name, f"tokenbench_strategies.{target}")


@hookimpl
def tokenbench_register_mergers(register: Register) -> None:
    """Register the merger of CLSE-M, under its own name and as `tome`."""
    register("merge", "tokenbench_strategies.merge:Matching")
    register("tome", "tokenbench_strategies.merge:Matching")

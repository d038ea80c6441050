"""The built-in strategies, one file a method. A new one is a file here and a line below."""

from __future__ import annotations

from tokenbench import Register, hookimpl
from tokenbench.contract.cells import VANILLA

STRATEGIES = {
    "attention": "attention:Attention",
    "blind": "blind:Blind",
    "cdpruner": "cdpruner:CDPruner",
    "clse": "clse:CLSE",
    "clse-m": "clse_m:CLSEM",
    "clse-m-paper": "clse_m_paper:CLSEMPaper",
    "dart": "dart:DART",
    "divprune": "divprune:DivPrune",
    "downsample": "downsample:Downsample",
    "dycoke": "dycoke:DyCoke",
    "evs": "evs:EVS",
    "fastv": "fastv:FastV",
    "fastvid": "fastvid:FastVID",
    "fewer-frames": "fewer_frames:FewerFrames",
    "ficoco-v": "ficoco_v:FiCoCoV",
    "framefusion": "framefusion:FrameFusion",
    "hired": "hired:HiRED",
    "holitom": "holitom:HoliTom",
    "holov": "holov:HoloV",
    "mmtok": "mmtok:MMTok",
    "pdrop": "pdrop:PDrop",
    "pooling": "pooling:Pooling",
    "priortr": "priortr:PriorTR",
    "priortr-2f": "priortr:PriorTR2F",
    "prumerge": "prumerge:PruMerge",
    "prumerge-adaptive": "prumerge_adaptive:PruMergeAdaptive",
    "prunevid": "prunevid:PruneVid",
    "random": "random:Random",
    "scope": "scope:SCOPE",
    "sparsevlm": "sparsevlm:SparseVLM",
    "sparsevlm-plus": "sparsevlm_plus:SparseVLMPlus",
    "tome": "tome:ToMe",
    "uniform": "uniform:Uniform",
    "v2drop": "v2drop:V2Drop",
    VANILLA: "vanilla:Vanilla",
    "vidcom2": "vidcom2:VidCom2",
    "visionzip": "visionzip:VisionZip",
    "vispruner": "vispruner:VisPruner",
    "vscan": "vscan:VScan",
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

"""Twelve plug-ins that break their contract, each in one way: a strategy, merger, backbone, suite or report as one file.

BROKEN: name -> (source, the check that must fail, what its verdict must say).
"""

from __future__ import annotations

STRATEGY = """
import torch, tokenbench
from tokenbench import Attn, Stage, Strategy

class Broken(Strategy):
    def schedule(self, depth, budget):
        return [(2, budget.keep)]
    def score(self, view):
        return -view.alive.float()
{more}
@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("broken", Broken)
"""
SUITE = """
import random, tokenbench
from PIL import Image
from tokenbench import Box, Sample, Suite, Task

class Broken(Task):
    name, description, box, order = "colors", "Which color?", Box(0, 0, 1, 1), staticmethod(lambda colors: colors)
    def samples(self):
        colors = self.order(["red", "blue", "lime"] * 10)
        return [
            Sample(self.key(i), f"image-{{i}}", "Which color?", color, self.load(color), (self.box,))
            for i, color in enumerate(colors)
        ]
    def key(self, i):
        return f"sample-{{i}}"
    def load(self, color):
        return lambda: [Image.new("RGB", (8, 8), color)]
    def score(self, answer, sample):
        return float(answer == sample.target)
{more}
@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("broken", lambda: Suite("broken", "Colors", (Broken(),)))
"""
REPORT = """
import tokenbench
from pathlib import Path

class Broken(tokenbench.Report):
    name, description = "broken", "broken.html"
    def write(self, comparison, run, folder, out):
        path = folder / "broken.html"
        path.write_text(self.text(comparison, run), encoding="utf-8")
        return [path]
    def text(self, comparison, run):
        return "nothing"
{more}
@tokenbench.hookimpl
def tokenbench_register_reports(register):
    register("broken", Broken)
"""
MERGER = """
import tokenbench

class Broken(tokenbench.Merger):
    def merge(self, states, sizes, keep):
        return states[keep], sizes[keep]

@tokenbench.hookimpl
def tokenbench_register_mergers(register):
    register("broken", Broken)
"""
BACKBONE = """
import tokenbench
from tokenbench.registry.plugins import registry

Llava = registry().get("backbones", "llava")

class Broken(Llava):
    model_types = ("llava",)
    def grids(self, model, input_ids, positions, embeddings=None):
        return [tuple(tokenbench.Grid(1, grid.h, grid.w - 1) for grid in row) for row in super().grids(model, input_ids, positions)]

@tokenbench.hookimpl
def tokenbench_register_backbones(register):
    register("broken", Broken)
"""

BROKEN = {
    "keeps one too many": (
        STRATEGY.format(more="    def select(self, view):\n        return tokenbench.Selection(torch.arange(view.k + 1))\n"),
        "keeps its schedule",
        "4 tokens were kept instead of 3",
    ),
    "draws without a seed": (
        STRATEGY.format(more="    def score(self, view):\n        return torch.rand(view.n)\n"),
        "batch equals one by one",
        "other tokens in a batch than alone",
    ),
    "remembers the last sample": (
        STRATEGY.format(
            more="    def score(self, view):\n        Broken.calls = getattr(Broken, 'calls', 0) + 1\n"
            "        return ((view.alive * 7 + Broken.calls) % view.n).float()\n"
        ),
        "leaves nothing behind",
        "hold state",
    ),
    "asks for what is not there yet": (
        STRATEGY.format(more="    def stage(self, layer, keep, index):\n        return Stage(layer, keep, attention=(Attn(layer),))\n"),
        "plans for every decoder",
        "attention of layer 2 is not available there",
    ),
    "gives a count as a float": (
        STRATEGY.format(more="    def schedule(self, depth, budget):\n        return [(2, 64.0)]\n"),
        "plans for every decoder",
        "neither a count nor a share",
    ),
    "loses what is merged": (MERGER, "sizes add up", "sizes add up to 5 of 12 tokens"),
    "has lattices that do not add up": (BACKBONE, "lattices add up", "lattices of 12 tokens for 16 visual tokens"),
    "gives two samples one key": (
        SUITE.format(more="    def key(self, i):\n        return f'sample-{i // 2}'\n"),
        "keys are unique",
        "'sample-0' is there more than once",
    ),
    "is sorted by its answers": (
        SUITE.format(more="    order = staticmethod(sorted)\n"), "prefixes are fair", "are they sorted?",
    ),
    "shows other images every time": (
        SUITE.format(
            more="    def load(self, color):\n        return lambda: [Image.new('RGB', (8, 8), (random.randrange(256), 0, 0))]\n"
        ),
        "images load",
        "other images the second time",
    ),
    "writes beside its folder": (
        REPORT.format(more="    def text(self, comparison, run):\n        Path('beside.txt').write_text('x')\n        return 'nothing'\n"),
        "writes into its folder only",
        "beside.txt",
    ),
    "shows answers unescaped": (
        REPORT.format(more="    def text(self, comparison, run):\n        return ' '.join(comparison.tasks)\n"),
        "copes with hostile strings",
        "runs what an answer says",
    ),
}  # fmt: skip

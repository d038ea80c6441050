"""What each strategy's selection costs beside the prefill it runs in: `python -m benchmarks.selection`.

At LLaVA-1.5-7B's shapes (576 visual and 50 other tokens, width 4096, 32 layers, the CLIP-L encoder), float32, one thread,
CPU seconds of the process. The selection is timed where it runs, in the engine: the stages, what they read and write, the
attention weights; on a decoder of that width whose matrices are left out, which selection does not notice. The prefill is a real
decoder layer of that size, timed at several lengths and added up over the tokens that every layer computed; layers that a
strategy runs once more or in a second forward pass count as selection, and so does the encoder where it runs again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from tokenbench.contract.cells import VANILLA
from tokenbench.engine import RowPlan, RowTrace, SelectionTimer
from tokenbench.engine.attach import attach
from tokenbench.errors import InfeasibleError
from tokenbench.models.source import configuration
from tokenbench.registry.plugins import Registry
from tokenbench_tools.bench.plans import make_plan, make_ways

MODEL, TEXT, DEPTH = "llava-1.5-7b", 50, 32
LENGTHS = (1, 64, 128, 256, 626)
TARGET = 5.0


class Layer:
    """A real decoder layer: CPU seconds of all of it, and of its attention, at any number of tokens."""

    def __init__(self, decoder: Any) -> None:
        self._layer, self._rotary = decoder.layers[0], decoder.rotary_emb
        self._times: dict[int, tuple[list[float], list[float]]] = {length: ([], []) for length in LENGTHS}

    def measure(self) -> None:
        """Once more at every length."""
        layer = self._layer
        for length, (whole, attention) in self._times.items():
            states = torch.randn(1, length, layer.hidden_size)
            given = {
                "attention_mask": None,
                "position_embeddings": self._rotary(states, torch.arange(length)[None]),
            }
            whole.append(_seconds(partial(layer, states, **given)))
            attention.append(_seconds(lambda x=states, g=given: layer.self_attn(layer.input_layernorm(x), **g)))

    def seconds(self, tokens: float, part: int = 0) -> float:
        """part: 0 the whole layer, 1 its attention."""
        medians = [statistics.median(times[part]) for times in self._times.values()]
        return float(np.interp(tokens, LENGTHS, medians))


class Hollow(nn.Module):
    """In the place of a matrix or MLP: passes on what it gets."""

    def forward(self, states: Tensor) -> Tensor:
        return states


def build(known: Registry) -> tuple[Any, Any, Layer]:
    """Adapter, hollow model, and the real layer."""
    backbone, config = configuration(MODEL, known)
    torch.manual_seed(0)
    config.text_config.num_hidden_layers = 1
    real = Layer(AutoModelForImageTextToText.from_config(config).eval().model.language_model)
    config.text_config.num_hidden_layers = DEPTH
    with torch.device("meta"):
        hollow = AutoModelForImageTextToText.from_config(config)
    for layer in hollow.model.language_model.layers:
        layer.mlp = Hollow()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, name, Hollow())
    hollow.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in hollow.parameters():
            parameter.normal_(std=0.02)
    # Buffers that `to_empty` left undefined.
    embeddings = hollow.model.vision_tower.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]
    hollow.model.language_model.rotary_emb = type(hollow.model.language_model.rotary_emb)(config.text_config)
    return backbone, hollow.eval(), real


def selected(backbone: Any, model: Any, plan: RowPlan, inputs: dict[str, Tensor]) -> tuple[float, RowTrace]:
    """CPU seconds of selection in one prefill, and its trace."""
    timer = SelectionTimer(cuda=False, clock=time.process_time)
    with attach(model, backbone, [plan]) as pruner, torch.inference_mode():
        pruner.timer = timer
        model(**inputs, logits_to_keep=1)
    return timer.seconds, pruner.rows[0]


def shares(trace: RowTrace, selecting: float, layer: Layer) -> tuple[float, float]:
    """Seconds of selection, layers that run once more included, and of the prefill without it."""
    ahead = sum(layer.seconds(tokens, part=1) for tokens in trace.repeated_attentions)
    again = trace.no_question_layers * layer.seconds(trace.no_question_tokens)
    prefill = sum(layer.seconds(tokens + trace.text) for tokens in trace.tokens_per_layer)
    return selecting + ahead + again, prefill


def _seconds(work: Callable[[], Any]) -> float:
    with torch.inference_mode():
        start = time.process_time()
        work()
        return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", default="")
    parser.add_argument("--budgets", default="192,64")
    parser.add_argument("--passes", type=int, default=3, help="the first is not counted")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    known = Registry()
    names = args.strategies.split(",") if args.strategies else known.names("strategies")
    backbone, model, layer = build(known)
    inputs = backbone.dummy_inputs(model.config, backbone.default_grids(model.config), TEXT)
    layer.measure()
    print("| strategy | budget | selection, ms | of its prefill, % | of vanilla's prefill, % |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for way in make_ways([name for name in names if name != VANILLA], args.budgets.split(","), known):
        plan = make_plan(way, DEPTH, known)
        try:
            passes = [selected(backbone, model, plan, inputs) for _ in range(args.passes)]
        except InfeasibleError:
            continue
        layer.measure()
        own = statistics.median(seconds for seconds, _ in passes[1:])
        selecting, prefill = shares(passes[-1][1], own, layer)
        share, vanilla = 100 * selecting / (selecting + prefill), 100 * selecting / (DEPTH * layer.seconds(626))
        mark = " (above the target)" if share > TARGET else ""
        print(
            f"| {way.strategy} | {way.budget} | {1000 * selecting:.1f} | {share:.2f}{mark} | {vanilla:.2f} |",
            flush=True,
        )
    print(f"\nA layer takes {layer.seconds(626):.2f} CPU seconds at 626 tokens, {layer.seconds(114):.2f} at 114.")


if __name__ == "__main__":
    main()

"""What the engine costs when it drops nothing: `python -m benchmarks.overhead`.

Stock generate() and the same inside `pruned(model, "vanilla")`, inside FastV that may keep everything, and inside a strategy
that asks for all there is to see, a second forward and the encoder's keys included, and keeps everything, on a random LLaVA of about 100 million parameters. Runs are interleaved; the median and the middle half of the
paired ratios are printed, and the ratio of the peak memory of processes that do nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

import tokenbench
from tokenbench.contract.cells import VANILLA
from tokenbench.testing import KeepAll

WAYS = {"stock": None, VANILLA: VANILLA, "fastv, all kept": "fastv", "all asked, all kept": KeepAll()}
IMAGE, TEXT = 990, 60


def build(device: str, pixels: int = 336) -> Any:
    """A random LLaVA whose picture is `pixels` a side: 576 visual tokens unless said otherwise."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=pixels,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=1000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    return LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval().to(device)


def inputs_for(model: Any, rows: int) -> dict[str, Any]:
    vision = model.config.vision_config
    words = torch.randint(3, IMAGE, (rows, TEXT))
    visual = torch.full((rows, (vision.image_size // vision.patch_size) ** 2), IMAGE)
    ids = torch.cat([words[:, :5], visual, words[:, 5:]], 1)
    pixels = torch.randn(rows, 3, vision.image_size, vision.image_size)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return {name: value.to(model.device) for name, value in inputs.items()}


def session(model: Any, way: str) -> AbstractContextManager[Any]:
    strategy = WAYS[way]
    return nullcontext() if strategy is None else tokenbench.pruned(model, strategy, 576)


def once(model: Any, inputs: dict[str, Any], way: str, tokens: int) -> float:
    """Seconds of one generate(): CPU seconds, or on a GPU those that pass until it is done."""
    cuda = model.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    with session(model, way), torch.inference_mode():
        start = clock()
        model.generate(
            **inputs,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            suppress_tokens=[IMAGE],
            pad_token_id=0,
        )
        if cuda:
            torch.cuda.synchronize()
        return clock() - start


def peak(args: argparse.Namespace, way: str) -> float:
    """MiB of a process that generates this way only."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--memory-of", way, "--device", args.device]
    command += ["--rows", str(args.rows), "--tokens", str(args.tokens)]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory-of", choices=WAYS)
    args = parser.parse_args()
    model = build(args.device)
    inputs = inputs_for(model, args.rows)
    if args.memory_of:
        once(model, inputs, args.memory_of, args.tokens)
        on_gpu = args.device.startswith("cuda")
        print(
            torch.cuda.max_memory_allocated() / 2**20
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        )
        return
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters, {args.rows} rows, {args.tokens} new tokens"
    )
    for way in WAYS:
        once(model, inputs, way, args.tokens)
    ways = list(WAYS)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for round_ in range(args.rounds):
        for way in ways[round_ % len(ways) :] + ways[: round_ % len(ways)]:
            times[way].append(once(model, inputs, way, args.tokens))
    memory = {way: peak(args, way) for way in WAYS}
    for way in ways[1:]:
        paired = sorted(a / b for a, b in zip(times[way], times["stock"], strict=True))
        low, high = paired[len(paired) // 4], paired[-1 - len(paired) // 4]
        print(
            f"{way}: time {statistics.median(paired):.3f} x stock (middle half {low:.3f} to {high:.3f}), "
            f"peak memory {memory[way] / memory['stock']:.3f} x stock"
        )


if __name__ == "__main__":
    main()

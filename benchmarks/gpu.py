"""Everything that needs a GPU, in under four minutes: `python -m benchmarks.gpu`.

1. The tests that are skipped without a GPU, and the checks of every architecture on it (`pytest --device cuda`).
2. The time to the first token of LLaVA-1.5-7B's sizes with random weights in bfloat16, and what selection takes of it: prompts of 576
   and 2,304 visual tokens, alone and in batches of eight.
3. The sweep: 6 strategies x 3 budgets and vanilla on 48 questions, in one shared pass, cell by cell, and sample by sample; and the
   time that the card's matrix products alone would take by the cost model.

Without a GPU, `--small --device cpu` goes the same way with small models. What it prints are then no measurements of anything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.sweep import Sweep
from tokenbench import LoadedModel
from tokenbench.models.model import Model
from tokenbench.models.source import configuration, locate
from tokenbench.registry.plugins import registry
from tokenbench_tools.bench.launch import Launch
from tokenbench_tools.bench.machine import conditions, fingerprint
from tokenbench_tools.bench.plans import make_ways
from tokenbench_tools.bench.protocol import Protocol
from tokenbench_tools.bench.result import Bench, summarise

MODEL, STRATEGIES = "llava-1.5-7b", "vanilla,clse,fastv,divprune"
TESTS = ("tests/tokenbench/engine/test_cuda.py", "tests/test_conformance.py::test_backbone")
SECONDS_OF_TESTS = 90
SQUARE = 8192
"""Rows and columns of the matrices whose product says how fast the card multiplies."""


def run_tests(device: str) -> None:
    """Run the tests on the device, several processes side by side."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--device",
        device,
        "-m",
        "not slow",
        *TESTS,
    ]
    processes = ["-n", "4"] if device.startswith("cuda") else []
    try:
        told = subprocess.run([*command, *processes], capture_output=True, text=True, timeout=SECONDS_OF_TESTS).stdout
        print(*told.splitlines()[-12:], sep="\n")
    except subprocess.TimeoutExpired:
        print(f"the tests did not end within {SECONDS_OF_TESTS} seconds; run them by themselves: {' '.join(command)}")


def time_first_tokens(device: str, small: bool) -> None:
    """Print the time to the first token, and what selection takes of it, for batches of one and of eight prompts."""
    ways = make_ways(STRATEGIES.split(","), ["48"] if small else ["192", "64"], registry())
    for rows in (1, 2) if small else (1, 8):
        protocol = Protocol(
            model="toy-llava" if small else MODEL,
            ways=ways,
            lengths=(144,) if small else (576, 2304),
            rows=rows,
            new=2,
            launches=1,
            warm_up=1,
            repetitions=3,
            device=device,
            dtype="float32" if small else "bfloat16",
            random_weights=not small,
        )
        found = Launch(protocol).time_pass(seed=0)
        table = summarise(protocol, [found], {})
        print(Bench(protocol, tuple(table), fingerprint(device), (conditions(device),)), "\n")


def random_model(device: str) -> Model:
    """A model of LLaVA-1.5-7B's sizes with random weights, and toy-llava's words."""
    from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPImageProcessor

    processor: Any = AutoProcessor.from_pretrained(locate("toy-llava", registry()).folder)
    _, config = configuration(MODEL, registry())
    side = config.vision_config.image_size
    processor.image_processor = CLIPImageProcessor(size={"height": side, "width": side}, do_center_crop=False)
    processor.patch_size = config.vision_config.patch_size
    config.image_token_id = processor.image_token_id
    with torch.device(device):
        model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return Model.of_object(MODEL, LoadedModel(model, processor, MODEL), registry())


def compare_sweeps(device: str, small: bool) -> None:
    """Print the seconds of a sweep in one shared pass, cell by cell and sample by sample, beside what they could be."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else _wait_for_nothing
    sweep = Sweep(
        "clse,fastv,priortr,divprune,random,downsample", "1/3" if small else "1/3,2/9,1/9", limit=2 if small else 8,
        size=4 if small else 24, model=None if small else random_model(device),
    )  # fmt: skip
    with sweep.model.pruner() as pruner:
        _, traces = sweep.shared(pruner)  # warm-up
        shared, found = _seconds(lambda: sweep.shared(pruner)[0], wait)
        alone, apart = _seconds(lambda: sweep.alone(pruner), wait)
    sweep.model.load()
    questions, few = sum(map(len, sweep.batches)), 2
    peers, _ = _seconds(lambda: sweep.peers(few), wait)
    peers *= questions / few
    for name, seconds in (
        ("one shared pass", shared),
        ("cell by cell", alone),
        ("sample by sample, from a few", peers),
    ):
        print(f"{name}: {seconds:.1f} s, {seconds / shared:.2f} x shared")
    pairs = [(a, b) for i in found for a, b in zip(found[i], apart[i], strict=True)]
    print(
        f"{sum(a == b for a, b in pairs) / len(pairs):.1%} of {len(pairs)} answers equal cell by cell; {questions} questions"
    )
    flops = 2 * sweep.macs(traces)[0]
    rate = matrix_rate(device, 512 if small else SQUARE, wait)
    print(
        f"{flops / 1e12:.1f} TFLOP at {rate / 1e12:.1f} TFLOP/s are {flops / rate:.2f} s: shared is {shared * rate / flops:.2f} x that limit"
    )


def matrix_rate(device: str, side: int, wait: Callable[[], object]) -> float:
    """FLOP/s of a product of two square matrices in bfloat16."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    a @ b
    times = 20
    seconds, _ = _seconds(lambda: [a @ b for _ in range(times)], wait)
    return times * 2 * side**3 / seconds


def _seconds(work: Callable[[], Any], wait: Callable[[], object]) -> tuple[float, Any]:
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


def _wait_for_nothing() -> None:
    """A CPU has done its work when a call returns."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true", help="small models, to try the way without a GPU")
    parser.add_argument("--parts", default="tests,ttft,sweep", help="what to run")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(
            "torch sees no GPU here; to try the way with small models: python -m benchmarks.gpu --small --device cpu"
        )
    parts: dict[str, Callable[[], None]] = {
        "tests": lambda: run_tests(options.device),
        "ttft": lambda: time_first_tokens(options.device, options.small),
        "sweep": lambda: compare_sweeps(options.device, options.small),
    }
    print(*(f"{name}: {value}" for name, value in fingerprint(options.device).items()), sep="\n")
    for name in options.parts.split(","):
        print(f"\n## {name}")
        seconds, _ = _seconds(parts[name], _wait_for_nothing)
        print(f"({seconds:.0f} s)")


if __name__ == "__main__":
    main()

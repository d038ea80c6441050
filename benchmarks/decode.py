"""A decode step after pruning, against a stock model given that many tokens from the start: `python -m benchmarks.decode`.

A random LLaVA of about 100 million parameters. `divprune` prunes before the decoder; `clse` at three stages, and trims every
layer's cache to the last one; `fastv` and `pdrop` leave the caches of earlier layers as they are, so that their stock
counterpart has the mean length. Both caches are filled, then steps are taken in turn, one of each; printed is the median of
the paired ratios, and their middle half.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

import tokenbench
from benchmarks.overhead import IMAGE, TEXT, build, inputs_for
from tokenbench.contract.cells import VANILLA

WAYS = (
    (VANILLA, "1/3"),
    ("divprune", "192"),
    ("divprune", "64"),
    ("clse", "192"),
    ("clse", "64"),
    ("fastv", "192"),
    ("pdrop", "192"),
)


class Conversation:
    """A model with a filled cache, ready for one more step."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self._model = model
        with torch.inference_mode():
            output = model(**inputs, use_cache=True, logits_to_keep=1)
        self._cache, self._token = output.past_key_values, output.logits[:, -1:, :IMAGE].argmax(-1)

    @torch.inference_mode()
    def step(self) -> float:
        """Seconds of one step: CPU seconds, or on a GPU those that pass until it is done."""
        cuda = self._model.device.type == "cuda"
        clock = time.perf_counter if cuda else time.process_time
        if cuda:
            torch.cuda.synchronize()
        start = clock()
        output = self._model(input_ids=self._token, past_key_values=self._cache, use_cache=True)
        self._token = output.logits[:, -1:, :IMAGE].argmax(-1)
        if cuda:
            torch.cuda.synchronize()
        return clock() - start


def text_only(model: Any, rows: int, length: int) -> dict[str, Any]:
    """Prompts of words alone."""
    ids = torch.randint(3, IMAGE, (rows, length), device=model.device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def ratios(model: Any, way: tuple[str, str], rows: int, steps: int) -> tuple[int, list[float]]:
    """Mean length of the pruned cache, and the paired ratios."""
    with tokenbench.pruned(model, *way) as pruner:
        pruned = Conversation(model, inputs_for(model, rows))
        length = round(statistics.fmean(pruner.rows[0].cache_lengths))
    stock = Conversation(model, text_only(model, rows, length))
    found = []
    for _ in range(steps):
        seconds = stock.step()
        with tokenbench.pruned(model, *way):
            found.append(pruned.step() / seconds)
    return length, sorted(found[5:])  # the first ones warm up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60, help="of every repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    model = build(args.device)
    print("| strategy | budget | tokens in the cache | step / stock step of that length | middle half |")
    print("| --- | ---: | ---: | ---: | --- |")
    for way in WAYS:
        repeated = [ratios(model, way, args.rows, args.steps) for _ in range(args.repetitions)]
        length, found = repeated[0][0], sorted(one for _, own in repeated for one in own)
        middle = f"{found[len(found) // 4]:.3f} to {found[-1 - len(found) // 4]:.3f}"
        print(f"| {way[0]} | {way[1]} | {length} | {statistics.median(found):.3f} | {middle} |", flush=True)
    print(f"\nVanilla's cache holds {576 + TEXT} tokens.")


if __name__ == "__main__":
    main()

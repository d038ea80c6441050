"""Methods for clips run once for all rows of a batch, and nobody can tell from the result."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from benchmarks.launches import Launches, prefill
from tests.strategies import test_fastvid, test_holitom
from tests.tiny import tiny
from tokenbench import Selection, Strategy, View
from tokenbench.testing import batched, generate, logits
from tokenbench_backbones.tiny import VIDEO
from tokenbench_strategies import fastvid, holitom
from tokenbench_strategies.fastvid import FastVID
from tokenbench_strategies.holitom import HoliTom

STRATEGIES = [FastVID(), FastVID(cuts=2, tau=0.5), HoliTom(), HoliTom(inner=0.5)]


def clips(rows: int, frames: int = 9) -> dict[str, Tensor]:
    """Rows that show clips of scenes of unlike lengths, in which half of the picture stands still."""
    _, (prompt, *_) = tiny("video-llava")
    (start,), size = (prompt["input_ids"][0] == VIDEO).nonzero()[0], 5
    found = []
    for b in range(rows):
        draw = torch.Generator().manual_seed(b)
        scene = (torch.rand(frames, generator=draw) < 0.3).cumsum(0)
        noise, scenes = (torch.randn(frames + 1, 3, 8, 8, generator=draw) for _ in range(2))
        noise[..., :4] *= 0.05
        pixels = scenes[scene] + noise[1:]
        ids = prompt["input_ids"][0]
        ids = torch.cat([ids[:start], torch.full((size * frames,), VIDEO), ids[ids != VIDEO][start:]])[None]
        found.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values_videos": pixels[None]})
    return batched(found)


def alone(strategy: Strategy) -> Strategy:
    """The same strategy, asked about one row at a time."""

    class Alone(type(strategy)):  # type: ignore[misc]
        batching: ClassVar[Any] = "loop"

        def select(self, view: View) -> Selection:
            selection: Selection = super().select(view)
            return selection

    return Alone(**strategy.model_dump())


@pytest.mark.parametrize("budget", ["1/2", "1/4", "12", "3"])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_rows_together_keep_what_each_keeps_alone(strategy: Strategy, budget: str) -> None:
    model, _ = tiny("video-llava")
    found = []
    for one in (strategy, alone(strategy)):
        with tokenbench.pruned(model, one, budget) as pruning:
            output = logits(generate(model, clips(4), tokens=2))
        found.append((output, [[(at, kept.tolist()) for at, kept in row.stages] for row in pruning.rows]))
        assert {row.ways[0] for row in pruning.rows} == {"loop" if one is not strategy else "stacked"}
        assert all(row.merged for row in pruning.rows)
    (together, kept), (apart, same) = found
    assert kept == same
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)
    assert len({str(row) for row in kept}) > 1


@pytest.mark.parametrize("strategy", STRATEGIES[:3], ids=repr)
def test_more_rows_add_neither_operators_nor_looks(strategy: Strategy) -> None:
    """Of HoliTom inside the decoder, rows of unlike counts still ask one after another."""
    model, _ = tiny("video-llava")

    def added(rows: int) -> tuple[int, int]:
        stock, simple, own = (
            prefill(model, clips(rows), one, "1/3" if one else None) for one in (None, "fastv", strategy)
        )
        return own.operators.total() - stock.operators.total(), own.looks.total() - simple.looks.total()

    (one, looks), (eight, more) = added(1), added(8)
    assert eight <= 1.2 * one + 12  # what stacks and unstacks, and pads shorter rows
    assert more == looks == 2 + (strategy.positions == "compact")  # counts, sizes, and the order


def test_fastvid_takes_as_many_operators_for_many_rows_and_frames() -> None:
    def count(rows: int, frames: int, length: int) -> tuple[int, int]:
        clips, attention = zip(*(test_fastvid.make_clip(9 * b, frames, 16) for b in range(rows)), strict=True)
        segments = (torch.arange(frames) // length).expand(rows, -1)
        with Launches() as launches:
            fastvid.prune_clip(torch.stack(clips), torch.stack(attention), segments, 6)
        return launches.operators.total(), launches.looks.total()

    one, looks = count(1, 8, 4)
    assert looks == 1
    assert count(5, 8, 4) == count(3, 24, 4) == count(2, 24, 8) == (one, looks)
    assert count(5, 24, 24) == count(1, 24, 24)
    assert count(1, 24, 24)[0] <= 1.5 * one  # 6 anchors, of which 2 are looked at in a time


def test_holitom_takes_as_many_operators_for_many_rows() -> None:
    def count(rows: int, frames: int) -> tuple[int, int]:
        clips, attention = zip(*(test_holitom.make_clip(9 * b, frames, 16) for b in range(rows)), strict=True)
        with Launches() as launches:
            holitom.prune_clip(torch.stack(clips), torch.stack(attention), 3 * frames, 0.8)
        return launches.operators.total(), launches.looks.total()

    (one, looks), many, (longer, _) = count(1, 8), count(5, 8), count(3, 24)
    assert many == (one, looks)
    assert looks == 1
    assert longer - one <= 5 * (24 - 8)  # the search for windows and the sums go frame by frame

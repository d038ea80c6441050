"""Windows of attention that are computed all at once are what they are one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import tokenbench
from tests.tiny import tiny
from tokenbench.engine.packed_windows import PackedWindows
from tokenbench.testing import batched, generate, logits
from tokenbench_strategies.downsample import Downsample
from tokenbench_strategies.ficoco_v import FiCoCoV

SIZES = [[4, 4, 4], [3, 1, 5, 2], [2, 0, 3, 0], [6]]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def windows_of(sizes: Sequence[int]) -> PackedWindows:
    return PackedWindows.of(torch.tensor([0, *sizes]).cumsum(0).int())


def attend(parts: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
    """As the stock functions return it, [B, n, H, D]."""
    query, key, value = parts
    return scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("added", [False, True])
def test_attention_of_all_windows_is_that_of_each(sizes: list[int], added: bool) -> None:
    windows, packed = windows_of(sizes), [noise(1, 2, sum(sizes), 4 + i) for i in (0, 0, 1)]
    split = [windows.split(part) for part in packed]
    mask = windows.mask(split[0], added)
    assert (mask is None) == (len(set(sizes)) == 1)
    assert mask is None or mask.dtype == (torch.float32 if added else torch.bool)
    apart = [attend(parts)[0] for parts in zip(*(part.split(sizes, 2) for part in packed), strict=True)]
    torch.testing.assert_close(windows.join(attend(split, mask)), torch.cat(apart))


def test_what_is_left_of_frames_is_split_like_them() -> None:
    edges, left = (0, 4, 6, 10), torch.tensor([[0, 2, 3, 4, 9], [0, 1, 2, 3, 8], [4, 6, 7, 8, 9]])
    windows = PackedWindows.left_of(edges, left)
    assert windows.bounds.diff().tolist() == [3, 1, 1, 4, 0, 1, 0, 1, 4]
    assert (windows.total, windows.size) == (15, 4)
    assert windows.bounds.dtype == torch.int32


def test_products_of_windows_are_joined_in_any_order_of_the_positions() -> None:
    edges, left = (0, 4, 6, 10), torch.tensor([[0, 2, 3, 4, 9], [0, 1, 2, 3, 8]])
    windows, states = PackedWindows.left_of(edges, left), noise(2, 5, 3)
    split = windows.split(states.view(1, 1, 10, 3))[:, 0]
    order = torch.tensor([[3, 0, 4, 1, 2], [4, 3, 2, 1, 0]])
    found = windows.join_products(split @ split.mT, order)
    own = states.gather(1, order.unsqueeze(2).expand_as(states))
    window = (torch.bucketize(left, torch.tensor(edges), right=True)).gather(1, order)
    expected = (own @ own.mT).masked_fill(window.unsqueeze(1) != window.unsqueeze(2), -torch.inf)
    torch.testing.assert_close(found, expected)


def test_flash_attention_gets_the_packed_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed here: a function with its arguments stands in."""
    model, prompts = tiny("qwen2.5-vl")
    inputs = batched([{**prompts[0], "pixel_values": prompts[0]["pixel_values"].roll(b, -1)} for b in range(2)])
    calls: list[int] = []

    def flash(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **given: Any) -> tuple[Tensor, None]:
        sizes = given["cu_seq_lens_q"].diff().tolist()
        calls.append(len(sizes))
        assert query.shape[:1] == (1,)
        assert max(sizes) <= given["max_length_q"]
        parts = zip(*(part.split(sizes, 2) for part in (query, key, value)), strict=True)
        return torch.cat([attend(part) for part in parts], 1), None

    def answers() -> list[Tensor]:
        found = []
        for strategy in (FiCoCoV(start=0.0), Downsample()):
            with tokenbench.pruned(model, strategy, "1/2"):
                found.append(logits(generate(model, inputs, tokens=1)))
        return found

    stock = answers()
    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", lambda *_, **__: None)
    for functions, function in ((ALL_ATTENTION_FUNCTIONS, flash), (ALL_MASK_ATTENTION_FUNCTIONS, None)):
        monkeypatch.setitem(functions._global_mapping, "tests/flash", function)
    monkeypatch.setattr(model.base_model.visual.config, "_attn_implementation_internal", "tests/flash")
    for own, expected in zip(answers(), stock, strict=True):
        torch.testing.assert_close(own, expected, atol=5e-5, rtol=1e-4)
    assert max(calls) > 2

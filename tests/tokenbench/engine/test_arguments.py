"""What layers are given is what the stock decoder made, at the columns that are left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tokenbench import Attn, Stage
from tokenbench.engine.arguments import SegmentArguments, gather_mask, read_padding
from tokenbench.engine.attention_tap import Attended
from tokenbench.engine.layers import kinds_of_layers
from tokenbench.engine.schedule import move_to_attention
from tokenbench.engine.segment import Segment
from tokenbench.errors import InfeasibleError

LOWEST = torch.finfo(torch.float32).min
COLUMNS = torch.tensor([[0, 2, 3], [1, 1, 3]])
VALID = torch.tensor([[True, True, True], [False, True, True]])


def segment() -> Segment:
    """Two rows of four columns each, of which three and two are left."""
    return Segment(COLUMNS, VALID, COLUMNS, torch.zeros(2, dtype=torch.long), [3, 2], compact=False, full=False)


def window(width: int) -> Tensor:
    """[1, 1, 4, 4] a causal mask that sees so many columns."""
    column = torch.arange(4)
    return ((column <= column[:, None]) & (column > column[:, None] - width))[None, None]


def seen(query: int, key: int, width: int) -> bool:
    return query - width < key <= query


@pytest.mark.parametrize("boolean", [True, False])
def test_a_window_counts_in_the_prompt(boolean: bool) -> None:
    mask = window(2)
    stock = mask if boolean else torch.zeros(1, 1, 4, 4).masked_fill(~mask, LOWEST)
    part = gather_mask(stock, COLUMNS, COLUMNS, VALID)
    allowed = part if boolean else part == 0
    for b in range(2):
        for i, query in enumerate(COLUMNS[b].tolist()):
            for j, key in enumerate(COLUMNS[b].tolist()):
                right = i == j or (bool(VALID[b, j]) and seen(query, key, 2))
                assert bool(allowed[b, 0, i, j]) == right, (b, i, j)


def test_further_queries_see_the_keys_that_are_left() -> None:
    stock = window(3)[:, :, -1:]  # one query, in the last column
    assert gather_mask(stock, None, COLUMNS, VALID)[:, 0, 0].tolist() == [[False, True, True], [False, True, True]]


def test_every_argument_of_a_layer_is_cut_and_what_layers_share_once() -> None:
    arguments = SegmentArguments(segment(), 4, "sdpa")
    rope = (torch.arange(4.0).view(1, 4, 1), torch.arange(4.0).view(1, 4, 1) + 10)
    kinds, cache = torch.arange(8).view(2, 4), object()
    stock: dict[str, Any] = {
        "attention_mask": window(4),
        "position_embeddings": rope,
        "position_ids": torch.arange(4)[None],
        "past_key_values": cache,
        "moe_token_types": kinds,
        "scale": 2.0,
        "one_per_row": torch.zeros(2, 3),
    }
    cut = arguments.cut(stock, torch.float32, attends=True)
    assert cut["position_embeddings"][1][..., 0].tolist() == [[10, 12, 13], [11, 11, 13]]
    assert cut["moe_token_types"].tolist() == [[0, 2, 3], [5, 5, 7]]
    assert cut["position_ids"] is None
    assert cut["past_key_values"] is cache
    assert (cut["scale"], cut["one_per_row"].shape) == (2.0, (2, 3))
    again = arguments.cut(stock, torch.float32, attends=True)
    assert again["attention_mask"] is cut["attention_mask"]
    other = arguments.cut({**stock, "attention_mask": window(1)}, torch.float32, attends=True)
    assert not torch.equal(other["attention_mask"], cut["attention_mask"])
    recurrent = arguments.cut({**stock, "attention_mask": torch.ones(2, 4)}, torch.float32, attends=False)
    assert recurrent["attention_mask"] is VALID or torch.equal(recurrent["attention_mask"], VALID)


def test_padding_is_read_off_any_mask() -> None:
    flat = torch.tensor([[0, 1, 1], [1, 1, 1]])
    causal = torch.ones(3, 3, dtype=torch.bool).tril()[None, None] & flat.bool()[:, None, None]
    added = torch.zeros(2, 1, 3, 3).masked_fill(~causal, LOWEST)
    sliding = causal & torch.ones(3, 3, dtype=torch.bool).triu()
    for mask in (
        flat,
        flat.bool(),
        flat.float(),
        causal,
        added,
        {"sliding_attention": sliding, "full_attention": causal},
    ):
        found = read_padding(mask)
        assert found is not None
        assert found.tolist() == flat.bool().tolist()
    assert read_padding(None) is None


def test_attention_weights_follow_the_mask_of_the_call() -> None:
    query = key = torch.zeros(1, 1, 4, 2)
    attended = Attended(query, key, 1.0, window(2))
    for queries in (slice(3, 4), torch.tensor([[3]])):
        weights = attended.weights(queries, torch.ones(1, 4, dtype=torch.bool))
        assert weights[0, 0, 0].tolist() == [0, 0, 0.5, 0.5]


def test_stages_move_to_where_attention_is() -> None:
    stages = [
        Stage(1, 0.5, hidden=(0, 1), attention=(Attn(0),)),
        Stage(2, 0.4),
        Stage(5, 0.2, keys=(4,), attention=(Attn(4),)),
    ]
    attends = [False, True, False, True, False, False]
    first, second, third = move_to_attention(stages, attends)
    assert (first.layer, first.hidden, first.attention) == (2, (0, 2), (Attn(1),))
    assert second.layer == 3
    assert (third.layer, third.keys, third.attention) == (4, (3,), (Attn(3),))
    assert move_to_attention(stages, [True] * 6) == tuple(stages)
    with pytest.raises(InfeasibleError, match="no layer of attention is left"):
        move_to_attention([Stage(1, 0.5, attention=(Attn(0),))], [False] * 3)


def test_kinds_of_layers() -> None:
    class Config:
        num_hidden_layers = 2
        sliding_window: int | None = 8

    assert kinds_of_layers(Config()) == ["sliding_attention"] * 2
    Config.sliding_window = None
    assert kinds_of_layers(Config()) == ["full_attention"] * 2

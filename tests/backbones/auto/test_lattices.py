"""Lattices are those of the stock code, or absent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import tokenbench
from tokenbench import Grid
from tokenbench_backbones.auto import Auto
from tokenbench_backbones.auto.facts import FACTS
from tokenbench_backbones.auto.lattices import Row, from_positions, newlines, none, separated_rows, squares

IMAGE = 90
SIDE = 4


def row(ids: list[int], **more: Any) -> Row:
    tensor = torch.tensor(ids)
    return Row(tensor, tensor == IMAGE, more.get("positions"), more.get("embeddings"))


@pytest.fixture(scope="module")
def llava_next() -> Any:
    return Auto("llava_next").tiny()[0]


def packed(model: Any, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """What stock code packs of tiles whose features say where they lie: (picture, y, x), one more than 0."""
    coordinates = torch.cartesian_prod(torch.arange(1.0, SIDE + 1), torch.arange(1.0, SIDE + 1))
    features = []
    for height, width in sizes:
        down, across = -(-height // 16), -(-width // 16)
        tiles = [torch.cat([torch.ones(SIDE**2, 1), coordinates], 1)]
        for y in range(down):
            for x in range(across):
                at = coordinates + torch.tensor([y * SIDE, x * SIDE])
                tiles.append(torch.cat([torch.full((SIDE**2, 1), 2.0), at], 1))
        features.append(torch.stack(tiles))
    found, _ = model.model.pack_image_features(
        features, torch.tensor(sizes), "default", image_newline=model.model.image_newline[:3]
    )
    return list(found)


@pytest.mark.parametrize(
    "sizes", [[(16, 32)], [(30, 16)], [(20, 32)], [(32, 32), (16, 32)], [(12, 20), (32, 20), (30, 16)]]
)
def test_newlines_are_where_stock_code_puts_them(llava_next: Any, sizes: list[tuple[int, int]]) -> None:
    parts = packed(llava_next, sizes)
    embeddings = torch.cat(parts)
    model = SimpleNamespace(
        config=llava_next.config,
        base_model=SimpleNamespace(image_newline=llava_next.model.image_newline[:3]),
    )
    grids = newlines(model, row([IMAGE] * len(embeddings), embeddings=embeddings))
    assert [grid.has_places for grid in grids] == [True, True] * len(sizes)
    start = 0
    for number, grid in enumerate(grids):
        own = embeddings[start : start + grid.tokens]
        places = torch.tensor(grid.patches())
        cells = own[places[0]]
        assert (cells[..., 0] == 1 + number % 2).all()
        ys, xs = cells[..., 1], cells[..., 2]
        assert (ys == ys[:, :1]).all()
        assert (ys[1:, 0] - ys[:-1, 0] == 1).all()
        assert (xs == xs[:1]).all()
        assert (xs[0, 1:] - xs[0, :-1] == 1).all()
        others = torch.ones(len(own), dtype=torch.bool)
        others[places.flatten()] = False
        assert (own[others] == model.base_model.image_newline).all()
        start += grid.tokens
    assert start == len(embeddings)


def test_a_run_that_is_no_image_of_llava_next_has_no_lattice() -> None:
    newline = torch.tensor([7.0])
    model = SimpleNamespace(
        config=SimpleNamespace(image_token_id=IMAGE, vision_config=SimpleNamespace(image_size=16, patch_size=4)),
        base_model=SimpleNamespace(image_newline=newline),
    )
    embeddings = torch.arange(20.0).unsqueeze(1)  # a newline in the eighth place, within the square
    assert newlines(model, row([IMAGE] * 20, embeddings=embeddings)) == [Grid.without_places(20)]
    assert newlines(model, row([IMAGE] * 20)) == [Grid.without_places(20)]


def test_rows_apart_are_one_image_until_its_end() -> None:
    line, stop = 88, 89
    ids = [5, *[IMAGE] * 3, line, *[IMAGE] * 3, stop, *[IMAGE] * 3, stop, *[IMAGE] * 2, line, *[IMAGE] * 2, stop, 6]
    assert separated_rows(None, row(ids)) == [Grid(1, 2, 3), Grid.without_places(3), Grid(1, 2, 2)]


def test_squares_fill_a_run_or_there_is_no_lattice() -> None:
    rule, model = squares(lambda config: config.side), SimpleNamespace(config=SimpleNamespace(side=2))
    assert rule(model, row([1, *[IMAGE] * 8, 2, *[IMAGE] * 5])) == [
        Grid(1, 2, 2),
        Grid(1, 2, 2),
        Grid.without_places(5),
    ]


def test_positions_spell_a_lattice_or_there_is_none() -> None:
    t, y, x = torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(4), indexing="ij")
    positions = torch.stack([t.flatten() + 9, y.flatten() + 9, x.flatten() + 9])
    assert from_positions(None, row([IMAGE] * 24, positions=positions)) == [Grid(2, 3, 4)]
    slipped = positions[:, torch.randperm(24, generator=torch.Generator().manual_seed(0))]
    assert from_positions(None, row([IMAGE] * 24, positions=slipped)) == [Grid.without_places(24)]
    assert from_positions(None, row([IMAGE] * 4)) == none(None, row([IMAGE] * 4)) == [Grid.without_places(4)]


def test_patches_and_frames_of_a_lattice_add_up() -> None:
    grid = Grid(2, 2, 3, num_prefix_tokens=1, row_end_tokens=1, num_suffix_tokens=2)
    assert grid.tokens == 2 * (1 + 2 * 4) + 2 == sum(frame.tokens for frame in grid.frames)
    assert grid.patches() == [[[1, 2, 3], [5, 6, 7]], [[10, 11, 12], [14, 15, 16]]]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, facts in FACTS.items() if facts.lattice is not none))
def test_lattices_are_those_of_the_pictures(name: str) -> None:
    """Grids come from the image processor where there are some; squares hold as many tokens as stock code makes."""
    auto = Auto(name)
    model, prompts = auto.tiny()
    for prompt in prompts:
        with torch.no_grad(), tokenbench.pruned(model, "vanilla") as pruning:
            model(**prompt)
            counts = [len(part) for part in auto.encode_images(model, prompt)]
        (row,) = pruning.rows
        if "image_grid_thw" in prompt:
            merge = getattr(model.config.vision_config, "spatial_merge_size", 2)
            sizes = [(t, h // merge, w // merge) for t, h, w in prompt["image_grid_thw"].tolist()]
            assert [(grid.t, grid.h, grid.w) for grid in row.grids] == sizes
            continue
        assert sum(grid.tokens for grid in row.grids) == sum(counts)
        if "image_sizes" not in prompt:  # newlines, or rows apart: other tests compare them with stock code
            assert all(grid.h == grid.w for grid in row.grids)

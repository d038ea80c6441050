"""Folders of models without an adapter, with the processors that people have: pictures of unlike sizes in one batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import (
    Gemma3ImageProcessor,
    Gemma3Processor,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
)

import tokenbench
from tests.backbones.test_folders import UNLIKE
from tests.folders import HALF, TEMPLATE, _tokenizer
from tests.tokenbench.commands.test_running import call
from tokenbench_backbones.auto import Auto


def _idefics3() -> Any:
    return Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}, **HALF),
        _tokenizer("<image>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>"),
        image_seq_len=4,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )


def _llava_next() -> Any:
    square = {"height": 16, "width": 16}
    pinpoints = [[16, 32], [32, 16], [32, 32]]
    return LlavaNextProcessor(
        LlavaNextImageProcessor(size=square, crop_size=square, image_grid_pinpoints=pinpoints, **HALF),
        _tokenizer("<image>", "<video>"),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )


def _mistral3() -> Any:
    return PixtralProcessor(
        PixtralImageProcessor(size={"longest_edge": 32}, patch_size={"height": 8, "width": 8}, **HALF),
        _tokenizer("[IMG]", "[IMG_BREAK]", "<start>", "[IMG_END]"),
        patch_size=4,
        spatial_merge_size=2,
        chat_template=TEMPLATE.replace("IMAGE", "[IMG]"),
    )


def _gemma3() -> Any:
    marks = {"boi_token": "<start>", "eoi_token": "<end>", "image_token": "<image>"}
    return Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 16, "width": 16}, **HALF),
        _tokenizer("<image>", "<video>", **marks),
        image_seq_length=4,
        chat_template=TEMPLATE.replace("IMAGE", "<start>"),
    )


PROCESSORS: dict[str, Callable[[], Any]] = {
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "llava_next": _llava_next,
    "mistral3": _mistral3,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSORS)
def test_eight_unlike_images_in_a_batch_equal_eight_single_runs(name: str, tmp_path: Path) -> None:
    model, _ = Auto(name).tiny()
    model.save_pretrained(tmp_path / "model")
    PROCESSORS[name]().save_pretrained(tmp_path / "model")
    (tmp_path / "unlike.py").write_text(UNLIKE)
    tables = []
    for size in ("8", "1"):
        run = ("run", "--suite", "unlike", "--plugin", str(tmp_path / "unlike.py"), "--models", str(tmp_path / "model"))
        more = ("--strategies", "clse,fastv,divprune", "--budgets", "1/3", "--batch-size", size, "-q")
        assert call(*run, *more, "-o", str(tmp_path / size)) == 0
        opened = tokenbench.Run.open(tmp_path / size)
        assert {cell["strategy"] for cell in opened.failures()} == {"downsample"}  # it reads the vision encoder
        assert {cell["kind"] for cell in opened.failures()} == {"infeasible"}
        table = opened.samples()
        table["kept"] = table["kept"].map(list)
        tables.append(table[["strategy", "seed", "sample", "answer", "kept", "visual_tokens"]])
    assert set(tables[0]["strategy"]) == {"vanilla", "clse", "fastv", "divprune", "random"}
    assert len(set(tables[0]["visual_tokens"])) > 1
    pruned = tables[0][tables[0]["strategy"] != "vanilla"]
    assert (pruned["kept"].map(len) < pruned["visual_tokens"]).all()
    pd.testing.assert_frame_equal(*tables)

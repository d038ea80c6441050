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
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PixtralImageProcessor,
    PixtralProcessor,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

import tokenbench
from tests.backbones.test_folders import UNLIKE
from tests.folders import HALF, TEMPLATE, _tokenizer
from tests.folders import PROCESSORS as QWEN
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


def _llava_onevision() -> Any:
    size = {"height": 16, "width": 16}
    return LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]], **HALF),
        _tokenizer("<image>", "<video>"),
        LlavaOnevisionVideoProcessor(size=size, **HALF),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE.replace("IMAGE", "<image>").replace("VIDEO", "<video>"),
    )


def _smolvlm() -> Any:
    pytest.importorskip("num2words")  # the processor needs it
    return SmolVLMProcessor(
        SmolVLMImageProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}, **HALF),
        _tokenizer("<image>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>"),
        SmolVLMVideoProcessor(size={"longest_edge": 16}, max_image_size={"longest_edge": 16}, **HALF),
        image_seq_len=4,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )


PROCESSORS: dict[str, Callable[[], Any]] = {
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "mistral3": _mistral3,
    "qwen3_5": QWEN["qwen3-vl"],
    "qwen3_vl_moe": QWEN["qwen3-vl"],
    "smolvlm": _smolvlm,
}


@pytest.mark.slow
@pytest.mark.usefixtures("without_reports")
@pytest.mark.parametrize("suite", ["image", "unlike"])
@pytest.mark.parametrize("name", PROCESSORS)
def test_eight_images_in_a_batch_equal_eight_single_runs(name: str, suite: str, tmp_path: Path) -> None:
    """Those of the suite, by its name, and pictures of unlike sizes."""
    auto = Auto(name)
    readers = {"downsample", "visionzip"}  # of the vision encoder
    infeasible = set() if auto.describes_towers else readers
    model, _ = auto.tiny()
    model.save_pretrained(tmp_path / "model")
    PROCESSORS[name]().save_pretrained(tmp_path / "model")
    (tmp_path / "unlike.py").write_text(UNLIKE)
    tables = []
    for size in ("8", "1"):
        run = ("run", "--suite", suite, "--plugin", str(tmp_path / "unlike.py"), "--models", str(tmp_path / "model"))
        some = ("--tasks", "attribute", "--limit", "8") if suite == "image" else ()
        more = ("--strategies", "clse,fastv,divprune,visionzip", "--budgets", "1/3", "--batch-size", size, "-q")
        assert call(*run, *some, *more, "-o", str(tmp_path / size)) == 0
        opened = tokenbench.Run.open(tmp_path / size)
        assert {cell["strategy"] for cell in opened.failures()} == infeasible
        assert {cell["kind"] for cell in opened.failures()} <= {"infeasible"}
        table = opened.samples()
        table["kept"] = table["kept"].map(list)
        tables.append(table[["strategy", "seed", "sample", "answer", "kept", "visual_tokens"]])
    ran = {"vanilla", "random", "clse", "fastv", "divprune", *(readers - infeasible)}
    assert set(tables[0]["strategy"]) == ran
    assert len(tables[0]) == 8 * (len(ran) + 2)  # three draws of random
    assert suite == "image" or len(set(tables[0]["visual_tokens"])) > 1
    pruned = tables[0][tables[0]["strategy"] != "vanilla"]
    assert (pruned["kept"].map(len) < pruned["visual_tokens"]).all()
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
@pytest.mark.usefixtures("without_reports")
def test_clips_have_frames_and_only_those_who_read_their_patches_are_refused(tmp_path: Path) -> None:
    """LLaVA-OneVision resizes what it computed of clips. All strategies of a run share its batches."""
    model, _ = Auto("llava_onevision").tiny()
    model.save_pretrained(tmp_path / "model")
    PROCESSORS["llava_onevision"]().save_pretrained(tmp_path / "model")
    run = ("run", "--suite", "video", "--models", str(tmp_path / "model"), "--tasks", "order", "--limit", "4", "-q")
    more = ("--strategies", "divprune,visionzip,dycoke,clse", "--budgets", "1/3", "--seeds", "0")
    assert call(*run, *more, "-o", str(tmp_path / "run")) == 0
    opened = tokenbench.Run.open(tmp_path / "run")
    (refused,) = opened.failures()
    assert (refused["strategy"], refused["kind"]) == ("visionzip", "infeasible")
    assert "the model resizes what it computed of clips" in refused["reason"]
    table = opened.samples()
    assert {tuple(lattice) for lattice in table["lattice"]} == {(8, 2, 2, 0)}
    assert set(table["visual_tokens"]) == {8 * 4 + 1}  # a newline behind the last frame
    assert table[table["strategy"] == "vanilla"]["evidence_recall"].eq(1).all()

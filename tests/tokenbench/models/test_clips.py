"""Stock processors take clips as they are: every frame once, whatever their number, without sampling them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from tokenbench import Video
from tokenbench.models.processing import process

WORDS = Path(__file__).parents[3] / "backbones/tokenbench_backbones/toy_llava_weights/tokenizer.json"
MARKS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
INTERN = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
SIZE = {"shortest_edge": 28 * 28, "longest_edge": 8 * 56 * 56}


def tokenizer(marks: dict[str, str]) -> Any:
    """The toy model's words, and the marks of a model."""
    words = PreTrainedTokenizerFast(tokenizer_file=str(WORDS), unk_token="<unk>", pad_token="<pad>")
    words.add_special_tokens({"additional_special_tokens": sorted(set(marks.values()))})
    for name, mark in marks.items():
        setattr(words, name, mark)
        setattr(words, f"{name}_id", words.convert_tokens_to_ids(mark))
    return words


def processor_of(name: str) -> Any:
    """A processor whose own setting is to sample frames."""
    if name == "internvl":
        return InternVLProcessor(
            GotOcr2ImageProcessor(),
            tokenizer(INTERN),
            InternVLVideoProcessor(do_sample_frames=True),
            image_seq_length=4,
        )
    cls = {"qwen2-vl": Qwen2VLProcessor, "qwen2.5-vl": Qwen2_5_VLProcessor, "qwen3-vl": Qwen3VLProcessor}[name]
    videos = (Qwen3VLVideoProcessor if name == "qwen3-vl" else Qwen2VLVideoProcessor)(
        size=SIZE, do_sample_frames=True, **({} if name == "qwen3-vl" else {"fps": 1.0})
    )
    return cls(Qwen2VLImageProcessor(), tokenizer(MARKS), videos)


def clip(frames: int, fps: float = 2.0, last: int | None = None) -> Video:
    shown = [Image.new("RGB", (56, 56), (20 * k, 255 - 20 * k, 90)) for k in range(frames)]
    return Video(shown + ([] if last is None else [shown[last]]), fps)


def prompt(name: str) -> str:
    return "<video> what" if name == "internvl" else "<|vision_start|><|video_pad|><|vision_end|> what"


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def test_qwen_pairs_frames_and_repeats_the_last_of_an_odd_number(name: str, frames: int) -> None:
    processor = processor_of(name)
    (row,), media = process(processor, [prompt(name)], [clip(frames)])
    ((t, h, w),) = torch.as_tensor(media["video"]["video_grid_thw"]).tolist()
    assert t == -(-frames // 2)
    assert int((row["input_ids"] == processor.video_token_id).sum()) == t * h * w // 4
    pixels = media["video"]["pixel_values_videos"]
    assert len(pixels) == t * h * w
    if frames % 2:
        _, even = process(processor, [prompt(name)], [clip(frames, last=-1)])
        assert torch.equal(pixels, even["video"]["pixel_values_videos"])
    if name == "qwen2.5-vl":  # the time that a pair of frames stands for
        assert float(np.asarray(media["video"]["second_per_grid_ts"])[0]) == pytest.approx(2 / 2.0)


@pytest.mark.parametrize(
    ("video", "times"),
    [
        (clip(5, fps=0.5), [1.0, 5.0, 8.0]),  # frames at 0, 2, 4, 6 and 8 seconds, in pairs
        (Video(clip(5).frames, 0.5, start=1.0), [2.0, 6.0, 9.0]),
        (clip(1), [0.0]),
        (Video(clip(1).frames, 0.1, start=5.0), [5.0]),
    ],
)
def test_the_times_in_qwen3s_prompt_are_those_of_the_frames(video: Video, times: list[float]) -> None:
    processor = processor_of("qwen3-vl")
    stock, seen = processor._calculate_timestamps, []
    processor._calculate_timestamps = lambda *given, **named: seen.append(stock(*given, **named)) or seen[-1]
    process(processor, [prompt("qwen3-vl")], [video])
    assert seen == [times]


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_internvl_sees_every_frame_once(frames: int) -> None:
    processor = processor_of("internvl")
    (row,), media = process(processor, [prompt("internvl")], [clip(frames)])
    pixels = media["video"]["pixel_values_videos"]
    assert pixels.shape[:2] == (1, frames) or pixels.shape[0] == frames
    assert int((row["input_ids"] == processor.image_token_id).sum()) == 4 * frames
    flat = pixels.reshape(frames, -1)
    assert len({tuple(frame.tolist()[:3]) for frame in flat}) == frames


def test_prompts_on_one_clip_share_what_was_processed() -> None:
    processor = processor_of("qwen2.5-vl")
    calls = []
    stock = processor.video_processor
    counted = type("Counted", (), {"__call__": lambda self, *a, **k: calls.append(1) or stock(*a, **k), "__getattr__": lambda self, name: getattr(stock, name)})()  # fmt: skip
    processor.video_processor = counted
    rows, _ = process(processor, [prompt("q"), prompt("q") + " color", prompt("q") + " is it"], [clip(3)])
    assert len(calls) == 1
    assert len({row["input_ids"].shape[1] for row in rows}) == 3
    assert not [name for row in rows for name in row if name.startswith("pixel")]
    assert processor.video_processor is counted

"""Pictures, clips and words of a prompt keep their order: in the text, in what the encoder makes of them, and in the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.tiny import BACKBONES, tiny
from tests.tokenbench.engine.test_replay import ask, plan_of
from tokenbench import HERE, Budget, Sample, Video
from tokenbench.engine import RowPlan
from tokenbench.errors import SampleError
from tokenbench.models.model import Model
from tokenbench.models.processing import kind_of
from tokenbench.models.prompting import write_prompt
from tokenbench.models.source import locate
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt, logits, masked
from tokenbench.testing.oracles import assert_close
from tokenbench_backbones.llava import Llava

RED, BLUE = (Image.new("RGB", (96, 96), color) for color in ("red", "blue"))
CLIP = Video([RED, BLUE] * 4)


def written(question: str, *shown: Image.Image | Video, template: bool = True) -> str:
    def apply(chat: Sequence[Any], add_generation_prompt: bool) -> str:
        return "".join(part.get("text", f"<{part['type']}>") for part in chat[0]["content"]) + "|"

    processor = SimpleNamespace(
        chat_template="{}" if template else None,
        apply_chat_template=apply,
        image_token="<image>",
        video_token="<video>",
    )
    return write_prompt(processor, Llava(), question, [kind_of(item) for item in shown])


def test_pictures_stand_where_the_question_says_or_before_it() -> None:
    assert written("Which is red?", RED, CLIP) == "<image><video>Which is red?|"
    assert written(f"A {HERE} or B {HERE}?", CLIP, RED) == "A <video> or B <image>?|"
    assert written(f"{HERE}{HERE}Which?", RED, BLUE) == "<image><image>Which?|"
    assert written("Red?", RED, template=False) == "USER: <image>\nRed? ASSISTANT:"
    assert written(f"A {HERE} or B {HERE}?", RED, CLIP, template=False) == "USER: A <image> or B <video>? ASSISTANT:"


def test_as_many_places_as_pictures() -> None:
    with pytest.raises(SampleError, match="its question has places for 1 images or clips, and 2 are shown"):
        written(f"A {HERE}", RED, BLUE)


def test_an_interleaved_prompt_equals_stock_transformers() -> None:
    """The ids, the features and the answer, with pictures that differ."""
    folder = locate("toy-llava", registry()).folder
    stock: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(folder)
    content = [{"type": "text", "text": "Is"}, {"type": "image"}, {"type": "text", "text": "or"}, {"type": "image"}]
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": "red?"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    model = Model("toy-llava", locate("toy-llava", registry()), "cpu")
    plan = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), model.depth)
    seen = []
    for shown in ([RED, BLUE], [BLUE, RED]):
        sample = Sample("a", f"c{len(seen)}", f"Is{HERE}or{HERE}red?", "", lambda shown=shown: shown)
        batch = model.prepare([sample])
        inputs = processor(text=[text], images=shown, return_tensors="pt")
        assert torch.equal(batch.inputs["input_ids"], inputs["input_ids"])
        with torch.no_grad():
            features = stock.model.get_image_features(
                pixel_values=inputs["pixel_values"], return_dict=True
            ).pooler_output
        torch.testing.assert_close(torch.cat([made for _, made in batch.features]), torch.cat(list(features)))
        with model.pruner() as pruner:
            (answer,), _ = model.generate(batch, pruner, [plan], [4])
        new = stock.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert answer == processor.tokenizer.decode(new, skip_special_tokens=True).strip()
        seen.append(batch.features)
    assert torch.equal(seen[0][0][1], seen[1][1][1])
    assert not torch.equal(seen[0][0][1], seen[0][1][1])


def interleave(name: str) -> tuple[Any, Prompt]:
    """A tiny model's prompt of two pictures (of InternVL, tiles), with two words between them."""
    model, prompts = tiny(name)
    prompt = prompts[1]
    ids = prompt["input_ids"]
    visual = backbone_for(model, registry()).visual(model, ids)[0].nonzero().flatten()
    gaps = (visual.diff() > 1).nonzero().flatten().tolist()
    # After the first picture, and the mark that ends it.
    at = int(visual[gaps[0]]) + 2 if gaps else int(visual[len(visual) // (3 if name == "internvl" else 2)])
    longer = {}
    for key, value in prompt.items():
        if value.shape != ids.shape:
            longer[key] = value
            continue
        words = torch.tensor([[7, 11]]) if key == "input_ids" else torch.full((1, 2), int(key == "attention_mask"))
        longer[key] = torch.cat([value[:, :at], words, value[:, at:]], 1)
    return model, longer


@pytest.mark.parametrize("name", BACKBONES)
def test_words_between_pictures_keep_their_place_in_the_decoder(name: str) -> None:
    model, prompt = interleave(name)
    adapter = backbone_for(model, registry())
    visual = adapter.visual(model, prompt["input_ids"])
    inside = visual[0].nonzero().flatten()
    assert int(inside[-1] - inside[0]) + 1 > len(inside)  # words stand between
    with torch.no_grad():
        stock = model(**prompt)
        media = {k: v for k, v in prompt.items() if v.shape != prompt["input_ids"].shape}
        features = adapter.encode_images(model, media)
        text = {k: v for k, v in prompt.items() if not k.startswith("pixel")}
        outputs = [
            adapter.as_mm_encoder_outputs(model, [("image", one) for one in order])
            for order in (features, features[::-1])
        ]
        ours, swapped = (model(**text, mm_encoder_outputs=one).logits for one in outputs)
    torch.testing.assert_close(ours, stock.logits)
    assert not torch.allclose(swapped, stock.logits, atol=1e-2)
    for strategy in ("fastv", "clse", "divprune"):
        plan = plan_of(strategy, model)
        output, (row,) = ask(model, [plan.of("a")], [prompt])
        assert_close(logits(output)[:, 0], masked(model, output, prompt, 0, row), strategy)

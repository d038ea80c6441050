"""The learner sees what the stock model sees: one picture, many questions behind it, each alone with the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tokenbench_suites.clips import ClipStyle, clip_rng, make_clip, render_clip
from tokenbench_suites.scenes import make_scene, render, scene_rng
from training import clip_batches, scene_batches
from training.batches import Batch
from training.learner import Learner, draw_hidden, see_clip, see_image
from training.packing import NO_LABEL, Rows, pack
from training.toy_llava import WEIGHTS_FOLDER
from training.toy_video_llava import CLIP_WEIGHTS


def made(video: bool) -> tuple[Learner, Any, list[Any], Batch]:
    """A learner and the processor of the shipped model, the pictures of a batch, and the batch."""
    folder = CLIP_WEIGHTS if video else WEIGHTS_FOLDER
    model = AutoModelForImageTextToText.from_pretrained(folder).float().eval()
    if video:
        learner = Learner(model, see_clip, clip_batches.ASKING)
        batch = clip_batches.make_clip_batch(3, 2, 1.0)
        pictures = [list(render_clip(make_clip(clip_rng("train", i), ClipStyle()))) for i in (3, 4)]
    else:
        learner = Learner(model, see_image, scene_batches.ASKING)
        batch = scene_batches.make_scene_batch(3, 2, 1.0)
        pictures = [render(make_scene(scene_rng("train", i), scene_batches.style_at(1.0))) for i in (3, 4)]
    return learner.eval(), AutoProcessor.from_pretrained(folder), pictures, batch


@pytest.mark.parametrize("video", [False, True])
@torch.no_grad()
def test_packed_questions_get_the_logits_of_the_stock_model(video: bool) -> None:
    learner, processor, pictures, batch = made(video)
    logits = learner.logits(learner.decode(learner.visual(batch), batch.rows))
    words = {number: word for word, number in learner.asking.vocabulary.items()}
    for b, picture in enumerate(pictures):
        for question in range(3):
            at = batch.rows.question[b] == question
            ids = batch.rows.ids[b][at].tolist()
            prompt = f"USER: {'<video>' if video else '<image>'}\n" + " ".join(words[i] for i in ids[1:])
            shown = {"videos": [picture]} if video else {"images": [picture]}
            inputs = processor(text=[prompt], return_tensors="pt", **shown)
            assert inputs["input_ids"][0, -len(ids) :].tolist() == ids
            stock = learner.model(**inputs).logits[0, -len(ids) :]
            torch.testing.assert_close(logits[b][at], stock, atol=1e-3, rtol=1e-3)


def test_a_question_does_not_see_another() -> None:
    learner, _, _, batch = made(video=False)
    visual = learner.visual(batch)
    ids = batch.rows.ids.clone()
    ids[batch.rows.question != 1] = 5
    alone = learner.decode(visual, batch.rows._replace(ids=ids))
    at = batch.rows.question == 1
    torch.testing.assert_close(learner.decode(visual, batch.rows)[at], alone[at])


def test_labels_are_the_answers_and_their_ends() -> None:
    asking = scene_batches.ASKING
    scenes = [make_scene(scene_rng("train", i), scene_batches.style_at(1.0)) for i in range(4)]
    asked = [asking.draw(scene, np.random.default_rng(i)) for i, scene in enumerate(scenes)]
    rows = pack(asked, asking)
    words = {number: word for word, number in asking.vocabulary.items()}
    for b, questions in enumerate(asked):
        for number, question in enumerate(questions[:3]):  # the first ones fit
            labels = rows.labels[b][rows.question[b] == number]
            said = [words[i] for i in labels[labels != NO_LABEL].tolist()]
            assert said == [*(question.answer if question.answer.isdigit() else [question.answer]), "</s>"]


def test_only_complete_answers_see_fewer_visual_tokens() -> None:
    _, _, _, batch = made(video=False)
    hidden = draw_hidden(batch.rows, 144, (0, 1))
    rows = hidden.any(-1)
    assert rows.any()
    assert not rows[~batch.rows.complete].any()
    assert (hidden[rows].float().mean(-1) > 0.2).all()  # at most 0.6 of the tokens are seen, give or take the draw
    assert torch.equal(hidden, draw_hidden(batch.rows, 144, (0, 1)))
    assert not torch.equal(hidden, draw_hidden(batch.rows, 144, (0, 2)))


def test_numbers_are_not_complete_before_their_last_digit() -> None:
    """Whether a third digit follows is in the picture."""
    _, _, _, batch = made(video=False)
    reading = list(scene_batches.SHARES).index("reading")
    assert (batch.rows.kind == reading).any()
    assert not batch.rows.complete[batch.rows.kind == reading].any()


def test_what_hidden_tokens_show_does_not_reach_the_row() -> None:
    learner, _, _, batch = made(video=False)
    rows = Rows(*(field[:1] for field in batch.rows))
    visual = learner.visual(batch)[:1]
    row = int((rows.question[0] == 0).nonzero()[-1])
    hidden = torch.zeros(1, rows.ids.shape[1], 144, dtype=torch.bool)
    hidden[0, row] = True
    plain, blind = learner.decode(visual, rows), learner.decode(visual, rows, hidden)
    changed = ~torch.isclose(plain, blind, atol=1e-5).all(-1)[0]
    assert changed.nonzero().flatten().tolist() == [row]

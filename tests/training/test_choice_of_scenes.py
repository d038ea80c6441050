"""The script that measures candidate scenes: it asks what the suite would ask, and grades as the stock model answers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from transformers import LlavaForConditionalGeneration

from tokenbench.contract.suite import Sample
from tokenbench_suites.image import EVAL_STYLE
from tokenbench_suites.scenes import ASKERS, Style, render
from training.choose_scenes import THINGS, ask, interval, make_held_out, score
from training.evaluate import Forced, Judge
from training.learner import Learner, see_image
from training.scene_batches import ASKING
from training.toy_llava import WEIGHTS_FOLDER

HARD = Style(things=(9, 13), radius=(3, 3), digits=(2, 3), number_share=1.0)  # so that some answers are wrong


def test_every_task_asks_its_questions_about_held_out_scenes() -> None:
    asked = ask(EVAL_STYLE, 5)
    kinds = [one.kind for some in asked.values() for one in some]
    assert sorted(kinds) == [kind for kind in range(len(ASKERS)) for _ in range(5)]
    assert {one.answer for some in asked.values() for one in some if one.kind == 3} == {"1", "2", "3", "4"}
    assert all(THINGS[0][0] - 1 <= len(make_held_out(scene, EVAL_STYLE).things) <= THINGS[0][1] for scene in asked)


@pytest.mark.slow
def test_grades_are_those_of_the_stock_model() -> None:
    model = LlavaForConditionalGeneration.from_pretrained(WEIGHTS_FOLDER).float()
    scores = score(Learner(model, see_image, ASKING).eval(), HARD, 6)
    judge, wrong = Judge(WEIGHTS_FOLDER), 0
    for scene, some in ask(HARD, 6).items():
        picture = Image.fromarray(render(make_held_out(scene, HARD)))
        samples = [Sample("k", "c", one.text, one.answer, lambda picture=picture: [picture]) for one in some]
        right = Forced(judge, samples).run()[0].tolist()
        places = [sum(other.kind == one.kind for other in some[:at]) for at, one in enumerate(some)]
        graded = [scores[one.kind][scene][place] for one, place in zip(some, places, strict=True)]
        assert graded == right
        wrong += right.count(False)
    assert wrong


def test_the_interval_is_about_scenes_and_not_about_questions() -> None:
    """Twice as many questions about the same scenes, all alike, say no more."""
    rng = np.random.default_rng(0)
    once = {scene: [bool(rng.random() < 0.8)] for scene in range(100)}
    twice = {scene: flags * 2 for scene, flags in once.items()}
    assert interval([once]) == interval([twice])
    low, high = interval([once])
    assert high - low == pytest.approx(2 * 1.96 * 0.4 / 10, rel=0.2)

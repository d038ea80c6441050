"""Scenes: the same from run to run, pixels where the objects are, answers true to the objects."""

import dataclasses
import re

import numpy as np
import pytest

from tokenbench_suites.image import EVAL_STYLE, eval_scene
from tokenbench_suites.scenes import ASKERS, COLORS, SHAPES, SIZE, Question, Scene, Thing, make_scene, render, scene_rng
from tokenbench_suites.scenes.questions import LETTERS

SCENES = [eval_scene(index) for index in range(60)]


def questions(task: str) -> list[tuple[Scene, Question]]:
    rng = np.random.default_rng(0)
    asked = [(scene, ASKERS[task](scene, rng, turn)) for turn, scene in enumerate(SCENES)]
    return [(scene, question) for scene, question in asked if question is not None]


def named(scene: Scene, words: list[str]) -> list[Thing]:
    """Things that have every color and shape among the words."""
    wanted = {word for word in words if word in COLORS or word in SHAPES}
    return [thing for thing in scene.things if wanted <= {thing.color, thing.shape}]


def test_a_scene_and_its_pixels_do_not_change() -> None:
    assert eval_scene(7) == eval_scene(7)
    np.testing.assert_array_equal(render(eval_scene(7)), render(eval_scene(7)))


def test_a_known_scene() -> None:
    """Guards published answers: fails if the generator's output ever changes."""
    first = eval_scene(0)
    radii = [thing.radius for thing in first.things]
    assert (first.things[0].name, radii, first.number.text if first.number else "") == KNOWN


KNOWN = ("cyan square", [3, 6, 3, 6, 6, 5, 6, 6, 3], "67")


def test_splits_share_no_stream_and_no_scene() -> None:
    made = {split: {make_scene(scene_rng(split, i), EVAL_STYLE) for i in range(100)} for split in ("train", "eval")}
    assert len(made["train"]) == len(made["eval"]) == 100
    assert not made["train"] & made["eval"]


def test_things_differ_and_do_not_touch() -> None:
    for scene in SCENES:
        names = [thing.name for thing in scene.things]
        assert len(set(names)) == len(names) >= EVAL_STYLE.things[0] - 1
        covered = np.zeros((SIZE, SIZE), int)
        for left, top, right, bottom in [t.rect for t in scene.things if t.shape == "square"]:
            assert min(left, top) >= 0
            assert max(right, bottom) <= SIZE
            covered[top:bottom, left:right] += 1
        assert covered.max() <= 1


@pytest.mark.parametrize("index", range(12))
def test_a_box_holds_all_pixels_of_its_thing(index: int) -> None:
    scene = SCENES[index]
    for place, thing in enumerate(scene.things):
        without = dataclasses.replace(scene, things=scene.things[:place] + scene.things[place + 1 :])
        rows, columns = np.nonzero((render(scene) != render(without)).any(-1))
        left, top, right, bottom = thing.rect
        assert left <= columns.min() <= left + 2
        assert right - 3 <= columns.max() < right
        assert top <= rows.min() <= top + 2
        assert bottom - 3 <= rows.max() < bottom


def test_the_box_of_a_number_holds_its_pixels() -> None:
    for scene in SCENES[:12]:
        assert scene.number
        rows, columns = np.nonzero((render(scene) != render(dataclasses.replace(scene, number=None))).any(-1))
        left, top, right, bottom = scene.number.rect
        assert left <= columns.min() < columns.max() < right
        assert (rows.min(), rows.max()) == (top, bottom - 1)


def test_existence_is_true_to_the_scene() -> None:
    for scene, question in questions("existence"):
        there = named(scene, re.findall(r"\w+", question.text))
        assert question.answer == ("yes" if there else "no")


def test_attribute_and_choice_are_true_to_the_scene() -> None:
    for task in ("attribute", "choice"):
        for scene, question in questions(task):
            stem, _, options = question.text.partition("?")
            (thing,) = named(scene, re.findall(r"\w+", stem))
            value = thing.color if stem.startswith("What color") else thing.shape
            listed = options.split()
            answer = listed[listed.index(question.answer) + 1] if task == "choice" else question.answer
            assert answer == value
            assert task == "attribute" or (tuple(listed[::2]) == tuple(LETTERS) and len(set(listed[1::2])) == 4)


def test_position_is_true_to_the_scene() -> None:
    for scene, question in questions("position"):
        words = re.findall(r"\w+", question.text)
        (thing,) = named(scene, words[2:4])
        axis = "x" if "left" in words else "y"
        other = getattr(named(scene, words[-2:])[0], axis) if words[-1] in SHAPES else SIZE / 2
        smaller = getattr(thing, axis) < other
        assert question.answer in (("left", "top", "above") if smaller else ("right", "bottom", "below"))
        assert question.answer in words


def test_counting_is_true_to_the_scene() -> None:
    for scene, question in questions("counting"):
        word = question.text.split()[2].removesuffix("s").removesuffix("se")
        word = "cross" if word == "cros" else word
        counted = [
            t for t in scene.things if (word in (t.color, t.shape)) or f"{t.shape}es" == question.text.split()[2]
        ]
        assert question.answer == str(len(counted))
        assert set(question.evidence) == {thing.rect for thing in counted}


def test_reading_is_true_to_the_scene() -> None:
    assert all(scene.number and question.answer == scene.number.text for scene, question in questions("reading"))

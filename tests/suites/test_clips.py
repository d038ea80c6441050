"""Clips and the suite `video`: the same from run to run, pixels where the boxes are, answers true to what happens."""

import dataclasses
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tokenbench import Video
from tokenbench.contract.suite import Box, Sample, Task
from tokenbench_suites.clips import FRAMES, SIDE, Actor, Clip, clip_rng, frame_scene, make_clip, render_clip
from tokenbench_suites.scenes import COLORS, SHAPES
from tokenbench_suites.video import EVAL_STYLE, ClipTask, eval_clip, suite

TASKS = suite().tasks
CLIPS = [eval_clip(index) for index in range(40)]
MAJORITY = {"motion": 0.25, "order": 0.20, "moving": 0.25, "appearance": 0.20}
WORDS = Path(__file__).parents[2] / "backbones/tokenbench_backbones/toy_video_llava_weights/tokenizer.json"
KNOWN = (5, "yellow ring", (0, 5))


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def clip_of(sample: Sample) -> Clip:
    return eval_clip(int(sample.cluster.removeprefix("clip-")))


def named(clip: Clip, text: str) -> list[Actor]:
    """Actors in the order in which the text names them, each by color and shape."""
    pairs = re.findall(rf"({'|'.join(COLORS)}) ({'|'.join(SHAPES)})", text)
    return [actor for pair in pairs for actor in clip.actors if (actor.color, actor.shape) == pair]


def span(box: Box) -> range:
    return range(round(box.t0 * FRAMES), round(box.t1 * FRAMES))


def test_a_clip_and_its_pixels_do_not_change() -> None:
    assert make_clip(clip_rng("eval", 7), EVAL_STYLE) == eval_clip(7)
    np.testing.assert_array_equal(render_clip(eval_clip(7)), render_clip(eval_clip(7)))


def test_a_known_clip() -> None:
    """Guards published answers: fails if the generator's output ever changes."""
    first = eval_clip(0)
    assert (len(first.actors), first.actors[0].name, first.actors[0].step) == KNOWN


def test_splits_share_no_clip() -> None:
    made = {split: {make_clip(clip_rng(split, i), EVAL_STYLE) for i in range(100)} for split in ("train", "eval")}
    assert len(made["train"]) == len(made["eval"]) == 100
    assert not made["train"] & made["eval"]


def test_actors_differ_stay_in_the_picture_and_do_not_touch() -> None:
    for clip in CLIPS:
        names = [actor.name for actor in clip.actors]
        assert len(set(names)) == len(names) >= 2
        for frame in range(FRAMES):
            things = frame_scene(clip, frame).things
            rects = np.array([thing.rect for thing in things]).reshape(-1, 4)
            assert rects.size == 0 or (rects.min() >= 0 and rects.max() <= SIDE)
            pairs = [(a, b) for i, a in enumerate(things) for b in things[:i]]
            assert all((a.x - b.x) ** 2 + (a.y - b.y) ** 2 > (a.radius + b.radius) ** 2 for a, b in pairs)


def test_passing_things_appear_one_after_the_other() -> None:
    for clip in CLIPS:
        starts = [actor.first for actor in clip.actors if actor.first]
        assert len(set(starts)) == len(starts)


def test_has_160_questions_with_unique_keys(task: Task) -> None:
    keys = [sample.key for sample in task.samples()]
    assert len(keys) == len(set(keys)) == 160


def test_no_answer_is_much_more_common_than_another(task: Task) -> None:
    answers = Counter(sample.target for sample in task.samples())
    assert max(answers.values()) / 160 <= MAJORITY[task.name]


def test_a_shorter_task_is_a_prefix(task: Task) -> None:
    short = ClipTask(task.name, 50).samples()
    assert [sample.key for sample in short] == [sample.key for sample in task.samples()[:50]]


def test_no_clip_has_more_than_two_questions_of_a_task_and_some_have_two() -> None:
    counts = {task.name: Counter(sample.cluster for sample in task.samples()) for task in TASKS}
    assert all(max(count.values()) <= 2 for count in counts.values())
    assert max(counts["appearance"].values()) == 2


def test_loads_the_clip_of_its_cluster() -> None:
    sample = TASKS[0].samples()[3]
    (clip,) = sample.load()
    assert isinstance(clip, Video)
    assert [frame.size for frame in clip.frames] == [(SIDE, SIDE)] * FRAMES
    (again,) = pickle.loads(pickle.dumps(sample)).load()
    assert [f.tobytes() for f in clip.frames] == [f.tobytes() for f in again.frames]


def test_evidence_lies_inside_the_clip(task: Task) -> None:
    for sample in task.samples():
        assert sample.evidence
        for box in sample.evidence:
            assert 0 <= box.x0 < box.x1 <= 1
            assert 0 <= box.y0 < box.y1 <= 1
            assert 0 <= box.t0 < box.t1 <= 1


def test_boxes_hold_all_pixels_of_what_they_are_about(task: Task) -> None:
    """What changes when the actors of the evidence are taken out is inside the boxes, and in every box something does."""
    for sample in task.samples()[:12]:
        clip = clip_of(sample)
        about = named(clip, sample.question) or asked_about(clip, sample)
        without = dataclasses.replace(clip, actors=tuple(a for a in clip.actors if a not in about))
        changed = (render_clip(clip) != render_clip(without)).any(-1)
        held = np.zeros_like(changed)
        for box in sample.evidence:
            left, top, right, bottom = (round(edge * SIDE) for edge in (box.x0, box.y0, box.x1, box.y1))
            for frame in span(box):
                assert changed[frame, top:bottom, left:right].any()
                held[frame, top:bottom, left:right] = True
        assert not (changed & ~held).any()


def asked_about(clip: Clip, sample: Sample) -> list[Actor]:
    if sample.question == "How many things move?":
        return [actor for actor in clip.actors if actor.moves] or list(clip.actors)
    return [a for a in clip.actors if {a.color, a.shape} & set(re.findall(r"\w+", sample.question))]


def test_a_moving_thing_has_one_box_a_frame() -> None:
    for sample in ClipTask("motion", 20).samples():
        assert [span(box) for box in sample.evidence] == [range(f, f + 1) for f in range(FRAMES)]


def test_motion_is_true_to_the_pixels() -> None:
    for sample in ClipTask("motion", 40).samples():
        first, last = sample.evidence[0], sample.evidence[-1]
        right, down = last.x0 - first.x0, last.y0 - first.y0
        assert sample.target == ("right" if right > 0 else "left" if right < 0 else "down" if down > 0 else "up")
        assert max(abs(right), abs(down)) * SIDE > 27


def test_order_is_true_to_the_clip() -> None:
    named_first = 0
    for sample in ClipTask("order").samples():
        one, other = named(clip_of(sample), sample.question)
        earlier = min((one, other), key=lambda actor: actor.first)
        assert 0 < earlier.first < max(one.first, other.first)
        assert sample.target == earlier.color
        named_first += earlier is one
    assert named_first == 80


def test_moving_is_true_to_the_clip() -> None:
    for sample in ClipTask("moving", 60).samples():
        moving = [actor for actor in clip_of(sample).actors if actor.at(0) != actor.at(FRAMES - 1)]
        assert sample.target == str(len(moving))
        if moving:
            assert len(sample.evidence) == FRAMES * len(moving)


def test_appearance_is_true_to_the_clip() -> None:
    for sample in ClipTask("appearance", 60).samples():
        (actor,) = asked_about(clip_of(sample), sample)
        assert sample.target == (actor.color if "color" in sample.question else actor.shape)
        assert actor.first > 0


def test_answers_score_by_their_words() -> None:
    sample = TASKS[0].samples()[0]
    assert TASKS[0].score(f" {sample.target.upper()}.", sample) == 1
    assert TASKS[0].score("nowhere", sample) == 0


@pytest.mark.skipif(not WORDS.exists(), reason="the toy video model has not been trained yet")
def test_the_toy_video_model_knows_every_word(task: Task) -> None:
    tokenizer = Tokenizer.from_file(str(WORDS))
    for sample in task.samples():
        assert "<unk>" not in tokenizer.encode(f"USER: \n{sample.question} ASSISTANT: {sample.target}").tokens

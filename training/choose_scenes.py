"""Vanilla's accuracy on candidate scenes of suite `image`: `python -m training.choose_scenes`.

README.md states the rule by which the suite's style was chosen from these numbers. Nothing is pruned here. The scenes come
from the stream "heldout", which neither training nor the suite uses.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration

from tokenbench_suites.image import SceneTask
from tokenbench_suites.scenes import ASKERS, Scene, Style, make_scene, render, scene_rng
from training.batches import Batch
from training.learner import Learner, see_image
from training.packing import Asked, pack
from training.scene_batches import ASKING
from training.toy_llava import WEIGHTS_FOLDER

THINGS = ((9, 13), (15, 19))
RADIUS = ((4, 6), (3, 6), (3, 5), (3, 4))
SIZE = 16  # scenes a batch
SPACE = replace(ASKING, rows=240)  # for all questions about a scene
RESAMPLES = 2000
Scores = dict[int, list[bool]]
"""By scene, whether the answer to each question is right."""


def ask(style: Style, limit: int) -> dict[int, list[Asked]]:
    """By scene, the first `limit` questions that every task of the suite asks if scenes have that style."""

    class HeldOut(SceneTask):
        def world(self, index: int) -> Scene:
            return make_held_out(index, style)

    asked: dict[int, list[Asked]] = defaultdict(list)
    for kind, name in enumerate(ASKERS):
        for sample in HeldOut(name, limit).samples():
            scene = int(sample.cluster.removeprefix("scene-"))
            asked[scene].append(Asked(kind, sample.question, sample.target))
    return asked


def make_held_out(index: int, style: Style) -> Scene:
    return make_scene(scene_rng("heldout", index), style)


def score(learner: Learner, style: Style, limit: int) -> list[Scores]:
    """Of each task, the scores of vanilla's greedy answers."""
    asked = ask(style, limit)
    scores: list[Scores] = [defaultdict(list) for _ in ASKERS]
    for scenes in batched(sorted(asked), SIZE):
        pixels = torch.from_numpy(np.stack([render(make_held_out(scene, style)) for scene in scenes]))
        none = torch.zeros(0)
        flags = learner.grade(Batch(pixels, pack([asked[scene] for scene in scenes], SPACE), none, none))
        for scene, right in zip(scenes, flags, strict=True):
            for one, flag in zip(asked[scene], right, strict=True):
                scores[one.kind][scene].append(flag)
    return scores


def batched(scenes: list[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(scenes), size):
        yield scenes[at : at + size]


def interval(tasks: list[Scores]) -> tuple[float, float]:
    """95 % interval of the mean over tasks, by resampling scenes, which the tasks share."""
    scenes = sorted({scene for scores in tasks for scene in scores})
    sums = np.array([[sum(scores.get(scene, ())) for scene in scenes] for scores in tasks])
    counts = np.array([[len(scores.get(scene, ())) for scene in scenes] for scores in tasks])
    draws = np.random.default_rng(0).multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), RESAMPLES)
    low, high = np.quantile(((draws @ sums.T) / (draws @ counts.T)).mean(1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--limit", type=int, default=150, help="questions a task")
    args = parser.parse_args()
    model = LlavaForConditionalGeneration.from_pretrained(args.folder).float()
    learner = Learner(model, see_image, ASKING).eval()
    print(f"| things | radius | all tasks [95 % interval] | {' | '.join(ASKERS)} | scenes |")
    for things, radius in product(THINGS, RADIUS):
        style = Style(things=things, radius=radius, digits=(2, 3), number_share=1.0)
        tasks = score(learner, style, args.limit)
        each = [float(np.mean([flag for flags in scores.values() for flag in flags])) for scores in tasks]
        low, high = interval(tasks)
        shown = " | ".join(f"{accuracy:.3f}" for accuracy in each)
        scenes = len({scene for scores in tasks for scene in scores})
        ranges = f"{things[0]} to {things[1]} | {radius[0]} to {radius[1]}"
        print(f"| {ranges} | {np.mean(each):.3f} [{low:.3f}, {high:.3f}] | {shown} | {scenes} |", flush=True)


if __name__ == "__main__":
    main()

"""The suite `image`: six tasks on synthetic scenes whose answer-bearing boxes are known.

Every image is rendered on the fly from its index, and the scenes come from the random stream "eval", of which training
sees nothing by construction (scenes/seeds.py). Answers rotate within a task, so that no fixed answer scores above chance.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
from PIL import Image

from tokenbench.suite import Box, Sample, Suite, Task
from tokenbench_suites.scenes import ASKERS, SIZE, Question, Scene, Style, make_scene, render, scene_rng

__all__ = ["EVAL_STYLE", "SceneTask", "eval_scene", "normalise", "suite"]

# More and smaller things than in training, so that there is something left to lose.
EVAL_STYLE = Style(things=(9, 13), radius=(4, 6), digits=(2, 3), number_share=1.0)
QUESTIONS = 300  # a task
ATTEMPTS = 4
DESCRIPTIONS = {
    "existence": "Is a thing of this color and shape there? (yes, no)",
    "attribute": "The color of the only thing of a shape, or the shape of the only thing in a color",
    "position": "The half of the image that a thing is in, or its side relative to another thing",
    "counting": "How many things have a color or a shape (1 to 4)",
    "reading": "A number of two or three digits",
    "choice": "Color or shape of a thing, as a choice among four options",
}


class SceneTask(Task):
    """One kind of question about the scenes, `count` of them."""

    max_new_tokens = 4

    def __init__(self, name: str, count: int = QUESTIONS) -> None:
        self.name = name
        self.description = DESCRIPTIONS[name]
        self.count = count

    def samples(self) -> Sequence[Sample]:
        return _samples(self.name, self.count)

    def score(self, answer: str, sample: Sample) -> float:
        """1 if the answer is the target but for case, punctuation and blanks between digits."""
        return float(normalise(answer) == normalise(sample.target))


def suite() -> Suite:
    """The suite `image`."""
    tasks = tuple(SceneTask(name) for name in ASKERS)
    return Suite("image", "Synthetic scenes: six tasks with known evidence", tasks, model="toy-llava")


def eval_scene(index: int) -> Scene:
    """Scene `index` of the suite."""
    return make_scene(scene_rng("eval", index), EVAL_STYLE)


def normalise(answer: str) -> str:
    """Lower case, without punctuation, single blanks, none between digits."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return re.sub(r"(?<=\d) (?=\d)", "", " ".join(words))


@lru_cache
def _samples(task: str, count: int) -> tuple[Sample, ...]:
    """One question from each even scene and up to two from each odd one, answers in rotation."""
    samples: list[Sample] = []
    index = 0
    while len(samples) < count:
        asked: dict[str, Question] = {}
        rng = np.random.default_rng((list(ASKERS).index(task), index))
        scene = eval_scene(index)
        for _ in range(ATTEMPTS):
            question = ASKERS[task](scene, rng, len(samples) + len(asked))
            if question is not None and len(asked) <= index % 2:
                asked.setdefault(question.text, question)
        samples += [_sample(index, place, question) for place, question in enumerate(asked.values())]
        index += 1
    return tuple(samples[:count])


def _sample(index: int, place: int, question: Question) -> Sample:
    boxes = tuple(Box(*(edge / SIZE for edge in rect)) for rect in question.evidence)
    cluster = f"scene-{index:04d}"
    return Sample(f"{cluster}-{place}", cluster, question.text, question.answer, partial(_load, index), boxes)


def _load(index: int) -> list[Image.Image]:
    return [Image.fromarray(render(eval_scene(index)))]

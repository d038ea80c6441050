"""The suite `image`: six tasks on synthetic scenes whose answer-bearing boxes are known.

Every image is rendered on the fly from its index, and the scenes come from the random stream "eval", of which training
sees nothing by construction (scenes/seeds.py). Answers rotate within a task, so that no fixed answer scores above
chance.
"""

from functools import partial

from PIL import Image

from tokenbench.contract.suite import Box, Sample, Suite
from tokenbench_suites.rendered import RenderedTask, normalise
from tokenbench_suites.scenes import ASKERS, SIZE, Question, Scene, Style, make_scene, render, scene_rng

__all__ = ["EVAL_STYLE", "SceneTask", "eval_scene", "normalise", "suite"]

# Chosen by vanilla's accuracy alone, so that there is something left to lose; training/README.md has the rule and the candidates.
EVAL_STYLE = Style(things=(9, 13), radius=(3, 6), digits=(2, 3), number_share=1.0)
DESCRIPTIONS = {
    "existence": "Is a thing of this color and shape there? (yes, no)",
    "attribute": "The color of the only thing of a shape, or the shape of the only thing in a color",
    "position": "The half of the image that a thing is in, or its side relative to another thing",
    "counting": "How many things have a color or a shape (1 to 4)",
    "reading": "A number of two or three digits",
    "choice": "Color or shape of a thing, as a choice among four options",
}


class SceneTask(RenderedTask):
    """One kind of question about the scenes."""

    descriptions = DESCRIPTIONS
    askers = ASKERS

    def world(self, index: int) -> Scene:
        """Return scene number `index` of the suite."""
        return eval_scene(index)

    def sample(self, index: int, place: int, question: Question) -> Sample:
        """Return a question about a scene, with the boxes that its answer depends on."""
        boxes = tuple(Box(*(edge / SIZE for edge in rect)) for rect in question.evidence)
        cluster = f"scene-{index:04d}"
        return Sample(f"{cluster}-{place}", cluster, question.text, question.answer, partial(_load, index), boxes)


def suite() -> Suite:
    """Return the suite `image`."""
    tasks = tuple(SceneTask(name) for name in ASKERS)
    return Suite("image", "Synthetic scenes: six tasks with known evidence", tasks, model="toy-llava")


def eval_scene(index: int) -> Scene:
    """Make scene number `index` of the suite."""
    return make_scene(scene_rng("eval", index), EVAL_STYLE)


def _load(index: int) -> list[Image.Image]:
    return [Image.fromarray(render(eval_scene(index)))]

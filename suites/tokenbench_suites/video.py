"""The suite `video`: four tasks on synthetic clips whose answer-bearing boxes are known, frame by frame.

The twin of the suite `image`: clips are rendered on the fly from their index and come from the random stream "eval",
of which training sees nothing. Answers rotate within a task.
"""

from functools import lru_cache, partial

from PIL import Image

from tokenbench.contract.suite import Box, Sample, Suite, Video
from tokenbench_suites.clips import (
    ASKERS,
    FRAMES,
    SIDE,
    Actor,
    Clip,
    ClipStyle,
    Question,
    clip_rng,
    make_clip,
    render_clip,
)
from tokenbench_suites.rendered import RenderedTask
from tokenbench_suites.scenes.world import Rect

__all__ = ["EVAL_STYLE", "ClipTask", "eval_clip", "suite"]

EVAL_STYLE = ClipStyle()
FPS = 2.0
DESCRIPTIONS = {
    "motion": "The way in which a thing moves (left, right, up, down)",
    "order": "Which of two things appears first, by its color",
    "moving": "How many things move (0 to 3)",
    "appearance": "The color of the only thing of a shape, or the shape of the only thing in a color, seen for a moment",
}


class ClipTask(RenderedTask):
    """One kind of question about the clips."""

    descriptions = DESCRIPTIONS
    askers = ASKERS

    def world(self, index: int) -> Clip:
        """Return clip number `index` of the suite."""
        return eval_clip(index)

    def sample(self, index: int, place: int, question: Question) -> Sample:
        """Return a question about a clip, with the boxes that its answer depends on, frame by frame."""
        boxes = tuple(box for actor in question.evidence for box in _boxes(actor))
        cluster = f"clip-{index:04d}"
        return Sample(f"{cluster}-{place}", cluster, question.text, question.answer, partial(_load, index), boxes)


def suite() -> Suite:
    """Return the suite `video`."""
    tasks = tuple(ClipTask(name) for name in ASKERS)
    return Suite("video", "Synthetic clips: four tasks with known evidence", tasks, model="toy-video-llava")


@lru_cache(maxsize=4096)
def eval_clip(index: int) -> Clip:
    """Make clip number `index` of the suite."""
    return make_clip(clip_rng("eval", index), EVAL_STYLE)


def _boxes(actor: Actor) -> list[Box]:
    """One box for as long as a thing stands, or one a frame if it moves."""
    spans = [range(f, f + 1) for f in actor.seen] if actor.moves else [actor.seen]
    return [_box(actor.at(span.start).rect, span) for span in spans]


def _box(rect: Rect, span: range) -> Box:
    x0, y0, x1, y1 = (edge / SIDE for edge in rect)
    return Box(x0, y0, x1, y1, span.start / FRAMES, span.stop / FRAMES)


def _load(index: int) -> list[Video]:
    return [Video([Image.fromarray(frame) for frame in render_clip(eval_clip(index))], FPS)]

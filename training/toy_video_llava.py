"""One command from nothing to a toy video model: `python -m training.toy_video_llava`. Run again, it resumes.

The shipped weights were made by an earlier recipe; README.md tells which.
"""

from pathlib import Path

from tokenbench_backbones.toy_video_llava import ToyVideoLlava
from training.clip_batches import ASKING, make_clip_batch
from training.clip_vocabulary import build_clip_processor
from training.command import Recipe, run_command
from training.export import export
from training.learner import Learner, see_clip
from training.model import build_clip_model

CLIP_WEIGHTS = Path(ToyVideoLlava.source)


def build(seed: int) -> Learner:
    return Learner(build_clip_model(seed), see_clip, ASKING)


def ship(learner: Learner, target: Path) -> None:
    """Images are seen as frames are."""
    towers = learner.model.model
    towers.image_tower.load_state_dict(towers.video_tower.state_dict())
    export(learner.model, build_clip_processor(), target)


RECIPE = Recipe(build, make_clip_batch, ship, Path("runs/toy_video_llava"))


if __name__ == "__main__":
    run_command(RECIPE, __doc__)

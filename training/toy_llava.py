"""One command from nothing to a model like the shipped one: `python -m training.toy_llava`. Run again, it resumes."""

from pathlib import Path

from tokenbench_backbones.toy_llava import ToyLlava
from training.command import Recipe, run_command
from training.export import export
from training.learner import Learner, see_image
from training.model import build_model
from training.scene_batches import ASKING, make_scene_batch
from training.vocabulary import build_processor

WEIGHTS_FOLDER = Path(ToyLlava.source)


def build(seed: int) -> Learner:
    return Learner(build_model(seed), see_image, ASKING)


def ship(learner: Learner, target: Path) -> None:
    export(learner.model, build_processor(), target)


RECIPE = Recipe(build, make_scene_batch, ship, Path("runs/toy_llava"))


if __name__ == "__main__":
    run_command(RECIPE, __doc__)

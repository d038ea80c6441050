"""One command from nothing to the shipped folder: `python -m training.toy_llava`. Run again, it resumes.

Stages A (decoder on symbols) and B (tower on dense labels) do not need each other and run side by side, one process each;
stage C continues from both with two processes that average their gradients.
"""

from functools import partial
from pathlib import Path

from torch import Tensor

from training.answers import Mind, Symbols, symbol_loss
from training.export import export
from training.joint import Joint
from training.loop import Stage, run_stage
from training.model import build_model
from training.pipeline import Recipe, run_command
from training.tower import scene_eye, tower_loss

WEIGHTS_FOLDER = Path("backbones/tokenbench_backbones/toy_llava_weights")
STEPS = {"symbols": 2000, "tower": 2000, "joint": 700}
MUON, ADAM = 4e-3, 2e-3


def train_symbols(folder: Path, steps: int, batch: int = 8) -> None:
    mind, symbols = Mind(build_model()), Symbols()

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return symbol_loss(mind, symbols, step, batch, guidance=0.2 * max(0.0, 1 - step / (0.6 * steps)))

    run_stage(Stage("symbols", mind, steps, MUON, ADAM, loss), folder)


def train_tower(folder: Path, steps: int, batch: int = 16) -> None:
    eye = scene_eye(build_model())
    run_stage(Stage("tower", eye, steps, MUON, ADAM, partial(tower_loss, eye, batch=batch)), folder)


def build_joint() -> Joint:
    return Joint(build_model())


def ship(joint: Joint, target: Path) -> None:
    export(joint.model, target)


RECIPE = Recipe(
    halves=(("symbols", train_symbols), ("tower", train_tower)),
    build=build_joint,
    joint=(MUON / 6, ADAM / 6, 8),
    steps=STEPS,
    ship=ship,
    folder=Path("runs/toy_llava"),
    target=WEIGHTS_FOLDER,
)


if __name__ == "__main__":
    run_command(RECIPE, __doc__)

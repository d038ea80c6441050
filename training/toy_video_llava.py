"""One command from toy-llava to the shipped video model: `python -m training.toy_video_llava`. Run again, it resumes.

As with toy-llava, stages A (decoder on symbols) and B (tower on frames) run side by side and stage C continues from both.
"""

from functools import partial
from pathlib import Path

from torch import Tensor

from training.clip_joint import ClipJoint
from training.clip_model import build_clip_model
from training.clip_questions import ClipMind, clip_symbol_loss, clip_symbols
from training.clip_vocabulary import build_clip_processor
from training.export import export
from training.frames import FrameEye, frame_loss
from training.loop import Stage, run_stage
from training.pipeline import Recipe, run_command

CLIP_WEIGHTS = Path("backbones/tokenbench_backbones/toy_video_llava_weights")
STEPS = {"symbols": 450, "frames": 600, "joint": 450}
MUON, ADAM = 2e-3, 1e-3  # half of toy-llava's: what it has learnt is kept


def train_symbols(folder: Path, steps: int, batch: int = 8) -> None:
    mind, symbols = ClipMind(build_clip_model()), clip_symbols()

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return clip_symbol_loss(mind, symbols, step, batch, guidance=0.25 * max(0.0, 1 - step / (0.6 * steps)))

    run_stage(Stage("symbols", mind, steps, MUON, ADAM, loss), folder)


def train_frames(folder: Path, steps: int, batch: int = 20) -> None:
    eye = FrameEye(build_clip_model())
    run_stage(Stage("frames", eye, steps, MUON, ADAM, partial(frame_loss, eye, batch=batch)), folder)


def build_joint() -> ClipJoint:
    return ClipJoint(build_clip_model())


def ship(joint: ClipJoint, target: Path) -> None:
    """Images are seen as frames are."""
    towers = joint.model.model
    towers.image_tower.load_state_dict(towers.video_tower.state_dict())
    export(joint.model, target, build_clip_processor())


RECIPE = Recipe(
    halves=(("symbols", train_symbols), ("frames", train_frames)),
    build=build_joint,
    joint=(MUON / 3, ADAM / 3, 6),
    steps=STEPS,
    ship=ship,
    folder=Path("runs/toy_video_llava"),
    target=CLIP_WEIGHTS,
)


if __name__ == "__main__":
    run_command(RECIPE, __doc__)

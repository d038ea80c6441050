"""One command from nothing to the shipped folder: `python -m training.toy_llava`. Run again, it resumes.

Stages A (decoder on symbols) and B (tower on dense labels) do not need each other and run side by side, one process each;
stage C continues from both with two processes that average their gradients.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from training.answers import Mind, Symbols, symbol_loss
from training.export import export
from training.joint import Joint
from training.loop import Stage, load_stage, run_stage
from training.model import build_model
from training.tower import scene_eye, tower_loss

WEIGHTS_FOLDER = Path("backbones/tokenbench_backbones/toy_llava_weights")
STEPS = {"symbols": 2000, "tower": 2000, "joint": 700}
MUON, ADAM = 4e-3, 2e-3
WORKERS = 2


def train_symbols(folder: Path, steps: int, batch: int = 8) -> None:
    mind, symbols = Mind(build_model()), Symbols()

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return symbol_loss(mind, symbols, step, batch, guidance=0.2 * max(0.0, 1 - step / (0.6 * steps)))

    run_stage(Stage("symbols", mind, steps, MUON, ADAM, loss), folder)


def train_tower(folder: Path, steps: int, batch: int = 16) -> None:
    eye = scene_eye(build_model())
    run_stage(Stage("tower", eye, steps, MUON, ADAM, partial(tower_loss, eye, batch=batch)), folder)


def train_joint(rank: int, folder: Path, steps: int, batch: int = 8, workers: int = WORKERS) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{(folder / 'meeting').resolve()}"
    torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=workers)
    joint = Joint(build_model())
    joint.load_halves(folder)
    loss = partial(joint.loss, batch=batch, rank=rank, workers=workers)
    run_stage(Stage("joint", joint, steps, MUON / 6, ADAM / 6, loss), folder, rank, workers)
    torch.distributed.destroy_process_group()


def export_best(folder: Path, target: Path) -> None:
    """Ship the joint stage's model, or the two halves as they are if there is none."""
    joint = Joint(build_model())
    if (folder / "joint.pt").exists():
        load_stage(joint, folder, "joint")
    else:
        joint.load_halves(folder)
    export(joint.model, target)


def _half(index: int, folder: Path, steps: dict[str, int]) -> None:
    torch.set_num_threads(1)
    (train_symbols if index == 0 else train_tower)(folder, steps["symbols" if index == 0 else "tower"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("all", *STEPS, "export"), default="all")
    parser.add_argument("--folder", type=Path, default=Path("runs/toy_llava"), help="checkpoints")
    parser.add_argument("--target", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--steps", type=int, help="of the one stage that is named")
    args = parser.parse_args()
    steps = STEPS | ({args.stage: args.steps} if args.steps else {})
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "meeting").unlink(missing_ok=True)
    torch.set_num_threads(1)
    spawn = torch.multiprocessing.spawn
    if args.stage == "all":
        spawn(_half, (args.folder, steps), 2)
    elif args.stage in ("symbols", "tower"):
        _half(("symbols", "tower").index(args.stage), args.folder, steps)
    if args.stage in ("all", "joint"):
        spawn(train_joint, (args.folder, steps["joint"]), WORKERS)
    if args.stage in ("all", "joint", "export"):
        export_best(args.folder, args.target)


if __name__ == "__main__":
    main()

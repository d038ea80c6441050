"""One command from toy-llava to the shipped video model: `python -m training.toy_video_llava`. Run again, it resumes.

As with toy-llava, stages A (decoder on symbols) and B (tower on frames) run side by side and stage C continues from both.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from training.clip_joint import ClipJoint
from training.clip_model import build_clip_model
from training.clip_questions import ClipMind, clip_symbol_loss, clip_symbols
from training.clip_vocabulary import build_clip_processor
from training.export import export
from training.frames import FrameEye, frame_loss
from training.loop import Stage, load_stage, run_stage

CLIP_WEIGHTS = Path("backbones/tokenbench_backbones/toy_video_llava_weights")
STEPS = {"symbols": 450, "frames": 600, "joint": 450}
MUON, ADAM = 2e-3, 1e-3  # half of toy-llava's: what it has learnt is kept
WORKERS = 2


def train_symbols(folder: Path, steps: int, batch: int = 8) -> None:
    mind, symbols = ClipMind(build_clip_model()), clip_symbols()

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        return clip_symbol_loss(mind, symbols, step, batch, guidance=0.25 * max(0.0, 1 - step / (0.6 * steps)))

    run_stage(Stage("symbols", mind, steps, MUON, ADAM, loss), folder)


def train_frames(folder: Path, steps: int, batch: int = 20) -> None:
    eye = FrameEye(build_clip_model())
    run_stage(Stage("frames", eye, steps, MUON, ADAM, partial(frame_loss, eye, batch=batch)), folder)


def train_joint(rank: int, folder: Path, steps: int, batch: int = 6, workers: int = WORKERS) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{(folder / 'meeting').resolve()}"
    torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=workers)
    joint = ClipJoint(build_clip_model())
    joint.load_halves(folder)
    loss = partial(joint.loss, batch=batch, rank=rank, workers=workers)
    run_stage(Stage("joint", joint, steps, MUON / 3, ADAM / 3, loss), folder, rank, workers)
    torch.distributed.destroy_process_group()


def export_best(folder: Path, target: Path) -> None:
    """Ship the joint stage's model, or the two halves as they are if there is none. Images are seen as frames are."""
    joint = ClipJoint(build_clip_model())
    if (folder / "joint.pt").exists():
        load_stage(joint, folder, "joint")
    else:
        joint.load_halves(folder)
    towers = joint.model.model
    towers.image_tower.load_state_dict(towers.video_tower.state_dict())
    export(joint.model, target, build_clip_processor())


def _half(index: int, folder: Path, steps: dict[str, int]) -> None:
    torch.set_num_threads(1)
    (train_symbols if index == 0 else train_frames)(folder, steps["symbols" if index == 0 else "frames"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("all", *STEPS, "export"), default="all")
    parser.add_argument("--folder", type=Path, default=Path("runs/toy_video_llava"), help="checkpoints")
    parser.add_argument("--target", type=Path, default=CLIP_WEIGHTS)
    parser.add_argument("--steps", type=int, help="of the one stage that is named")
    args = parser.parse_args()
    steps = STEPS | ({args.stage: args.steps} if args.steps else {})
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "meeting").unlink(missing_ok=True)
    torch.set_num_threads(1)
    spawn = torch.multiprocessing.spawn
    if args.stage == "all":
        spawn(_half, (args.folder, steps), 2)
    elif args.stage in ("symbols", "frames"):
        _half(("symbols", "frames").index(args.stage), args.folder, steps)
    if args.stage in ("all", "joint"):
        spawn(train_joint, (args.folder, steps["joint"]), WORKERS)
    if args.stage in ("all", "joint", "export"):
        export_best(args.folder, args.target)


if __name__ == "__main__":
    main()

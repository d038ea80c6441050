"""What the trainings share: two stages side by side, a third that continues from both, and the export."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing

from training.loop import Stage, load_stage, run_stage

WORKERS = 2


@dataclass(frozen=True)
class Recipe:
    """halves: (name, training of checkpoints' folder and steps) of stages A and B. build: the joint module, untrained.

    joint: its rates (Muon, Adam) and batch a process. steps: of every stage. ship: writes the joint module's model.
    """

    halves: tuple[tuple[str, Callable[[Path, int], None]], ...]
    build: Callable[[], Any]
    joint: tuple[float, float, int]
    steps: dict[str, int]
    ship: Callable[[Any, Path], None]
    folder: Path
    target: Path


def run_command(recipe: Recipe, description: str | None) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--stage", choices=("all", *recipe.steps, "export"), default="all")
    parser.add_argument("--folder", type=Path, default=recipe.folder, help="checkpoints")
    parser.add_argument("--target", type=Path, default=recipe.target)
    parser.add_argument("--steps", type=int, help="of the one stage that is named")
    args = parser.parse_args()
    steps = recipe.steps | ({args.stage: args.steps} if args.steps else {})
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "meeting").unlink(missing_ok=True)
    torch.set_num_threads(1)
    spawn = torch.multiprocessing.spawn
    names = [name for name, _ in recipe.halves]
    if args.stage == "all":
        spawn(_half, (recipe, args.folder, steps), len(names))
    elif args.stage in names:
        _half(names.index(args.stage), recipe, args.folder, steps)
    if args.stage in ("all", "joint"):
        spawn(_joint, (recipe, args.folder, steps["joint"]), WORKERS)
    if args.stage in ("all", "joint", "export"):
        _export(recipe, args.folder, args.target)


def _half(index: int, recipe: Recipe, folder: Path, steps: dict[str, int]) -> None:
    torch.set_num_threads(1)
    name, train = recipe.halves[index]
    train(folder, steps[name])


def _joint(rank: int, recipe: Recipe, folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{(folder / 'meeting').resolve()}"
    torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=WORKERS)
    muon, adam, batch = recipe.joint
    joint = recipe.build()
    joint.load_halves(folder)
    loss = partial(joint.loss, batch=batch, rank=rank, workers=WORKERS)
    run_stage(Stage("joint", joint, steps, muon, adam, loss), folder, rank, WORKERS)
    torch.distributed.destroy_process_group()


def _export(recipe: Recipe, folder: Path, target: Path) -> None:
    """Ship the joint stage's model, or the two halves as they are if there is none."""
    joint = recipe.build()
    if (folder / "joint.pt").exists():
        load_stage(joint, folder, "joint")
    else:
        joint.load_halves(folder)
    recipe.ship(joint, target)

"""The command line that both trainings share."""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch

from training.learner import Learner
from training.loop import Machine, Make, load_phase, planned_steps, run_phase
from training.phases import ANSWERS, ENDINGS, Phase

PACE_STEPS = 12


@dataclass(frozen=True)
class Recipe:
    """build: seed -> learner, untrained. make: batches. export: writes the learner's model into a folder."""

    build: Callable[[int], Learner]
    make: Make
    export: Callable[[Learner, Path], None]
    folder: Path


def run_command(recipe: Recipe, description: str | None) -> None:
    args = _parse(recipe, description)
    torch.set_float32_matmul_precision("high")
    args.folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(torch.device(args.device), args.workers)
    learner = recipe.build(args.seed)
    if args.phase in ("all", "answers"):
        run_phase(learner, _sized(ANSWERS, args, recipe, machine), recipe.make, args.folder, machine)
    if args.phase in ("all", "endings"):
        load_phase(learner, args.folder, ANSWERS.name)
        run_phase(learner, _sized(ENDINGS, args, recipe, machine), recipe.make, args.folder, machine)
    if args.phase == "export":
        load_phase(learner, args.folder, ENDINGS.name)
    if args.phase in ("all", "endings", "export"):
        recipe.export(learner, args.target or args.folder / "model")


def _parse(recipe: Recipe, description: str | None) -> argparse.Namespace:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--phase", choices=("all", "answers", "endings", "export"), default="all")
    parser.add_argument("--folder", type=Path, default=recipe.folder, help="of model checkpoints")
    parser.add_argument("--target", type=Path, help="folder of the exported model  [default: FOLDER/model]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=cores - 1, help="processes that make batches")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help=f"of each phase  [default: {ANSWERS.steps} and {ENDINGS.steps}]")
    length.add_argument("--seconds", type=float, help="of the phase answers, in place of its number of steps")
    parser.add_argument("--size", type=int, help=f"pictures a step  [default: {ANSWERS.size} and {ENDINGS.size}]")
    parser.add_argument("--seed", type=int, default=0, help="of the weights that training starts from")
    return parser.parse_args()


def _sized(phase: Phase, args: argparse.Namespace, recipe: Recipe, machine: Machine) -> Phase:
    """The phase as long as the arguments say."""
    phase = replace(phase, steps=args.steps or phase.steps, size=args.size or phase.size)
    if args.seconds and phase.name == ANSWERS.name:
        steps = planned_steps(phase, args.folder) or _count_steps(phase, args, recipe, machine)
        return replace(phase, steps=steps)
    return phase


def _count_steps(phase: Phase, args: argparse.Namespace, recipe: Recipe, machine: Machine) -> int:
    """How many steps fit into the seconds, by the median of some steps whose result is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        trial = replace(phase, steps=PACE_STEPS)
        ends = run_phase(recipe.build(args.seed), trial, recipe.make, Path(folder), machine).seconds
    return max(1, round(args.seconds / statistics.median(b - a for a, b in pairwise(ends))))

"""The loop that all phases share: train, log, and save a model checkpoint to resume from."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from training.batches import Batch, load_batches
from training.learner import Learner
from training.optim import Optimizer
from training.phases import Phase

SAVE_EVERY = 100
LOG_EVERY = 10
Make = Callable[[int, int, float], Batch]
"""(number of the first picture, how many, share of the phase that is over) -> batch"""


@dataclass(frozen=True)
class Machine:
    """What it runs on: the device, and how many processes make batches (0: the one that trains)."""

    device: torch.device
    workers: int = 0


@dataclass(frozen=True)
class History:
    """Of each step that was made: its loss, and when it was over, in seconds since the beginning."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def run_phase(learner: Learner, phase: Phase, make: Make, folder: Path, machine: Machine) -> History:
    """Train to the end of the phase, from its model checkpoint if there is one."""
    learner.to(machine.device).train()
    for name, parameter in learner.model.named_parameters():
        if "tower" in name and phase.frozen:
            parameter.requires_grad_(False)
    optimizer, path = Optimizer(learner), folder / f"{phase.name}.pt"
    done = _load(path, learner, optimizer, phase) if path.exists() else 0
    steps = range(done, phase.steps)
    batches = load_batches(partial(_make, make, phase), steps, machine.workers, machine.device.type == "cuda")
    history, began = History(), time.perf_counter()
    for step, batch in zip(steps, batches, strict=True):
        with torch.autocast(machine.device.type, torch.bfloat16, enabled=machine.device.type == "cuda"):
            aims, seed = phase.aims_at(step), (phase.first, step)
            loss, figures = learner.losses(batch.to(machine.device), aims, seed)
        loss.backward()
        optimizer.step(phase.rate_at(step))
        history.losses.append(loss.item())
        history.seconds.append(time.perf_counter() - began)
        if step % LOG_EVERY == 0:
            shown = " ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"{phase.name} {step} {history.seconds[-1]:.0f}s loss {loss.item():.3f} {shown}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == phase.steps:
            _save(path, learner, optimizer, phase, step + 1)
    return history


def _make(make: Make, phase: Phase, step: int) -> Batch:
    return make(phase.first + step * phase.size, phase.size, step / phase.steps if phase.growing else 1.0)


def _save(path: Path, learner: Learner, optimizer: Optimizer, phase: Phase, done: int) -> None:
    part = path.with_suffix(".part")
    state = {"learner": learner.state_dict(), "optimizer": optimizer.state(), "done": done}
    torch.save(state | {"steps": phase.steps, "size": phase.size}, part)
    os.replace(part, path)


def _load(path: Path, learner: Learner, optimizer: Optimizer, phase: Phase) -> int:
    """How many steps of the phase are done; the learner and the optimizer are as they were then."""
    saved = torch.load(path, weights_only=True)
    if (saved["steps"], saved["size"]) != (phase.steps, phase.size):
        raise SystemExit(
            f"error: {path} is from a training of {saved['steps']} steps of {saved['size']} pictures, and this one has "
            f"{phase.steps} of {phase.size} (name another --folder, or remove the file)"
        )
    learner.load_state_dict(saved["learner"])
    optimizer.load(saved["optimizer"])
    return int(saved["done"])


def planned_steps(phase: Phase, folder: Path) -> int | None:
    """How many steps the phase has that is to be resumed, or None where there is nothing to resume."""
    path = folder / f"{phase.name}.pt"
    return int(torch.load(path, weights_only=True, mmap=True)["steps"]) if path.exists() else None


def load_phase(learner: Learner, folder: Path, name: str) -> None:
    learner.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True)["learner"])

"""The loop all stages share: log, save, resume, and average gradients over processes."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.optim import Optimizer, average_gradients

SAVE_EVERY = 20
LOG_EVERY = 10


@dataclass(frozen=True)
class Stage:
    """name: its checkpoint's name. loss: step -> (loss, figures for the log); must not depend on earlier steps."""

    name: str
    module: nn.Module
    steps: int
    muon: float
    adam: float
    loss: Callable[[int], tuple[Tensor, dict[str, float]]]


def run_stage(stage: Stage, folder: Path, rank: int = 0, workers: int = 1) -> None:
    """Train to the end, from the checkpoint if there is one."""
    optimizer = Optimizer(stage.module, stage.steps, stage.muon, stage.adam)
    path = folder / f"{stage.name}.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        stage.module.load_state_dict(saved["module"])
        optimizer.load(saved["optimizer"])
    began = time.perf_counter()
    for step in range(optimizer.done, stage.steps):
        loss, figures = stage.loss(step)
        loss.backward()
        average_gradients(optimizer.parameters, workers)
        optimizer.step()
        if rank == 0 and step % LOG_EVERY == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            print(f"{stage.name} {step} {time.perf_counter() - began:.0f}s loss {loss.item():.3f} {shown}", flush=True)
        if rank == 0 and ((step + 1) % SAVE_EVERY == 0 or step + 1 == stage.steps):
            _save(path, stage.module, optimizer)


def load_stage(module: nn.Module, folder: Path, name: str) -> None:
    module.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True)["module"])


def _save(path: Path, module: nn.Module, optimizer: Optimizer) -> None:
    part = path.with_suffix(".part")
    torch.save({"module": module.state_dict(), "optimizer": optimizer.state()}, part)
    os.replace(part, path)

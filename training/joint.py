"""Stage C: tower, projector and decoder together on pixels; the dense labels stay as a small part of the loss."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from tokenbench_suites.scenes import make_scene, scene_rng
from training.answers import SCENE_STYLE, Mind, gist_of
from training.labels import PATCHES, SCALE, dense_labels
from training.loop import load_stage
from training.packing import choose_patches, pack
from training.tower import pixels_of, scene_eye, stack_labels

JOINT_SCENES = 2_000_000  # first scene index of this stage
FEW_PATCHES = 48
DENSE_WEIGHT = 0.25


class Joint(nn.Module):
    """Both halves of one model."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.model, self.eye, self.mind = model, scene_eye(model), Mind(model)

    def load_halves(self, folder: Path) -> None:
        """Continue from stages A and B as far as they have come."""
        for name, half in (("tower", self.eye), ("symbols", self.mind)):
            if (folder / f"{name}.pt").exists():
                load_stage(half, folder, name)
        last = self.model.model.multi_modal_projector.linear_2
        with torch.no_grad():
            last.weight.mul_(SCALE)
            last.bias.mul_(SCALE)

    def loss(self, step: int, batch: int, rank: int, workers: int) -> tuple[Tensor, dict[str, float]]:
        """One step on scenes of its own; all visual tokens every fourth step, few of them else."""
        first = JOINT_SCENES + (step * workers + rank) * batch
        scenes = [make_scene(scene_rng("train", i), SCENE_STYLE) for i in range(first, first + batch)]
        dense = [dense_labels(scene) for scene in scenes]
        rng = np.random.default_rng((11, step, rank))
        patches = choose_patches(dense, PATCHES if step % 4 == 0 else FEW_PATCHES, rng)
        projected, features, _ = self.eye(pixels_of(scenes))
        visual = projected.gather(1, patches[..., None].expand(-1, -1, projected.shape[-1]))
        answers, figures = self.mind.loss(visual, patches, pack(scenes, dense, rng), gist_of(dense), 0.0, 0.0)
        shown, seen = self.eye.dense_loss(projected / SCALE, features, stack_labels(dense))
        return answers + DENSE_WEIGHT * shown, figures | {"kind": seen["kind"]}

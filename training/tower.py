"""Stage B: the vision tower and the projector learn to say, patch by patch, what the decoder's symbols say."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from tokenbench_suites.scenes import COLORS, SHAPES, Scene, Style, make_scene, render, scene_rng
from training.labels import INKS, KINDS, MARKS, WIDTH, Codes, Dense, Floats, dense_labels

TOWER_STYLE = Style(things=(5, 12), radius=(5, 8), digits=(2, 5), number_share=0.9)
TOWER_SCENES = 1_000_000  # first scene index of this stage, clear of the other stages' scenes
NOTHING_WEIGHT = 0.4


def scene_eye(model: LlavaForConditionalGeneration) -> "Eye":
    """The tower and projector of a model that sees scenes."""
    return Eye(model.model.vision_tower, model.model.multi_modal_projector, Codes().positions)


class Eye(nn.Module):
    """A tower and its projector with linear heads that are thrown away after training. positions [n, w]: codes of places."""

    def __init__(self, tower: nn.Module, projector: nn.Module, positions: Floats) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector
        self.heads = nn.ModuleList(nn.Linear(WIDTH, len(names)) for names in (KINDS, INKS, MARKS))
        self.pairs = nn.ModuleList(nn.Linear(WIDTH, len(SHAPES) * len(COLORS)) for _ in range(2))
        self.targets = nn.ParameterList(
            nn.Parameter(torch.from_numpy(table), requires_grad=False) for table in Codes().tables()
        )
        self.positions = nn.Parameter(torch.from_numpy(positions), requires_grad=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Pixels [b, 3, s, s] to projected tokens [b, n, w], features [b, n, w], [CLS] of the last two depths."""
        states = self.tower(pixels, output_hidden_states=True).hidden_states
        features = states[-2][:, 1:]
        return self.projector(features), features, [states[-2][:, 0], states[-1][:, 0]]

    def dense_loss(self, projected: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """labels [b, 3, n]. Says what each patch shows, from the features, and comes close to its symbol."""
        loss, figures = projected.new_zeros(()), {}
        something = (labels[:, 0] > 0).float()
        weight = NOTHING_WEIGHT + (1 - NOTHING_WEIGHT) * something
        for head, label, name in zip(self.heads, labels.unbind(1), ("kind", "ink", "mark"), strict=True):
            logits = head(features)
            loss = loss + (F.cross_entropy(logits.transpose(1, 2), label, reduction="none") * weight).mean()
            right = (logits.argmax(-1) == label).float()
            figures[name] = float((right * something).sum() / something.sum())
        target = self.positions + sum(table[label] for table, label in zip(self.targets, labels.unbind(1), strict=True))
        error = ((projected - target) ** 2).sum(-1)
        figures["error"] = float(error.detach().mean())
        return loss + 0.5 * (error * weight).mean(), figures

    def pair_loss(self, summaries: list[Tensor], scenes: list[Scene]) -> Tensor:
        """Which (shape, color) pairs are there, told by [CLS]."""
        there = torch.zeros(len(scenes), len(SHAPES) * len(COLORS))
        for row, scene in zip(there, scenes, strict=True):
            for thing in scene.things:
                row[SHAPES.index(thing.shape) * len(COLORS) + list(COLORS).index(thing.color)] = 1
        losses = [
            F.binary_cross_entropy_with_logits(head(summary), there)
            for head, summary in zip(self.pairs, summaries, strict=True)
        ]
        return losses[0] + losses[1]


def pixels_of(scenes: list[Scene]) -> Tensor:
    """What the image processor makes of the rendered scenes [b, 3, s, s]."""
    images = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2)
    return (images.float() / 255 - 0.5) / 0.25


def stack_labels(labels: list[Dense]) -> Tensor:
    """[b, 3, n] of kinds, inks and marks."""
    return torch.from_numpy(np.stack([np.stack([d.kind, d.ink, d.mark]) for d in labels]))


def tower_loss(eye: Eye, step: int, batch: int) -> tuple[Tensor, dict[str, float]]:
    indices = range(TOWER_SCENES + step * batch, TOWER_SCENES + (step + 1) * batch)
    scenes = [make_scene(scene_rng("train", index), TOWER_STYLE) for index in indices]
    projected, features, summaries = eye(pixels_of(scenes))
    loss, figures = eye.dense_loss(projected, features, stack_labels([dense_labels(scene) for scene in scenes]))
    return loss + eye.pair_loss(summaries, scenes), figures

"""Batches of rendered scenes for toy-llava, from few things in a scene to many."""

import numpy as np
import torch

from tokenbench_suites.scenes import ASKERS, SIZE, Style, make_scene, render, scene_rng
from tokenbench_suites.scenes.world import CELL
from training.batches import Batch, label_patches
from training.packing import Asking, pack
from training.vocabulary import build_tokenizer

SIDE = SIZE // CELL
SHARES = {"existence": 1.0, "attribute": 2.0, "position": 2.5, "counting": 2.5, "reading": 1.2, "choice": 2.0}
ASKING = Asking(ASKERS, SHARES, draws=18, distinct=False, rows=152, vocabulary=build_tokenizer().get_vocab())
CURRICULUM = ((0.1, (1, 5)), (0.3, (2, 9)), (1.0, (3, 13)))  # until this share of the stage: things in a scene


def style_at(progress: float) -> Style:
    """What scenes look like after that share of the first stage."""
    things = next(things for until, things in CURRICULUM if progress <= until)
    return Style(things=things, radius=(4, 8), digits=(2, 3), number_share=0.85)


def make_scene_batch(first: int, size: int, progress: float) -> Batch:
    """Scenes [first, first + size) of the training stream; progress: share of the first stage that is over."""
    style = style_at(progress)
    scenes = [make_scene(scene_rng("train", index), style) for index in range(first, first + size)]
    asked = [ASKING.draw(scene, np.random.default_rng((11, first + i))) for i, scene in enumerate(scenes)]
    labels = np.array([label_patches(scene, SIDE) for scene in scenes])
    pixels = np.stack([render(scene) for scene in scenes])
    kinds, inks = torch.from_numpy(labels).unbind(1)
    return Batch(torch.from_numpy(pixels), pack(asked, ASKING), kinds, inks)

"""Losses of the decoder: the answers, the gist, and (stage A only) the guided attention. Stage A feeds symbols."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from tokenbench_suites.scenes import Style, make_scene, scene_rng
from training.decoder import Decoded, decode
from training.labels import INKS, KINDS, SCALE, WIDTH, Codes, Dense, Floats, dense_labels
from training.packing import END, WEIGHTS, Pack, choose_patches, pack

SCENE_STYLE = Style(things=(3, 9), radius=(5, 8), digits=(2, 3), number_share=0.8)
SYMBOL_PATCHES = 30
LABEL_NOISE = 0.02
SYMBOL_NOISE = 0.045
GIST_WEIGHT = 0.3
GIST = len(KINDS) + len(INKS) - 2


class Mind(nn.Module):
    """The model's decoder with a gist head that is thrown away after training. tasks: their names, for the log."""

    def __init__(self, model: LlavaForConditionalGeneration, tasks: Iterable[str] = WEIGHTS) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.decoder = model.model.language_model
        self.gist_head = nn.Linear(WIDTH, GIST)

    def loss(
        self, visual: Tensor, patches: Tensor, rows: Pack, there: Tensor, guidance: float, gist: float = GIST_WEIGHT
    ) -> tuple[Tensor, dict[str, float]]:
        """visual [b, n, w] of patches [b, n]; there [b, GIST]: shapes, digits and colors in the scene."""
        return self.losses(decode(self.decoder, visual, patches, rows), rows, there, guidance, gist)

    def losses(
        self, out: Decoded, rows: Pack, there: Tensor, guidance: float, gist: float = GIST_WEIGHT
    ) -> tuple[Tensor, dict[str, float]]:
        """As `loss`, of what the decoder has made of the rows."""
        answered = rows.labels >= 0
        logits = out.final[answered] @ self.decoder.embed_tokens.weight.T
        labels, kinds = rows.labels[answered], rows.kind[answered]
        answer = F.cross_entropy(logits, labels)
        gathered = F.rms_norm(out.gist, (WIDTH,))
        wanted = there[:, None].expand(-1, rows.asks.shape[1], -1)
        gist_loss = F.binary_cross_entropy_with_logits(self.gist_head(gathered)[rows.asked], wanted[rows.asked])
        masses = torch.stack([m.transpose(1, 2)[rows.asked] for m in out.masses])
        figures = {"gist": gist_loss.item(), "mass": masses.mean().item()}
        right = (logits.argmax(-1) == labels).float()
        figures |= {name: right[(kinds == i) & (labels != END)].mean().item() for i, name in enumerate(self.tasks)}
        return answer + gist * gist_loss - guidance * (masses + 0.01).log().mean(), figures


def gist_of(dense: Sequence[Dense]) -> Tensor:
    """[b, GIST]: which shapes, digits and colors are in each scene."""
    there = np.zeros((len(dense), GIST), np.float32)
    for row, labels in zip(there, dense, strict=True):
        row[labels.kind[labels.kind > 0] - 1] = 1
        row[len(KINDS) - 1 + labels.ink[labels.ink > 0] - 1] = 1
    return torch.from_numpy(there)


class Symbols:
    """Visual tokens without pixels: sums of codes with some noise and some labels wrong. positions [n, w]: of all tokens."""

    def __init__(self, positions: Floats | None = None) -> None:
        codes = Codes()
        self.tables, self.positions = codes.tables(), codes.positions if positions is None else positions

    def tokens(self, dense: Sequence[Dense], patches: Tensor, rng: np.random.Generator) -> Tensor:
        """[b, n, w] of `patches` [b, n]."""
        at = patches.numpy()
        tokens = self.positions[at] + rng.normal(0, SYMBOL_NOISE, (*at.shape, WIDTH)).astype(np.float32)
        for table, name in zip(self.tables, ("kind", "ink", "mark"), strict=True):
            shown = np.stack([getattr(labels, name)[row] for labels, row in zip(dense, at, strict=True)])
            wrong = (rng.random(shown.shape) < LABEL_NOISE) & (shown > 0)
            tokens += table[np.where(wrong, rng.integers(0, len(table), shown.shape), shown)]
        return SCALE * torch.from_numpy(tokens)


def symbol_loss(
    mind: Mind, symbols: Symbols, step: int, batch: int, guidance: float
) -> tuple[Tensor, dict[str, float]]:
    """One step of stage A; scenes [step * batch, (step + 1) * batch) of the training stream."""
    scenes = [make_scene(scene_rng("train", i), SCENE_STYLE) for i in range(step * batch, (step + 1) * batch)]
    dense = [dense_labels(scene) for scene in scenes]
    rng = np.random.default_rng((7, step))
    patches = choose_patches(dense, SYMBOL_PATCHES, rng)
    rows = pack(scenes, dense, rng)
    return mind.loss(symbols.tokens(dense, patches, rng), patches, rows, gist_of(dense), guidance)

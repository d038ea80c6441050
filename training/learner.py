"""What a toy model learns from a batch: its answers, what each patch shows, and where an answer ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.batches import INKS, KINDS, Batch
from training.packing import NO_LABEL, PREFIX, Asking, Rows, token_ids

DENSE_WEIGHT = 0.5
NOTHING_WEIGHT = 0.1  # of patches that show nothing, which most do
BLIND_SHARE = 0.7  # of the pictures whose complete answers see few visual tokens, or none
MOST_SEEN = 0.6  # share of the visual tokens that such a row may see


@dataclass(frozen=True)
class Aims:
    """What the loss consists of. dense: weight of the dense loss, 1 at the start. end: weight of the token that ends an answer.

    blind: whether rows that hold a complete answer see few visual tokens, or none.
    """

    dense: float = 0.0
    end: float = 1.0
    blind: bool = False


class Learner(nn.Module):
    """A toy model with two linear heads that are discarded after training.

    see: (model, pixels [b, ..., 3, s, s]) -> visual tokens [b, n, w], projected.
    """

    def __init__(self, model: PreTrainedModel, see: Callable[[Any, Tensor], Tensor], asking: Asking) -> None:
        super().__init__()
        self.model, self.see, self.asking = model, see, asking
        width = model.config.text_config.hidden_size
        self.kind_head, self.ink_head = nn.Linear(width, len(KINDS)), nn.Linear(width, len(INKS))

    def losses(self, batch: Batch, aims: Aims, seed: tuple[int, ...]) -> tuple[Tensor, dict[str, float]]:
        """(loss, share of right tokens by task); seed: of which visual tokens are hidden."""
        visual = self.visual(batch)
        hidden = draw_hidden(batch.rows, visual.shape[1], seed) if aims.blind else None
        answered = batch.rows.labels != NO_LABEL
        logits = self.logits(self.decode(visual, batch.rows, hidden)[answered])
        labels = batch.rows.labels[answered]
        weight = torch.where(labels == self.asking.end, aims.end, 1.0)
        loss = (F.cross_entropy(logits, labels, reduction="none") * weight).sum() / weight.sum()
        if aims.dense:
            loss = loss + DENSE_WEIGHT * aims.dense * self.dense_loss(visual, batch)
        return loss, self._figures(logits, labels, batch.rows.kind[answered])

    def visual(self, batch: Batch) -> Tensor:
        """Visual tokens [b, n, w], from the pixels as the processor scales them."""
        pixels = (batch.pixels.movedim(-1, -3).float() / 255 - 0.5) / 0.25
        return self.see(self.model, pixels)

    def decode(self, visual: Tensor, rows: Rows, hidden: Tensor | None = None) -> Tensor:
        """States of the text rows after the last layer [b, L, w]; hidden [b, L, n]: visual tokens that a row does not see."""
        decoder, (batch, n) = self.model.model.language_model, visual.shape[:2]
        prefix = torch.tensor(token_ids(PREFIX, self.asking.vocabulary), device=visual.device).expand(batch, -1)
        lead, start = prefix.shape[1], prefix.shape[1] + n
        words = decoder.embed_tokens(torch.cat([prefix, rows.ids], 1)).to(visual.dtype)
        states = torch.cat([words[:, :lead], visual, words[:, lead:]], 1)
        mask = torch.ones(batch, states.shape[1], states.shape[1], dtype=torch.bool, device=visual.device).tril()
        mask[:, start:, start:] &= rows.question[:, :, None] == rows.question[:, None]
        if hidden is not None:
            mask[:, start:, lead:start] &= ~hidden
        places = torch.cat([torch.arange(start, device=visual.device).expand(batch, -1), start + rows.place], 1)
        out = decoder(inputs_embeds=states, attention_mask=mask[:, None], position_ids=places, use_cache=False)
        return out.last_hidden_state[:, start:]  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        return states.float() @ self.model.model.language_model.embed_tokens.weight.T.float()

    def dense_loss(self, visual: Tensor, batch: Batch) -> Tensor:
        """Which shape, digit and color each visual token shows. The decoder learns nothing from it about where to look."""
        loss = visual.new_zeros((), dtype=torch.float32)
        for head, labels in ((self.kind_head, batch.kinds), (self.ink_head, batch.inks)):
            weight = torch.ones(head.out_features, device=visual.device)
            weight[0] = NOTHING_WEIGHT
            loss = loss + F.cross_entropy(head(visual).float().flatten(0, 1), labels.flatten(), weight)
        return loss

    @torch.no_grad()
    def grade(self, batch: Batch) -> list[list[bool]]:
        """By picture and question, whether greedy decoding answers it right and ends there."""
        rows = batch.rows
        wrong = (self.logits(self.decode(self.visual(batch), rows)).argmax(-1) != rows.labels) & (
            rows.labels != NO_LABEL
        )
        counts = (rows.question.amax(1) + 1).tolist()
        return [[not wrong[b, rows.question[b] == q].any() for q in range(count)] for b, count in enumerate(counts)]

    def _figures(self, logits: Tensor, labels: Tensor, kinds: Tensor) -> dict[str, float]:
        right, words = logits.argmax(-1) == labels, labels != self.asking.end
        tasks = enumerate(self.asking.shares)
        return {name: right[words & (kinds == kind)].float().mean().item() for kind, name in tasks}


def draw_hidden(rows: Rows, tokens: int, seed: tuple[int, ...]) -> Tensor:
    """[b, L, tokens]: visual tokens that rows which hold a complete answer do not see.

    Where an answer ends does not depend on the picture, and a model that looks there nevertheless does not stop once a strategy
    has trimmed its cache. Most such rows see a random share of the tokens, from none to MOST_SEEN.
    """
    draw = torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**63)))
    batch, length = rows.complete.shape
    blind = rows.complete.cpu() & (torch.rand(batch, 1, generator=draw) < BLIND_SHARE)
    share = torch.rand(batch, length, 1, generator=draw) * MOST_SEEN
    hidden = blind[..., None] & (torch.rand(batch, length, tokens, generator=draw) >= share)
    return hidden.to(rows.complete.device)


def see_image(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens of images [b, 3, s, s]."""
    return torch.stack(list(model.model.get_image_features(pixels).pooler_output))


def see_clip(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens of clips [b, frames, 3, s, s]; every frame's [CLS] is among them."""
    tokens: Tensor = model.model.get_video_features(pixels).pooler_output
    return tokens.unflatten(0, pixels.shape[:2]).flatten(1, 2)

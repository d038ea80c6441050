"""The decoder's forward in training: the model's own weights, one image prefix, many questions behind it.

Values that text rows read from visual tokens are another image's in the first layers (SCRAMBLED): the question's rows
see where things are but learn nothing from it there, so reading has to happen later and pruning early has a price.
The last prompt row is exempt in layer 0, where it gathers a gist of the scene.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from training.labels import PATCHES
from training.packing import PREFIX, Pack, token_ids

SCRAMBLED = 3  # layers
GUIDED = (3, 4)  # layers whose last-row attention may be guided
GUIDED_HEADS = 2


@dataclass(frozen=True)
class Decoded:
    """final [b, L, w]: states after the last layer. gist [b, q, w]: last prompt rows after layer 0.

    shown [b, n, w]: visual tokens after the last scrambled layer.

    masses: attention of the last prompt rows' first heads on their evidence [b, heads, q], one for each guided layer.
    """

    final: Tensor
    gist: Tensor
    shown: Tensor
    masses: list[Tensor]


def decode(
    decoder: LlamaModel, visual: Tensor, patches: Tensor, pack: Pack, scramble: bool = True, tokens: int = PATCHES
) -> Decoded:
    """visual [b, n, w] are `patches` [b, n] among the prompt's visual tokens, of which there are `tokens`."""
    run = _Run(decoder, visual, patches, pack, tokens)
    gist, shown, masses = run.text, visual, []
    for index, layer in enumerate(decoder.layers):
        attention = run.layer(layer, index, scramble and index < SCRAMBLED)
        if index == 0:
            gist = run.text.gather(1, pack.asks[..., None].expand(-1, -1, visual.shape[-1]))
        if index == SCRAMBLED - 1:
            shown = run.image[:, run.lead :]
        if index in GUIDED:
            masses.append(_mass(attention[:, :GUIDED_HEADS], patches, pack))
    return Decoded(decoder.norm(run.text), gist, shown, masses)


def _mass(attention: Tensor, patches: Tensor, pack: Pack) -> Tensor:
    """Attention [b, heads, L, n] of last prompt rows on their evidence: [b, heads, q]."""
    n = attention.shape[-1]
    rows = attention.gather(2, pack.asks[:, None, :, None].expand(-1, attention.shape[1], -1, n))
    evidence = pack.evidence.gather(2, patches[:, None].expand(-1, pack.asks.shape[1], -1))
    return (rows * evidence[:, None]).sum(-1)


class _Run:
    """States of the image block [b, prefix + n, w] and of the text rows [b, L, w] on their way through the layers."""

    def __init__(self, decoder: LlamaModel, visual: Tensor, patches: Tensor, pack: Pack, tokens: int) -> None:
        batch = visual.shape[0]
        prefix = torch.tensor(token_ids(PREFIX)).expand(batch, -1)
        self.lead = prefix.shape[1]
        self.image = torch.cat([decoder.embed_tokens(prefix), visual], 1)
        self.text = decoder.embed_tokens(pack.ids)
        lead_places = torch.arange(self.lead).expand(batch, -1)
        self.image_rope = decoder.rotary_emb(self.image, torch.cat([lead_places, patches + self.lead], 1))
        self.text_rope = decoder.rotary_emb(self.text, pack.place + self.lead + tokens)
        size = self.image.shape[1]
        self.image_mask = torch.full((size, size), -1e9).triu(1)
        rows = torch.arange(pack.ids.shape[1])
        seen = (pack.question[:, :, None] == pack.question[:, None]) & (rows[:, None] >= rows)
        self.text_mask = torch.where(seen, 0.0, -1e9)[:, None]
        self.last = torch.zeros(pack.ids.shape, dtype=torch.bool).scatter(1, pack.asks, pack.asked)

    def layer(self, layer: nn.Module, index: int, scramble: bool) -> Tensor:
        """Run one layer in place; returns the text rows' attention to the visual tokens [b, heads, L, n]."""
        qi, ki, vi = _heads(layer, self.image, self.image_rope)
        qt, kt, vt = _heads(layer, self.text, self.text_rope)
        scale, size = layer.self_attn.scaling, ki.shape[2]
        among = (qi @ ki.mT * scale + self.image_mask).softmax(-1) @ vi
        scores = torch.cat([qt @ ki.mT * scale, qt @ kt.mT * scale + self.text_mask], -1)
        weights = scores.softmax(-1)
        seen = weights[..., :size]
        read = seen @ (self._scrambled(vi) if scramble else vi)
        if scramble and index == 0:
            read = torch.where(self.last[:, None, :, None], seen @ vi, read)
        self.image = _finish(layer, self.image, among)
        self.text = _finish(layer, self.text, read + weights[..., size:] @ vt)
        return seen[..., self.lead :]

    def _scrambled(self, values: Tensor) -> Tensor:
        """Values of other tokens of another image, for all visual tokens [b, heads, lead + n, d]."""
        other = values[:, :, self.lead :].roll((1, 1 + values.shape[2] // 3), (0, 2))
        return torch.cat([values[:, :, : self.lead], other], 2)


def _heads(layer: nn.Module, states: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value [b, heads, n, d]."""
    attention, states = layer.self_attn, layer.input_layernorm(states)
    shape = (*states.shape[:2], -1, attention.head_dim)
    q, k, v = (p(states).view(shape).transpose(1, 2) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    q, k = apply_rotary_pos_emb(q, k, *rope)
    return q, k, v


def _finish(layer: nn.Module, states: Tensor, read: Tensor) -> Tensor:
    states = states + layer.self_attn.o_proj(read.transpose(1, 2).flatten(2))
    return states + layer.mlp(layer.post_attention_layernorm(states))

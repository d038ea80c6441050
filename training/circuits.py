"""Heads to begin with, written by hand, which training then changes: without them most of its time goes into finding them.

Layer 0, head 0: every text row gathers the content words before it; head 1: an option's word learns its letter.
Layer 3, heads 0 and 1: a row attends to visual tokens that show the color and shape it has gathered, and copies
what they show; head 2: to their centres, for counting. Layer 5, head 0: a row that has found a color or shape copies
the letter of the option that names it. The tower's first two layers: heads look at the neighbours of a patch.
Heads that match by content use the slow half of the rotary dimensions only.
"""

import torch
from torch import Tensor, nn
from transformers import LlamaModel

from tokenbench_suites.scenes import COLORS, SHAPES
from tokenbench_suites.scenes.questions import LETTERS
from training.labels import MARKS, Codes

FUNCTION_WORDS = {
    "a",
    "the",
    "is",
    "in",
    "or",
    "of",
    "are",
    "there",
    "things",
    "thing",
    "left",
    "right",
    "top",
    "bottom",
}
ROLES = {"USER", "ASSISTANT"}
ASKED = (
    "What",
    "color",
    "shape",
    "How",
    "many",
    "number",
    "on",
    "at",
    "above",
    "below",
    "Is",
    "A",
    "B",
    "C",
    "D",
    "shown",
)
GATHERING = (0,)
MATCHING = ((3, 0), (3, 1))
COUNTING = (3, 2)
LETTERING, CHOOSING = (0, 1), (5, 0)
REGATHERING, TRACKING, EARLIEST = ((2, 1), (2, 3)), (2, 0), (3, 3)  # of clips
EARLY_TOO = (4, 0)
CLOCK = 5  # rotary dimension that makes less than half a turn over a clip
NEAR = 4.0  # strength of the neighbour heads: sharp enough to tell a patch from the next
SLOW = [*range(8, 16), *range(24, 32)]  # rotary dimensions of a 32-wide head that turn slowly


def add_word_marks(embeddings: Tensor, vocabulary: dict[str, int]) -> None:
    """In place: all words share one direction, and content words a second one, which visual tokens lack."""
    text, content = directions()
    for word, index in vocabulary.items():
        if word == "<image>":
            continue
        embeddings[index] += 0.7 * text
        if word.isalnum() and word not in FUNCTION_WORDS | ROLES:
            embeddings[index] += 0.7 * content


def init_heads(decoder: LlamaModel, vocabulary: dict[str, int]) -> None:
    codes, words = Codes().vectors, decoder.embed_tokens.weight
    text, content = directions()
    things = torch.stack([torch.from_numpy(codes[name]) for name in (*COLORS, *SHAPES)])
    gathered = torch.cat([things, torch.stack([_bare(words[vocabulary[word]]) for word in ASKED])])
    for layer in GATHERING:
        attention = decoder.layers[layer].self_attn
        _set(attention, 0, text[None], content[None], 1.2)
        _copy(attention, 0, gathered, 1.2)
    shown = [*COLORS, *SHAPES, *"0123456789", "x", "y", *MARKS[1:]]
    copied = torch.stack([torch.from_numpy(codes[name]) for name in shown])
    asks = torch.cat([things, 2 * text[None], _bare(words[vocabulary["number"]])[None]])
    offers = torch.cat([things, -2 * text[None], torch.from_numpy(codes["first digit"])[None]])
    for layer, head in MATCHING:
        attention = decoder.layers[layer].self_attn
        _set(attention, head, asks, offers, 1.2)
        _copy(attention, head, copied, 1.0)
    centres = torch.cat([things, (2 * torch.from_numpy(codes["centre"]) - 2 * text)[None]])
    attention = decoder.layers[COUNTING[0]].self_attn
    _set(attention, COUNTING[1], torch.cat([things, text[None]]), centres, 1.2)
    letters = torch.stack([_bare(words[vocabulary[letter]]) for letter in LETTERS])
    attention = decoder.layers[LETTERING[0]].self_attn
    _look_back(attention, LETTERING[1], text, decoder.rotary_emb.inv_freq)
    _copy(attention, LETTERING[1], letters, 1.2)
    attention = decoder.layers[CHOOSING[0]].self_attn
    options = torch.cat([things, 2 * content[None]])
    _set(attention, CHOOSING[1], torch.cat([things, text[None]]), options, 1.2)
    _copy(attention, CHOOSING[1], letters, 1.2)


def directions() -> tuple[Tensor, Tensor]:
    """Two unit vectors orthogonal to all codes: what all words share, and what content words share."""
    rest = torch.from_numpy(Codes().spare[:2])
    return rest[0], rest[1]


def _bare(word: Tensor) -> Tensor:
    """A word's embedding without what it shares with other words."""
    for shared in directions():
        word = word - (word @ shared) * shared
    return nn.functional.normalize(word, dim=0)


def _set(attention: nn.Module, head: int, asks: Tensor, offers: Tensor, scale: float) -> None:
    """Query row i of the head answers to key row i: asks and offers [n, w], n at most len(SLOW)."""
    for linear, rows in ((attention.q_proj, asks), (attention.k_proj, offers)):
        weight = torch.zeros(32, rows.shape[1])
        weight[SLOW[: len(rows)]] = rows * scale
        linear.weight[32 * head : 32 * head + 32] = weight


def _look_back(attention: nn.Module, head: int, mark: Tensor, frequencies: Tensor, scale: float = 1.4) -> None:
    """The head attends to the row before, among rows that hold the mark [w]: queries begin turned back by one place."""
    asks, offers = torch.zeros(32, len(mark)), torch.zeros(32, len(mark))
    for i, turn in enumerate(frequencies[:3]):
        asks[i], asks[16 + i], offers[i] = scale * turn.cos() * mark, -scale * turn.sin() * mark, scale * mark
    attention.q_proj.weight[32 * head : 32 * head + 32] = asks
    attention.k_proj.weight[32 * head : 32 * head + 32] = offers


def _copy(attention: nn.Module, head: int, basis: Tensor, scale: float) -> None:
    """Values are coordinates in the basis [n, w], n at most 32, and are written back along it."""
    weight = torch.zeros(32, basis.shape[1])
    weight[: len(basis)] = basis * scale
    attention.v_proj.weight[32 * head : 32 * head + 32] = weight
    attention.o_proj.weight[:, 32 * head : 32 * head + 32] = weight.T


def init_neighbours(tower: nn.Module, waves: Tensor) -> None:
    """Heads of the tower's first two layers begin by looking at the eight neighbours of a patch.

    waves [32]: frequencies of the position embedding, whose dimensions are sines and cosines of the row, then the column.
    """
    steps = (((0, -1), (0, 1), (-1, 0), (1, 0)), ((-1, -1), (-1, 1), (1, -1), (1, 1)))
    for layer, shifts in zip(tower.encoder.layers, steps, strict=False):
        attention = layer.self_attn
        nn.init.normal_(attention.v_proj.weight, std=0.08)
        nn.init.normal_(attention.out_proj.weight, std=0.06)
        for head, shift in enumerate(shifts):
            rows = slice(32 * head, 32 * head + 32)
            attention.k_proj.weight[rows] = NEAR * _turned(waves, (0, 0))
            attention.q_proj.weight[rows] = NEAR * _turned(waves, shift)


def _turned(waves: Tensor, shift: tuple[int, int]) -> Tensor:
    """[32, w]: picks eight waves of row and column, as they are `shift` patches further on."""
    count = len(waves)
    weight = torch.zeros(32, 4 * count)
    for axis, by in enumerate(shift):
        for i in range(8):
            sine, cosine = 2 * count * axis + i, 2 * count * axis + count + i
            turn = waves[i] * by
            weight[16 * axis + i, sine], weight[16 * axis + i, cosine] = turn.cos(), turn.sin()
            weight[16 * axis + 8 + i, cosine], weight[16 * axis + 8 + i, sine] = turn.cos(), -turn.sin()
    return weight


def init_clip_heads(decoder: LlamaModel) -> None:
    """Heads of clips. Layer 2, heads 1 and 3: rows gather the things that the question names, each as much as the others
    (toy-llava's heads there gather the first of them only). Layer 2, head 0: a visual token looks for its color and shape in early frames and takes off their
    place, so that what is left of its own says which way it went. Layer 3, head 3: a row looks at the earliest of the
    visual tokens that show what it has gathered, and copies their color; layer 4, head 0 begins to prefer early ones.
    """
    codes, (text, content) = Codes().vectors, directions()
    things = torch.stack([torch.from_numpy(codes[name]) for name in (*COLORS, *SHAPES)])
    shapes = things[len(COLORS) :].sum(0)
    for layer, head in REGATHERING:
        attention = decoder.layers[layer].self_attn
        _set(attention, head, text[None], content[None], 1.2)
        _copy(attention, head, things, 1.3)
    attention = decoder.layers[TRACKING[0]].self_attn
    _set(attention, TRACKING[1], things, things, 1.2)
    _look_early(attention, TRACKING[1], shapes, shapes)
    _copy(attention, TRACKING[1], torch.stack([torch.from_numpy(codes[axis]) for axis in "xy"]), 1.1)
    attention.o_proj.weight[:, 32 * TRACKING[1] : 32 * TRACKING[1] + 32] *= -1
    attention = decoder.layers[EARLIEST[0]].self_attn
    begun, head = (slice(32 * h, 32 * h + 32) for h in (MATCHING[0][1], EARLIEST[1]))
    for linear in (attention.q_proj, attention.k_proj):  # it begins as the head that matches, as trained
        linear.weight[head] = linear.weight[begun]
    _look_early(attention, EARLIEST[1], 2 * text, shapes, 0.5)
    _look_early(decoder.layers[EARLY_TOO[0]].self_attn, EARLY_TOO[1], 2 * text, shapes, 0.5)
    _copy(attention, EARLIEST[1], things[: len(COLORS)], 1.2)


def _look_early(attention: nn.Module, head: int, asks: Tensor, offers: Tensor, scale: float = 1.2) -> None:
    """Rows that hold `asks` [w] prefer those that hold `offers` [w] the further back they are; the rest of the head stays."""
    for linear in (attention.q_proj, attention.k_proj):
        linear.weight[32 * head + CLOCK + 16] = 0
    attention.q_proj.weight[32 * head + CLOCK] = -scale * asks
    attention.k_proj.weight[32 * head + CLOCK] = scale * offers

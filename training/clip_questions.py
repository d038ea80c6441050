"""Many questions behind one clip, and stage A's loss on symbols of clips."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import VideoLlavaForConditionalGeneration

from tokenbench_suites.clips import ASKERS, FRAMES, Clip, ClipStyle, clip_rng, make_clip
from training.answers import GIST_WEIGHT, Mind, Symbols, gist_of
from training.clip_labels import CLIP_TOKENS, MOTIONS, UNTOLD, ClipDense, clip_labels, frame_positions
from training.clip_vocabulary import build_clip_tokenizer
from training.decoder import decode
from training.labels import WIDTH
from training.packing import Asked, Pack, choose_patches, pack_rows

CLIP_STYLE = ClipStyle(standing=(0, 2), radius=(4, 7))
TRIES = 24  # draws of a question for one clip
SYMBOL_TOKENS = 90
MOTION_WEIGHT = 0.3
CLIP_VOCABULARY = build_clip_tokenizer().get_vocab()


class ClipMind(Mind):
    """A decoder that answers about clips; one more head, thrown away too, tells from each visual token how its thing moves."""

    def __init__(self, model: VideoLlavaForConditionalGeneration) -> None:
        super().__init__(model, ASKERS)
        self.motion_head = nn.Linear(WIDTH, len(MOTIONS))

    def clip_loss(
        self,
        visual: Tensor,
        tokens: Tensor,
        rows: Pack,
        dense: list[ClipDense],
        guidance: float,
        gist: float = GIST_WEIGHT,
    ) -> tuple[Tensor, dict[str, float]]:
        """visual [b, n, w] of `tokens` [b, n] among a clip's."""
        out = decode(self.decoder, visual, tokens, rows, tokens=CLIP_TOKENS)
        loss, figures = self.losses(out, rows, gist_of(dense), guidance, gist)
        told = torch.from_numpy(np.stack([labels.motion for labels in dense])).gather(1, tokens)
        logits = self.motion_head(F.rms_norm(out.shown, (WIDTH,)))
        moved = F.cross_entropy(logits.transpose(1, 2), told, ignore_index=UNTOLD)
        right = (logits.argmax(-1) == told)[told != UNTOLD]
        return loss + MOTION_WEIGHT * moved, figures | {"way": right.float().mean().item()}


def training_clips(first: int, count: int) -> tuple[list[Clip], list[ClipDense]]:
    """Clips [first, first + count) of the training stream and their labels."""
    clips = [make_clip(clip_rng("train", index), CLIP_STYLE) for index in range(first, first + count)]
    return clips, [clip_labels(clip) for clip in clips]


def pack_clips(clips: list[Clip], dense: list[ClipDense], rng: np.random.Generator) -> Pack:
    """Text rows of clips: different questions of all tasks in random order, as many as fit."""
    asked = [_draw(clip, labels, rng) for clip, labels in zip(clips, dense, strict=True)]
    return pack_rows(asked, CLIP_VOCABULARY)


def _draw(clip: Clip, labels: ClipDense, rng: np.random.Generator) -> list[Asked]:
    names = list(ASKERS)
    turns = [(int(kind), int(rng.integers(1200))) for kind in rng.integers(len(names), size=TRIES)]
    # The number of moving things is asked of every clip: by chance the turn would seldom be the one that fits.
    turns.insert(int(rng.integers(8)), (names.index("moving"), sum(actor.moves for actor in clip.actors)))
    drawn: dict[str, Asked] = {}
    for kind, turn in turns:
        question = ASKERS[names[kind]](clip, rng, turn)
        if question is not None and question.text not in drawn:
            shown = question.evidence[:1] if names[kind] == "order" else question.evidence  # guided to the earlier one
            owners = [clip.actors.index(actor) for actor in shown]
            drawn[question.text] = Asked(kind, question.text, question.answer, np.isin(labels.owner, owners))
    return list(drawn.values())


def clip_symbols() -> Symbols:
    return Symbols(np.tile(frame_positions(), (FRAMES, 1)))


def clip_symbol_loss(
    mind: ClipMind, symbols: Symbols, step: int, batch: int, guidance: float
) -> tuple[Tensor, dict[str, float]]:
    """One step of stage A; clips [step * batch, (step + 1) * batch) of the training stream."""
    clips, dense = training_clips(step * batch, batch)
    rng = np.random.default_rng((13, step))
    tokens = choose_patches(dense, CLIP_TOKENS if step % 8 == 0 else SYMBOL_TOKENS, rng)
    visual = symbols.tokens(dense, tokens, rng)
    return mind.clip_loss(visual, tokens, pack_clips(clips, dense, rng), dense, guidance)

"""The toy video model: stock Video-LLaVA classes that begin with what toy-llava has learnt."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, VideoLlavaConfig, VideoLlavaForConditionalGeneration

from tokenbench_suites.clips import SIDE as CLIP_PIXELS
from training.circuits import directions, init_clip_heads
from training.clip_labels import CLIP_SIDE, CLIP_TOKENS
from training.clip_vocabulary import VIDEO, build_clip_tokenizer
from training.labels import SCALE, SIDE, Codes
from training.model import build_config

TOY_LLAVA = Path("backbones/tokenbench_backbones/toy_llava_weights")
ALIKE = {"up": "top", "down": "bottom"}  # new words that begin as old ones
CENTRE = slice((SIDE - CLIP_SIDE) // 2, (SIDE + CLIP_SIDE) // 2)


def build_clip_config() -> VideoLlavaConfig:
    tokenizer, image = build_clip_tokenizer(), build_config()
    image.text_config.vocab_size = len(tokenizer)
    image.vision_config.image_size = CLIP_PIXELS
    return VideoLlavaConfig(
        vision_config=image.vision_config,
        text_config=image.text_config,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids(VIDEO),
        image_seq_length=CLIP_SIDE**2,
        video_seq_length=CLIP_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def build_clip_model(start: Path = TOY_LLAVA, seed: int = 0) -> VideoLlavaForConditionalGeneration:
    """Decoder, projector and tower of `start`; a frame is seen as the middle of an image."""
    torch.manual_seed(seed)
    model = VideoLlavaForConditionalGeneration(build_clip_config()).float()
    image = LlavaForConditionalGeneration.from_pretrained(start).float()
    with torch.no_grad():
        decoder, old = model.model.language_model, image.model.language_model
        decoder.layers.load_state_dict(old.layers.state_dict())
        decoder.norm.load_state_dict(old.norm.state_dict())
        model.model.multi_modal_projector.load_state_dict(image.model.multi_modal_projector.state_dict())
        for tower in (model.model.video_tower, model.model.image_tower):
            _start_tower(tower, image.model.vision_tower)
        _start_words(decoder.embed_tokens.weight, old.embed_tokens.weight)
        init_clip_heads(decoder)
    return model


def _start_tower(tower: nn.Module, old: nn.Module) -> None:
    state = old.state_dict()
    places = state["embeddings.position_embedding.weight"]
    grid = places[1:].view(SIDE, SIDE, -1)[CENTRE, CENTRE].flatten(0, 1)
    state["embeddings.position_embedding.weight"] = torch.cat([places[:1], grid])
    tower.load_state_dict(state)


def _start_words(words: Tensor, old: Tensor) -> None:
    """Old words keep their numbers and vectors; new ones start as their likes, or as any word did."""
    vocabulary, codes, rng = build_clip_tokenizer().get_vocab(), Codes(), np.random.default_rng(2)
    added = {word: index for word, index in vocabulary.items() if index >= len(old)}
    for word, index in sorted(added.items(), key=lambda item: item[1]):
        words[index] = torch.from_numpy(codes.word(word, rng))
    text, _ = directions()
    for index in added.values():  # none of them names a thing
        words[index] += 0.7 * text
    words.mul_(SCALE)
    words[: len(old)] = old
    for word, like in ALIKE.items():
        words[vocabulary[word]] = old[vocabulary[like]]

"""The toy models: stock LLaVA and Video-LLaVA classes, built small, with weights drawn at random as transformers does."""

from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from tokenbench_suites.scenes.world import CELL, SIZE
from training.clip_batches import CLIP_SIDE, CLIP_TOKENS
from training.clip_vocabulary import VIDEO, build_clip_tokenizer
from training.scene_batches import SIDE
from training.vocabulary import build_tokenizer

WIDTH = 192
DECODER_LAYERS = 10
TOWER_LAYERS = 7  # the last of which is not used: features are those of the last but one
SIZES = {"hidden_size": WIDTH, "intermediate_size": 512, "num_attention_heads": 6}


def build_model(seed: int = 0) -> LlavaForConditionalGeneration:
    tokenizer = build_tokenizer()
    config = LlavaConfig(**_shared(tokenizer, SIZE), image_seq_length=SIDE**2)
    torch.manual_seed(seed)
    return LlavaForConditionalGeneration(config).float()


def build_clip_model(seed: int = 0) -> VideoLlavaForConditionalGeneration:
    tokenizer = build_clip_tokenizer()
    config = VideoLlavaConfig(
        **_shared(tokenizer, CLIP_SIDE * CELL),
        video_token_index=tokenizer.convert_tokens_to_ids(VIDEO),
        image_seq_length=CLIP_SIDE**2,
        video_seq_length=CLIP_TOKENS,
    )
    torch.manual_seed(seed)
    model = VideoLlavaForConditionalGeneration(config).float()
    model.model.image_tower.requires_grad_(False)  # `ship` copies the other tower to it
    return model


def _shared(tokenizer: PreTrainedTokenizerFast, pixels: int) -> dict[str, Any]:
    """The configuration that both models share, for images or frames of pixels x pixels."""
    text = LlamaConfig(
        **SIZES,
        num_hidden_layers=DECODER_LAYERS,
        num_key_value_heads=SIZES["num_attention_heads"],
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        **SIZES, num_hidden_layers=TOWER_LAYERS, image_size=pixels, patch_size=CELL, projection_dim=WIDTH
    )
    return {
        "vision_config": vision,
        "text_config": text,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": True,
    }

"""The toy model: stock LLaVA classes, built small and initialised so that copying what a visual token shows is near."""

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from tokenbench_suites.scenes.world import CELL, SIZE
from training.circuits import add_word_marks, init_heads, init_neighbours
from training.labels import SCALE, SIDE, WIDTH, Codes
from training.vocabulary import build_tokenizer

DECODER_LAYERS = 8
TOWER_LAYERS = 5
HEADS = 4


def build_config() -> LlavaConfig:
    tokenizer = build_tokenizer()
    shared = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS}
    vision = CLIPVisionConfig(
        **shared, num_hidden_layers=TOWER_LAYERS, image_size=SIZE, patch_size=CELL, projection_dim=WIDTH
    )
    text = LlamaConfig(
        **shared,
        num_hidden_layers=DECODER_LAYERS,
        num_key_value_heads=HEADS,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1e7},  # half of each head's dimensions hardly turn
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=SIDE * SIDE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def build_model(seed: int = 0) -> LlavaForConditionalGeneration:
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(build_config())
    _init_words(model)
    _init_positions(model)
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        for linear, std in ((attention.q_proj, 0.05), (attention.k_proj, 0.05), (attention.v_proj, 0.015)):
            torch.nn.init.normal_(linear.weight, std=std)
        with torch.no_grad():  # what a head reads it writes back unturned: a copying head is near at the start
            attention.o_proj.weight.copy_(attention.v_proj.weight.T)
    with torch.no_grad():
        vocabulary = build_tokenizer().get_vocab()
        add_word_marks(model.model.language_model.embed_tokens.weight, vocabulary)
        init_heads(model.model.language_model, vocabulary)
        model.model.language_model.embed_tokens.weight.mul_(SCALE)
        model.model.language_model.norm.weight.div_(SCALE)
    return model.float()


def _init_words(model: LlavaForConditionalGeneration) -> None:
    tokenizer, codes, rng = build_tokenizer(), Codes(), np.random.default_rng(1)
    with torch.no_grad():
        for word, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            model.model.language_model.embed_tokens.weight[index] = torch.from_numpy(codes.word(word, rng))


def _init_positions(model: LlavaForConditionalGeneration) -> None:
    """Two-dimensional sines, so that the tower need not discover the grid."""
    with torch.no_grad():
        weight = model.model.vision_tower.embeddings.position_embedding.weight
        waves = torch.exp(-torch.linspace(0, 3, WIDTH // 4))
        init_neighbours(model.model.vision_tower, waves)
        at = torch.arange(SIDE)[:, None] * waves
        sines = torch.cat([at.sin(), at.cos()], 1)
        grid: Tensor = torch.cat([sines[:, None].expand(-1, SIDE, -1), sines[None].expand(SIDE, -1, -1)], -1)
        weight[1:] = 0.7 * grid.reshape(SIDE * SIDE, WIDTH)

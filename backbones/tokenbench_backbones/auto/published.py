"""Sizes of published models that `auto` serves, as `tokenbench_backbones.published` has them of the others."""

from __future__ import annotations

from tokenbench_backbones.published import CLIP_L, QWEN2_7B, VICUNA_7B, Config

__all__ = [
    "GEMMA_3_4B",
    "GEMMA_3_12B",
    "GLM_4_1V_9B",
    "LLAVA_NEXT_7B",
    "LLAVA_ONEVISION_7B",
    "SMOLVLM_2B",
    "SMOLVLM_256M",
    "SMOLVLM_500M",
]

SMOLVLM_256M: Config = {
    "model_type": "idefics3",
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 16,
        "image_size": 512,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49280,
    },
    "scale_factor": 4,
    "image_token_id": 49190,
    "tie_word_embeddings": False,
}
SMOLVLM_500M: Config = {
    **SMOLVLM_256M,
    "text_config": {
        **SMOLVLM_256M["text_config"],
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
}
SIGLIP_SO: Config = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
SMOLVLM_2B: Config = {
    "model_type": "idefics3",
    "vision_config": {**SIGLIP_SO, "image_size": 384},
    "text_config": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 49155,
    },
    "scale_factor": 3,
    "image_token_id": 49153,
    "tie_word_embeddings": False,
}
LLAVA_NEXT_7B: Config = {"model_type": "llava_next", "vision_config": CLIP_L, "text_config": VICUNA_7B}
LLAVA_ONEVISION_7B: Config = {
    "model_type": "llava_onevision",
    "vision_config": {
        **SIGLIP_SO,
        "model_type": "siglip_vision_model",
        "num_hidden_layers": 26,
        "image_size": 384,
        "vision_use_head": False,
    },
    "text_config": {**QWEN2_7B, "model_type": "qwen2"},
    "tie_word_embeddings": False,
}
GLM_4_1V_9B: Config = {
    "model_type": "glm4v",
    "vision_config": {"depth": 24, "hidden_size": 1536, "out_hidden_size": 4096, "intermediate_size": 13696},
    "text_config": {
        "hidden_size": 4096,
        "intermediate_size": 13696,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "vocab_size": 151552,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [8, 12, 12],
        },
    },
    "tie_word_embeddings": False,
}
GEMMA_3_4B: Config = {
    "model_type": "gemma3",
    "vision_config": {
        **SIGLIP_SO,
        "model_type": "siglip_vision_model",
        "image_size": 896,
        "vision_use_head": False,
    },
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
    },
    "mm_tokens_per_image": 256,
    "tie_word_embeddings": True,
}
GEMMA_3_12B: Config = {
    **GEMMA_3_4B,
    "text_config": {
        **GEMMA_3_4B["text_config"],
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
    },
}

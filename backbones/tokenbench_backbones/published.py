"""Sizes of published models: what their `config.json` says and the classes of transformers do not take for granted."""

from __future__ import annotations

from typing import Any

__all__ = [
    "CLIP_L",
    "INTERNVL2_5_8B",
    "INTERNVL3_5_8B",
    "LLAVA_1_5_7B",
    "LLAVA_1_5_13B",
    "QWEN2_5_VL_3B",
    "QWEN2_5_VL_7B",
    "QWEN2_7B",
    "QWEN2_VL_7B",
    "QWEN3_VL_2B",
    "QWEN3_VL_4B",
    "QWEN3_VL_8B",
    "QWEN3_VL_30B",
    "VICUNA_7B",
    "VIDEO_LLAVA_7B",
    "Config",
]

Config = dict[str, Any]

VICUNA_7B: Config = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
}
VICUNA_13B: Config = {
    **VICUNA_7B,
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
QWEN2_7B: Config = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
CLIP_L: Config = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 336,
}

LLAVA_1_5_7B: Config = {"vision_config": CLIP_L, "text_config": VICUNA_7B, "vision_feature_layer": -2}
LLAVA_1_5_13B: Config = {**LLAVA_1_5_7B, "text_config": VICUNA_13B}
VIDEO_LLAVA_7B: Config = {**LLAVA_1_5_7B, "vision_config": {**CLIP_L, "image_size": 224}}
QWEN2_VL_7B: Config = {
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "mlp_ratio": 4,
        "num_heads": 16,
        "hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "text_config": QWEN2_7B,
}
QWEN2_5_VL_7B: Config = {
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    "text_config": QWEN2_7B,
}
QWEN3_VL_8B: Config = {
    "vision_config": {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "deepstack_visual_indexes": [8, 16, 24],
    },
    "text_config": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    },
}
INTERNVL2_5_8B: Config = {
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "attention_bias": True,
        "patch_size": [14, 14],
        "image_size": [448, 448],
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 92553,
    },
    "image_token_id": 92546,
    "image_seq_length": 256,
    "downsample_ratio": 0.5,
    "tie_word_embeddings": False,
}
INTERNVL3_5_8B: Config = {
    **INTERNVL2_5_8B,
    "text_config": {**QWEN3_VL_8B["text_config"], "model_type": "qwen3"},
    "image_token_id": 151671,
}
QWEN2_5_VL_3B: Config = {
    "vision_config": {**QWEN2_5_VL_7B["vision_config"], "out_hidden_size": 2048},
    "text_config": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "tie_word_embeddings": True,
}
QWEN3_VL_2B: Config = {
    "vision_config": {
        **QWEN3_VL_8B["vision_config"],
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [5, 11, 17],
    },
    "text_config": {
        **QWEN3_VL_8B["text_config"],
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    },
    "tie_word_embeddings": True,
}
QWEN3_VL_4B: Config = {
    "vision_config": {**QWEN3_VL_2B["vision_config"], "out_hidden_size": 2560},
    "text_config": {**QWEN3_VL_8B["text_config"], "hidden_size": 2560, "intermediate_size": 9728},
    "tie_word_embeddings": True,
}
QWEN3_VL_30B: Config = {
    "model_type": "qwen3_vl_moe",
    "vision_config": {**QWEN3_VL_8B["vision_config"], "out_hidden_size": 2048},
    "text_config": {
        **QWEN3_VL_8B["text_config"],
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    },
    "tie_word_embeddings": False,
}

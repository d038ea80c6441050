"""What single architectures need besides the small sizes of all, so that their default configuration can be shrunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenbench_backbones import tiny

__all__ = ["OTHERS", "OVERRIDES", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """What one architecture needs besides."""

    text: Mapping[str, Any] = field(default_factory=dict)
    """Of its decoder."""
    vision: Mapping[str, Any] = field(default_factory=dict)
    """Of its encoder."""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of its other parts, by their names in the configuration."""
    top: Mapping[str, Any] = field(default_factory=dict)
    """Of the whole model."""


OTHERS = Sizes()
"""What every other architecture needs besides: nothing."""

_MROPE = {"rope_parameters": {**tiny.MROPE, "partial_rotary_factor": 1.0}}
_MIXED = [
    "sliding_attention",
    "sliding_attention",
    "full_attention",
    "sliding_attention",
    "sliding_attention",
    "full_attention",
]
_HYBRID = ["linear_attention", "full_attention", "full_attention"] * 2
_GRIDS = (
    "cosmos3_edge",
    "cosmos3_omni",
    "glm46v",
    "glm4v",
    "glm4v_moe",
    "glm_ocr",
    "glmga",
    "hy_v4_vl",
    "hyperclovax_vision_v2",
    "minimax_m3_vl",
    "paddleocr_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen4_exp",
)

_SAM = {
    "hidden_size": 16,
    "output_channels": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_dim": 16,
    "window_size": 2,
    "global_attn_indexes": [1],
    "downsample_channels": [16, 16],
    "initializer_range": 0.1,
}
_VQ = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "embed_dim": 8, "latent_channels": 32}

OVERRIDES: dict[str, Sizes] = {
    "apertus1p5": Sizes(
        vision={**_VQ, "codebook_size": 16, "attn_resolutions": [4]},
        parts={"audio_config": {"codebook_dim": 16, "codebook_size": 8, "num_filters": 2, "num_lstm_layers": 1}},
        top={"image_token_offset": 10, "audio_token_offset": 26},
    ),
    **{name: Sizes(text=_MROPE) for name in _GRIDS},
    "aria": Sizes(top={"projector_patch_to_query_dict": {16: 4}}),
    "aya_vision": Sizes(text={"layer_types": _MIXED}),
    "cohere2_vision": Sizes(text={"layer_types": _MIXED}),
    "ernie4_5_vl_moe": Sizes(
        text={
            **_MROPE,
            "moe_intermediate_size": [16, 16],
            "moe_num_experts": 4,
            "moe_k": 2,
            "moe_layer_start_index": 1,
        }
    ),
    "dots3_note": Sizes(text={**_MROPE, "num_key_value_heads": 4}),
    "glm5_next": Sizes(text={**_MROPE, "num_key_value_heads": 4}),
    "step3p7": Sizes(vision={"image_size": 64}),
    "exaone4_5": Sizes(text={**_MROPE, "layer_types": _MIXED}),
    "gemma4": Sizes(text={"layer_types": _MIXED}, vision={"pooling_kernel_size": 2}),
    "gemma4_unified": Sizes(
        text={"layer_types": _MIXED},
        vision={"pooling_kernel_size": 2, "mm_embed_dim": 16, "mm_posemb_size": 64, "output_proj_dims": 16},
    ),
    "got_ocr2": Sizes(vision={"image_size": 64}),
    "pp_chart2table": Sizes(vision={"image_size": 64}),
    "janus": Sizes(
        vision={"projection_dim": 32},
        parts={
            "vq_config": {
                **_VQ,
                "num_patches": 4,
                "num_embeddings": 16,
                "projection_dim": 32,
                "image_token_embed_dim": 32,
            }
        },
    ),
    **dict.fromkeys(
        ("minicpm_ocr", "minicpmv4_6", "minicpmv4_7"),
        Sizes(text={**_MROPE, "layer_types": _HYBRID}, vision={"insert_layer_id": 0}, top={"insert_layer_id": 0}),
    ),
    "granite4_vision": Sizes(
        text={"attention_multiplier": 0.35},
        vision={"hidden_size": 64},
        parts={"qformer_config": {"intermediate_size": 32}},
        top={
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[-1, 0], [-2, 2]],
            "spatial_target_layers": [1, 2, 3, 4],
        },
    ),
    "granite_docling": Sizes(text={"attention_multiplier": 0.35}, vision={"scale_factor": 2}),
    "deepseek_vl_hybrid": Sizes(
        parts={"high_res_vision_config": {**_SAM, "image_size": 64, "patch_size": 4}},
    ),
    "kimi_k25": Sizes(text={"num_key_value_heads": 4}, top={"projection_hidden_size": 16}),
    "muse_glimmer": Sizes(text={"layer_types": _MIXED}, top={"projector_hidden_size": 16, "out_hidden_size": 64}),
    "muse_spark": Sizes(
        text={"layer_types": _MIXED, "moe_hidden_size": 16},
        parts={
            "audio_config": {
                "num_hidden_layers": 2,
                "patch_sizes": [2, 2],
                "hidden_sizes": [8, 8],
                "depths": [1, 1],
                "out_hidden_size": 32,
            }
        },
        top={"projector_hidden_size": 16, "out_hidden_size": 64},
    ),
    "perception_lm": Sizes(
        vision={
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": {
                "embed_dim": 16,
                "depth": 2,
                "num_heads": 2,
                "img_size": [16, 16],
                "patch_size": 4,
                "use_post_transformer_norm": False,
                "global_pool": "",
            },
        }
    ),
    "unlimited_ocr": Sizes(
        text={"mlp_layer_types": ["dense", *["sparse"] * 5], "layer_types": ["reference_sliding_attention"] * 6},
        vision={
            "sam_config": {**_SAM, "image_size": 64, "patch_size": 4},
            "encoder_config": {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 16,
                "patch_size": 4,
            },
        },
    ),
    "deepseek_ocr2": Sizes(
        text={"mlp_layer_types": ["dense", *["sparse"] * 5]},
        vision={
            "sam_config": {**_SAM, "image_size": 64, "patch_size": 4},
            "encoder_config": {
                "vocab_size": 8,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
            },
        },
    ),
    "cohere_compass": Sizes(
        text={
            "layer_types": _MIXED,
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in set(_MIXED)},
        }
    ),
    "fast_vlm": Sizes(
        vision={
            "architecture": "fastvit_mci3",
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": 64,
            "model_args": {"inference_mode": True, "layers": (1, 1, 1, 1, 1), "embed_dims": (32, 32, 32, 32, 32)},
        }
    ),
    "hunyuan_vl": Sizes(text=_MROPE, vision={"temporal_patch_size": 1}),
    **dict.fromkeys(
        ("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"),
        Sizes(
            text={**_MROPE, "sliding_window": None},
            top={"vision_start_token_id": tiny.START, "vision_end_token_id": tiny.END},
        ),
    ),
    "emu3": Sizes(
        parts={"vq_config": {**_VQ, "codebook_size": 8, "hidden_size": 32}},
        top={
            "vocabulary_map": {
                "<image>": tiny.IMAGE,
                "<|extra_200|>": 19,
                **{f"<|visual token {i:06}|>": 20 + i for i in range(8)},
            }
        },
    ),
    "molmo2": Sizes(
        vision={"image_size": [16, 16], "num_position_embeddings": 16},
        parts={"adapter_config": {"vision_feature_layer": [-1, -2], "text_hidden_size": 32, "intermediate_size": 32}},
        top={"video_token_id": tiny.IMAGE},  # another name for the same id
    ),
    "lfm2_vl": Sizes(
        text={"layer_types": ["conv", "full_attention", "full_attention"] * 2},
        vision={"num_patches": 16},
    ),
    "lighton_ocr": Sizes(vision={"image_size": 32}),
    "llama4": Sizes(
        vision={
            "vision_output_dim": 64,
            "projector_input_dim": 64,
            "projector_output_dim": 64,
            "pixel_shuffle_ratio": 0.5,
            "intermediate_size": 64,
        }
    ),
    "mistral_large4": Sizes(vision={"image_size": 32}),
    "mistral3": Sizes(vision={"image_size": 32}),
    "ovis2": Sizes(top={"hidden_size": 32}),
    "paligemma": Sizes(vision={"projection_dim": 32}, top={"projection_dim": 32}),
    "qwen2_vl": Sizes(text=_MROPE, vision={"hidden_size": 32}),
    "qwen3_5": Sizes(text={**_MROPE, "layer_types": _HYBRID}),
    "qwen3_5_moe": Sizes(text={**_MROPE, "layer_types": _HYBRID}),
    "vipllava": Sizes(top={"vision_feature_layers": [-1, -2]}),
}
"""What single architectures need, by `config.model_type`."""

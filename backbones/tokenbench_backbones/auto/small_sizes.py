"""Small sizes for every name under which configurations state one, and what single architectures need besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenbench_backbones import tiny

__all__ = ["OTHERS", "OVERRIDES", "SIZES", "TEXT", "TOKENS", "VISION", "Sizes"]

LAYERS = tiny.TEXT["num_hidden_layers"]

TEXT: dict[str, Any] = {
    **tiny.TEXT,
    "head_dim": 8,
    "global_head_dim": 8,
    "num_global_key_value_heads": 2,
    "num_kv_shared_layers": 0,
    "max_position_embeddings": 512,
    "sliding_window": 8,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
    # mixtures of experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_intermediate_size": 16,
    "moe_num_shared_experts": 1,
    "n_shared_experts": 1,
    "shared_expert_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "mlp_only_layers": [],
    # low-rank attention
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    # linear attention
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    # Gemma
    "query_pre_attn_scalar": 8,
    "vocab_size_per_layer_input": tiny.VOCAB,
    "hidden_size_per_layer_input": 8,
}
"""Of decoders."""

VISION: dict[str, Any] = {
    **tiny.CLIP,
    "depth": 2,
    "num_layers": 2,
    "num_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "embed_dim": 16,
    "mlp_ratio": 2,
    "out_hidden_size": tiny.TEXT["hidden_size"],
    "projection_dim": 16,
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 3,
    "in_channels": 3,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 64,
    "position_embedding_size": 64,
    "max_position_embeddings": 64,
    "window_size": 16,
    "fullatt_block_indexes": [1],
    "deepstack_visual_indexes": [0],
    "vision_use_head": False,
    "initializer_range": 0.1,
    "init_values": 0.1,
    "default_output_length": 4,
    "pooling_kernel_size": 2,
}
"""Of encoders."""

TOKENS: dict[str, Any] = {
    **tiny.TOKENS,
    "image_token_index": tiny.IMAGE,
    "video_token_index": tiny.VIDEO,
}
"""Of whole models: ids."""

SIZES: dict[str, Any] = {
    "mm_tokens_per_image": 4,
    "scale_factor": 2,
    "downsample_factor": 2,
    "image_grid_pinpoints": [[16, 32], [32, 16], [32, 32]],
    "initializer_range": 0.3,
}
"""Of whole models: sizes."""


@dataclass(frozen=True)
class Sizes:
    """What one architecture needs besides."""

    text: Mapping[str, Any] = field(default_factory=dict)
    """Of its decoder."""
    vision: Mapping[str, Any] = field(default_factory=dict)
    """Of its encoder."""
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
    "hunyuan_vl",
    "hy_v4_vl",
    "hyperclovax_vision_v2",
    "kimi_k25",
    "minimax_m3_vl",
    "paddleocr_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen4_exp",
)

OVERRIDES: dict[str, Sizes] = {
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
    "gemma4": Sizes(text={"layer_types": _MIXED, "hidden_activation": "gelu_pytorch_tanh"}),
    "gemma4_unified": Sizes(text={"layer_types": _MIXED}),
    "got_ocr2": Sizes(vision={"image_size": 64}),
    "pp_chart2table": Sizes(vision={"image_size": 64}),
    "janus": Sizes(vision={"projection_dim": 32}),
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

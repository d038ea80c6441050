"""Small sizes for every name under which configurations state one."""

from __future__ import annotations

from typing import Any

from tokenbench_backbones import tiny

__all__ = ["AUDIO", "LAYERS", "SIZES", "TEXT", "TOKENS", "VISION"]

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

AUDIO: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "downsample_hidden_size": 8,
    "output_dim": tiny.TEXT["hidden_size"],
}
"""Of encoders of sound, which no prompt here has."""

TOKENS: dict[str, Any] = {
    **tiny.TOKENS,
    "image_token_index": tiny.IMAGE,
    "image_start_token_id": tiny.START,
    "image_end_token_id": tiny.END,
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

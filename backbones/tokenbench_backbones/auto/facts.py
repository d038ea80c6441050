"""What must be known of an architecture beside what transformers says of every one: one line each.

`docs/architectures.md` shows which of them pass the checks of backbones; `python -m benchmarks.architectures` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tokenbench_backbones import sizes
from tokenbench_backbones.auto.encoders import Described, Like
from tokenbench_backbones.auto.glm import Glm
from tokenbench_backbones.auto.lattices import Rule, from_positions, newlines, none, separated_rows, squares
from tokenbench_backbones.auto.pixtral import Pixtral
from tokenbench_backbones.auto.tiles import Tiles
from tokenbench_backbones.auto.towers import Tower
from tokenbench_backbones.qwen_vl import Qwen2VL, Qwen3VL, Qwen25VL

__all__ = ["CONVERTED", "FACTS", "REFUSED", "Facts"]


@dataclass(frozen=True)
class Facts:
    """What is declared of one architecture."""

    lattice: Rule = none
    """How its visual tokens lie on the image."""
    types: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """Token types that a prompt without a processor needs, each made of the mask [1, S] of the visual tokens."""
    shares_prefixes: bool = True
    """Whether the tokens before a question are computed alike whatever the question is."""
    attention: str = "sdpa"
    """An implementation of attention that its classes accept."""
    encoder: Described | None = None
    """Its vision encoder, if it is one that strategies can read."""
    checked: bool = True
    """Whether a small random model of it passes the checks of backbones."""
    notes: tuple[str, ...] = ()
    """Caveats that every report on it prints."""


def _patches(config: Any) -> int:
    """Patches along one side of an image."""
    vision = config.vision_config
    return int(vision.image_size) // int(vision.patch_size)


def _gemma3(config: Any) -> int:
    return int(config.mm_tokens_per_image**0.5)


def _shuffled(factor: str) -> Rule:
    """Squares of patches, so many of them to a side, are one token."""
    return squares(lambda config: _patches(config) // int(getattr(config, factor)))


_HYBRID = Facts(
    from_positions,
    shares_prefixes=False,
    types={"mm_token_type_ids": Tensor.int},
    encoder=Like(Qwen2VL, sizes.qwen3_vl_encoder),
    notes=(
        "Some layers of this decoder are recurrent instead of attention. A stage that reads attention is moved to the next "
        "place where the layer before it is one of attention. What a recurrent layer took up of a token before the token "
        "was dropped stays in the layer's state.",
    ),
)


def _pooled(projector: Any, states: Tensor) -> Tensor:
    """Gemma 3: the mean of a token's patches, normed, times a matrix."""
    projected: Tensor = projector.mm_soft_emb_norm(states.mean(1)) @ projector.mm_input_projection_weight
    return projected


def _joined(projector: Any, states: Tensor) -> Tensor:
    """Idefics 3: the patches of a token side by side, through one matrix."""
    projected: Tensor = projector.modality_projection(states.flatten(1))
    return projected


def _swiglu(projector: Any, states: Tensor) -> Tensor:
    """Aya and Cohere 2: the patches of a token side by side, through a gated MLP."""
    joined = states.flatten(1)
    normed = projector.layernorm(joined) if hasattr(projector, "layernorm") else joined
    value, gate = projector.linear_1(normed).chunk(2, dim=-1)
    projected: Tensor = projector.linear_2(projector.act(gate) * value)
    return projected


def _alone(projector: Any, states: Tensor) -> Tensor:
    """One patch is one token."""
    projected: Tensor = projector(states[:, 0])
    return projected


_GEMMA3 = Facts(
    squares(_gemma3),
    types={"token_type_ids": Tensor.long},
    shares_prefixes=False,
    encoder=Tower(
        "vision_tower", "multi_modal_projector", _pooled, side=lambda config: _patches(config) // _gemma3(config)
    ),
)
_IDEFICS3 = Facts(
    _shuffled("scale_factor"),
    encoder=Tower(
        "vision_model", "connector", _joined, side=lambda config: config.scale_factor, tiled=True, any_size=True
    ),
)

_COHERE = Tower("vision_tower", "multi_modal_projector", _swiglu, side=lambda config: int(config.downsample_factor))
_GLM = Facts(from_positions, types={"mm_token_type_ids": Tensor.int}, encoder=Glm())

FACTS: dict[str, Facts] = {
    "apertus1p5": Facts(attention="eager"),
    "aria": Facts(),
    "aya_vision": Facts(_shuffled("downsample_factor"), encoder=replace(_COHERE, normed=False)),
    "cohere2_vision": Facts(_shuffled("downsample_factor"), encoder=_COHERE),
    "cohere_compass": Facts(from_positions),
    "cosmos3_edge": Facts(from_positions),
    "cosmos3_omni": Facts(from_positions),
    "deepseek_ocr2": Facts(),
    "deepseek_vl": Facts(squares(_patches), encoder=Tower("vision_model", "aligner", _alone)),
    "deepseek_vl_hybrid": Facts(squares(_patches)),
    "emu3": Facts(),
    "ernie4_5_vl_moe": Facts(from_positions, shares_prefixes=False),
    "exaone4_5": Facts(),
    "fast_vlm": Facts(),
    "fuyu": Facts(),
    "gemma3": _GEMMA3,
    "gemma4": Facts(shares_prefixes=False),
    "gemma4_unified": Facts(shares_prefixes=False),
    "glm46v": _GLM,
    "glm4v": _GLM,
    "glm4v_moe": _GLM,
    "glm_ocr": _GLM,
    "glmga": _GLM,
    "got_ocr2": Facts(attention="eager"),
    "granite_docling": Facts(),
    "hyperclovax_vision_v2": Facts(),
    "idefics2": Facts(),
    "idefics3": _IDEFICS3,
    "janus": Facts(squares(_patches), encoder=Tower("vision_model", "aligner", _alone)),
    "kimi_k25": Facts(),
    "lfm2_vl": Facts(shares_prefixes=False, notes=_HYBRID.notes),
    "lfm3_vl": Facts(shares_prefixes=False, notes=_HYBRID.notes),
    "lighton_ocr": Facts(),
    "llava_next": Facts(newlines, encoder=Tiles()),
    "llava_next_video": Facts(newlines, encoder=Tiles()),
    "llava_onevision": Facts(newlines, encoder=Tiles()),
    "minicpm_ocr": Facts(shares_prefixes=False, notes=_HYBRID.notes),
    "minicpmv4_6": Facts(shares_prefixes=False, notes=_HYBRID.notes),
    "minicpmv4_7": Facts(shares_prefixes=False, notes=_HYBRID.notes),
    "minimax_m3_vl": Facts(),
    "mistral3": Facts(separated_rows, encoder=Pixtral()),
    "molmo2": Facts(shares_prefixes=False),
    "muse_glimmer": Facts(),
    "muse_spark": Facts(),
    "ovis2": Facts(),
    "paddleocr_vl": Facts(from_positions),
    "paligemma": Facts(
        squares(_patches),
        types={"token_type_ids": lambda visual: torch.zeros_like(visual, dtype=torch.long)},
        shares_prefixes=False,
        encoder=Tower("vision_tower", "multi_modal_projector", _alone),
    ),
    "perception_lm": Facts(),
    "pp_chart2table": Facts(attention="eager"),
    "qianfan_ocr": Facts(),
    "qwen2_5_omni_thinker": Facts(from_positions, encoder=Like(Qwen25VL, sizes.qwen2_5_vl_encoder)),
    "qwen3_5": _HYBRID,
    "qwen3_5_moe": _HYBRID,
    "qwen3_omni_moe_thinker": Facts(from_positions, encoder=Like(Qwen3VL, sizes.qwen3_vl_encoder)),
    "qwen3_vl_moe": Facts(
        from_positions, types={"mm_token_type_ids": Tensor.int}, encoder=Like(Qwen3VL, sizes.qwen3_vl_encoder)
    ),
    "shieldgemma2": _GEMMA3,
    "smolvlm": _IDEFICS3,
    "step3p7": Facts(),
    "video_llama_3": Facts(),
    "vipllava": Facts(squares(_patches)),
}
"""What is declared, by `config.model_type`. An architecture that is missing here has no lattices, and is not checked."""

_CROSS = "its decoder sees images by cross-attention, so that there are no visual tokens to drop"
_ENCODER_DECODER = "it is an encoder-decoder, whose decoder holds no visual tokens"
_QUERIES = "a Q-Former turns every image into a few queries, which stand before the text without an image token"
_MIXED_UP = (
    "stock transformers numbers images across all rows of a batch, so that an answer depends on the rows beside it"
)
_RELATIVE = (
    "its attention reads the distance between two tokens from their order in the KV cache, which pruning changes"
)
_INDEXED = "an indexer of its own chooses which keys its layers attend to, by their places in the whole prompt"

REFUSED: dict[str, str] = {
    "blip": _CROSS,
    "blip-2": _QUERIES,
    "chameleon": "its decoder layers return tuples, which the engine does not take apart",
    "diffusion_gemma": "it writes blocks by diffusion instead of one token after the other",
    "dots3_note": _INDEXED,
    "evolla": "it reads proteins, not images",
    "florence2": _ENCODER_DECODER,
    "gemma3n": "its decoder carries four versions of every hidden state, which only its own layers put together",
    "git": "its visual tokens are a prefix without ids, which the prompt does not show",
    "glm5_next": _INDEXED,
    "granite4_vision": "its images enter before several decoder layers, and its input has no visual tokens",
    "hunyuan_vl": _MIXED_UP,
    "hy_v4_vl": _INDEXED,
    "idefics": _CROSS,
    "inkling2": _RELATIVE,
    "inkling2_loop": _RELATIVE,
    "inkling_mm_model": _RELATIVE,
    "instructblip": _QUERIES,
    "instructblipvideo": _QUERIES,
    "kosmos-2": "its images are a few latent queries that the prompt marks with a mask instead of an image token",
    "kosmos-2.5": "its images are a few latent queries that the prompt marks with a mask instead of an image token",
    "llama4": "the class of transformers 5.24 stops with an error on every prompt: it reads image_outputs of its decoder, which has none",
    "mistral4": "it takes text only",
    "mistral_large4": _INDEXED,
    "mllama": _CROSS,
    "nemotron_h_omni": "its decoder layers hold a recurrence, attention or an MLP under one name, so that none can be told from another",
    "pi0": "it controls a robot and generates no text",
    "pix2struct": _ENCODER_DECODER,
    "pp_formulanet": _ENCODER_DECODER,
    "qwen4_exp": _INDEXED,
    "t5gemma2": _ENCODER_DECODER,
    "udop": _ENCODER_DECODER,
    "unlimited_ocr": "its KV cache keeps the prompt apart from a window of the answer, by a length that pruning changes",
    "vision-encoder-decoder": _ENCODER_DECODER,
}
"""Why an architecture cannot be served, by `config.model_type`."""

CONVERTED: dict[str, str] = {
    "internvl_chat": "OpenGVLab/InternVL3_5-8B-HF",
    "llava_llama": "llava-hf/llava-1.5-7b-hf",
    "llava_mistral": "llava-hf/llava-v1.6-mistral-7b-hf",
    "llava_qwen": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
}
"""Of types whose classes stand in repositories of their own: a model that was converted for the classes of transformers."""

"""An adapter for DeepSeek-VL: where its visual tokens are, and how its vision encoder is built. The model itself is stock."""

from __future__ import annotations

import tokenbench
import torch
from tokenbench import Backbone, DecoderSize, Encoder, EncoderSize, FrameLayout, Grid, ModelSize, UsageError
from torch.nn.functional import interpolate
from transformers.modeling_outputs import BaseModelOutputWithPooling


class ExampleBackbone(Backbone):
    """DeepseekVLForConditionalGeneration: SigLIP patches, each a visual token of a Llama decoder; 24 x 24 at 384 pixels."""

    model_types = ("deepseek_vl",)

    def grids(self, model, input_ids, positions, embeddings=None):
        return [shown(lattice(model.config), n) for n in self.visual(model, input_ids).sum(1).tolist()]

    def describe_towers(self, model):
        base, tower = model.base_model, model.base_model.vision_model
        patch, layers = tower.config.patch_size, list(tower.encoder.layers)

        def layouts(pixel_values, **options):
            positions = (pixel_values.shape[2] // patch) * (pixel_values.shape[3] // patch)
            return [FrameLayout(positions, torch.arange(positions)[:, None], frame) for frame in pixel_values.split(1)]

        def project(states):
            return base.aligner(tower.post_layernorm(states[:, 0]))

        def encode_resized(pixels, h, w):
            size = (h * patch, w * patch)
            smaller = interpolate(pixels.float(), size, mode="bicubic", antialias=True).to(pixels.dtype)
            # `forward` is called directly, so that hooks on the tower do not see this pass.
            return base.aligner(tower.forward(smaller, interpolate_pos_encoding=True).last_hidden_state[0])

        attentions = [layer.self_attn for layer in layers]
        return [Encoder(tower, layers, attentions, len(layers), False, True, layouts, project, encode_resized)]

    def as_stock_output(self, model, features):
        """The stock encoder returns one tensor for all images, not a list."""
        return BaseModelOutputWithPooling(pooler_output=torch.cat(features))

    def size(self, config):
        text, vision = config.text_config, config.vision_config
        head = text.head_dim or text.hidden_size // text.num_attention_heads
        decoder = DecoderSize(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            query_width=head * text.num_attention_heads,
            kv_width=head * text.num_key_value_heads,
            mlp_width=text.intermediate_size,
            mlp_matrices=3,  # gate, up and down
            vocabulary=text.vocab_size,
        )
        encoder = EncoderSize(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            mlp_width=vision.intermediate_size,
            mlp_matrices=2,
            patch=vision.num_channels * vision.patch_size**2,
            projector=vision.hidden_size * text.hidden_size + text.hidden_size**2,
        )
        return ModelSize(decoder, encoder)

    def default_grids(self, config, tokens=None):
        grid = lattice(config)
        return shown(grid, tokens or grid.tokens)

    def dummy_inputs(self, config, grids, text):
        side = config.vision_config.image_size
        return prompt(config.image_token_id, [grid.tokens for grid in grids], text // 2, text - text // 2, side)

    def tiny(self, attention="sdpa"):
        from transformers import DeepseekVLConfig, DeepseekVLForConditionalGeneration

        text = {
            "model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6,
            "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "initializer_range": 0.3,  # large enough that every token matters
        }  # fmt: skip
        vision = {
            "model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 16, "patch_size": 4, "vision_use_head": False,
        }  # fmt: skip
        torch.manual_seed(0)
        config = DeepseekVLConfig(text_config=text, vision_config=vision, image_token_id=90)
        model = DeepseekVLForConditionalGeneration._from_config(config, attn_implementation=attention).eval()
        model.generation_config.pad_token_id = 0
        return model, [prompt(90, [16] * images, before, after, 16) for images, before, after in UNLIKE]


UNLIKE = [(1, 3, 5), (2, 3, 3), (1, 6, 8)]  # images, words before and after them


def lattice(config):
    """The lattice of one image."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    return Grid(1, side, side)


def shown(grid, tokens):
    """The lattices of as many images as fit the number of visual tokens."""
    if tokens % grid.tokens:
        raise UsageError(f"this model has {grid.tokens} visual tokens per image, but the prompt has {tokens}")
    return (grid,) * (tokens // grid.tokens)


def prompt(image, sizes, before, after, side):
    """The model's inputs for one row: random words around images of random pixels."""
    generator = torch.Generator().manual_seed(before + 10 * after)
    words = torch.randint(3, min(image, 90), (before + after,), generator=generator)
    ids = torch.cat([words[:before], torch.full((sum(sizes),), image), words[before:]])[None]
    pixels = torch.randn(len(sizes), 3, side, side, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


@tokenbench.hookimpl
def tokenbench_register_backbones(register):
    register("example-backbone", ExampleBackbone)

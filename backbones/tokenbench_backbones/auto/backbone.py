"""One backbone for every image-text-to-text architecture of transformers that encodes images apart from its decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from tokenbench import Backbone, Grid, Stage, UsageError
from tokenbench.contract.backbone import Encoder
from tokenbench.contract.sizes import ModelSize
from tokenbench.errors import InfeasibleError
from tokenbench_backbones.auto.costs import decoder_size, skeleton
from tokenbench_backbones.auto.encoders import Described
from tokenbench_backbones.auto.facts import CONVERTED, FACTS, REFUSED, Facts
from tokenbench_backbones.auto.lattices import Row, none

__all__ = ["Auto", "model_types"]

STATES = ("last_hidden_state", "pooler_output", "hidden_states", "attentions", "deepstack_features")


def model_types() -> list[str]:
    """Return the image-text-to-text architectures of the installed transformers, sorted."""
    return sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


class Auto(Backbone):
    """Any architecture with the hooks that transformers has agreed on.

    They are `get_image_features`, the argument `mm_encoder_outputs`, and an image token whose embeddings the encoded
    images replace. What else must be known of an architecture stands in one table (`tokenbench_backbones.auto.facts`);
    an architecture that is not in it has no lattices, so that strategies which need some are refused.

    Args:
        model_type: The architecture's name in configurations.
    """

    fallback: ClassVar[bool] = True
    tiled: ClassVar[bool] = True
    encodes_together: ClassVar[bool] = False

    def __init__(self, model_type: str = "llava_next") -> None:
        self.model_type = model_type
        self.facts = FACTS.get(model_type, Facts(checked=False))
        self._sizes: dict[str, ModelSize] = {}  # by configuration
        self._stock: dict[str, Any] = {}  # the last output of every kind, after which later ones are formed

    @classmethod
    def serve(cls, model_type: str) -> Backbone | None:
        """Return a backbone for an image-text-to-text architecture of transformers.

        Raises:
            UsageError: If it is known not to work. The error says why.
        """
        if model_type in CONVERTED:
            raise UsageError(
                f"models of type '{model_type}' need code from their own repository, which TokenBench does not run",
                f"use a model that was converted for transformers, such as {CONVERTED[model_type]}",
            )
        if model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            return None
        if model_type in REFUSED:
            raise UsageError(
                f"models of type '{model_type}' cannot be pruned: {REFUSED[model_type]}",
                "tokenbench list backbones --all shows the architectures that can",
            )
        return cls(model_type)

    @property
    def checked(self) -> bool:
        """Whether the architecture is one of those that passed (`docs/architectures.md`)."""
        return self.facts.checked

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Caveats that every report on this model prints."""
        if self.checked:
            return self.facts.notes
        unchecked = (
            f"Whether models of type '{self.model_type}' are pruned correctly has not been checked: "
            f"tokenbench check --model-type {self.model_type}"
        )
        return (unchecked, *self.facts.notes)

    @property
    def shares_prefixes(self) -> bool:
        """Whether the tokens before a question are computed alike whatever the question is."""
        return self.facts.shares_prefixes

    @property
    def knows_lattices(self) -> bool:
        """Whether a rule says how this architecture's visual tokens lie on the image."""
        return self.facts.lattice is not none

    @property
    def describes_towers(self) -> bool:
        """Whether strategies can read this architecture's vision encoder."""
        return self.facts.encoder is not None

    def check_stage(self, stage: Stage) -> None:
        """Check that strategies find what a stage reads.

        Raises:
            InfeasibleError: If it reads the vision encoder, or lattices where the rule is not known.
        """
        models = f"models of type '{self.model_type}'"
        if stage.reads_encoder and not self.describes_towers:
            raise InfeasibleError(f"reads the vision encoder, which TokenBench does not describe for {models}")
        if stage.lattice and not self.knows_lattices:
            raise InfeasibleError(
                f"needs the position of every visual token on the image, which is not known for {models}"
            )

    def decoder(self, model: Any) -> nn.Module:
        """Return the module that holds the decoder's `layers`."""
        decoder: nn.Module = model.get_decoder()
        while not hasattr(decoder, "layers") and isinstance(getattr(decoder, "model", None), nn.Module):
            decoder = decoder.model  # type: ignore[assignment]
        return decoder

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """Lattices by the architecture's rule."""
        ids, visual = input_ids.cpu(), self.visual(model, input_ids).cpu()
        places = None
        if positions is not None and positions.ndim == 3:
            places = positions[-3:].transpose(0, 1).expand(len(ids), -1, -1).cpu()
        return [
            tuple(
                self.facts.lattice(
                    model,
                    Row(
                        ids[b],
                        visual[b],
                        None if places is None else places[b],
                        None if embeddings is None else embeddings[b],
                    ),
                )
            )
            for b in range(len(ids))
        ]

    def encode_images(self, model: Any, inputs: Any) -> list[Tensor]:
        """Features [tokens, C'] in the parts in which the stock model returns them: images, tiles or frames.

        C' is the decoder's C, or a multiple of it where further states (deepstack) go to later layers.
        """
        outputs = self.call_stock(model, inputs)
        self._stock["video" if "pixel_values_videos" in inputs else "image"] = outputs
        parts = _parts(_projected(outputs))
        depths = [torch.cat(_parts(level)) for level in _levels(outputs)]
        return [
            torch.cat(states, -1)
            for states in zip(parts, *(level.split([len(part) for part in parts]) for level in depths), strict=True)
        ]

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the encoder, if it is one that strategies can read."""
        return [] if self.facts.encoder is None else self.facts.encoder.describe(model)

    def as_mm_encoder_outputs(self, model: Any, features: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
        """Put the features of images and of videos back into the form of the last stock output of each."""
        kinds = dict.fromkeys(kind for kind, _ in features)
        return {kind: _like(self._stock[kind], [item for k, item in features if k == kind]) for kind in kinds}

    def size(self, config: Any) -> ModelSize:
        """Sizes read from the modules of a model without weights.

        Raises:
            UsageError: If the encoder is not described, or the cost of the decoder's layers is unknown.
        """
        described = self._encoder()
        key = config.to_json_string()
        if key not in self._sizes:
            model = skeleton(config)
            decoder = decoder_size(self.decoder(model), model.get_output_embeddings().out_features)
            self._sizes[key] = ModelSize(decoder, described.size(config, model))
        return self._sizes[key]

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """The lattices of a common image, or of an image or images with that number of visual tokens.

        Raises:
            UsageError: If the encoder is not described, or no image has that number of visual tokens.
        """
        return self._encoder().default_grids(config, tokens)

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random images.

        Raises:
            UsageError: If the encoder is not described, or `text` leaves no room for the marks around images.
        """
        row = self._encoder().dummy_inputs(config, grids, text)
        visual = row["input_ids"] == config.image_token_id
        return {**row, **{name: make(visual) for name, make in self.facts.types.items()}}

    def _encoder(self) -> Described:
        """The encoder, if it is described."""
        if self.facts.encoder is not None:
            return self.facts.encoder
        raise UsageError(
            f"the cost of models of type '{self.model_type}' is not known",
            "tokenbench run measures their realised tokens; architectures whose vision encoder is described have costs",
        )

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random model, made by shrinking the default configuration, and its prompts."""
        from tokenbench_backbones.auto.shrunk import shrunk

        return shrunk(self.model_type, self.facts.attention if attention == "sdpa" else attention)


def _projected(outputs: Any) -> Any:
    """What the decoder takes of an output; some architectures (Llama 4) project its states later."""
    return outputs.last_hidden_state if outputs.pooler_output is None else outputs.pooler_output


def _parts(states: Any) -> list[Tensor]:
    """[tokens, C] of every image, tile or frame."""
    if isinstance(states, Tensor):
        return [part.flatten(0, -2) for part in states] if states.ndim > 2 else [states]
    return [part.flatten(0, -2) for part in states]


def _levels(outputs: Any) -> list[Any]:
    """The states that go to later layers of the decoder, in order."""
    deep = outputs.get("deepstack_features") if isinstance(outputs, Mapping) else None
    if deep is None:
        return []
    return list(deep.values() if isinstance(deep, Mapping) else deep)


def _like(stock: Any, features: list[Tensor]) -> Any:
    """An output in the form of `stock` with these features."""
    output: Any = BaseModelOutputWithPooling()
    for name in (field.name for field in fields(stock)):
        if name not in STATES:
            setattr(output, name, getattr(stock, name))
    levels = _levels(stock)
    projected = _projected(stock)
    width = _parts(projected)[0].shape[-1]
    depths = [list(depth) for depth in zip(*(item.split(width, -1) for item in features), strict=True)]
    name = "last_hidden_state" if stock.pooler_output is None else "pooler_output"
    output[name] = torch.cat(depths[0]).unsqueeze(0) if isinstance(projected, Tensor) else depths[0]
    if levels:
        deep = stock["deepstack_features"]
        found = [torch.cat(depth) if isinstance(levels[0], Tensor) else depth for depth in depths[1:]]
        output.deepstack_features = dict(zip(deep, found, strict=True)) if isinstance(deep, Mapping) else found
    return output

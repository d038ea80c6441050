"""A loaded backbone: prompts in, answers out, the images of a batch encoded once for all cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokenbench.backbone import Backbone
from tokenbench.engine import Plan, Pruner, RowTrace
from tokenbench.errors import MachineError, UsageError, unknown
from tokenbench.plugins import Registry
from tokenbench.pruning import attached, backbone_of
from tokenbench.suite import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

__all__ = ["Batch", "Model", "resolve"]


@dataclass(frozen=True)
class Batch:
    """Samples ready to run.

    inputs: what the processor made of the prompts (`input_ids` [B, S] and what goes with them), but for the pixels.
    features: of every image, in the order of the rows.
    """

    samples: Sequence[Sample]
    inputs: dict[str, Tensor]
    features: list[Tensor]


def resolve(name: str, known: Registry) -> tuple[Backbone, str]:
    """The backbone and the source of the weights for a model's name or folder.

    Raises UsageError for a name nobody knows or an architecture nobody serves, MachineError for a broken folder.
    """
    if name in known.names("backbones"):
        backbone = known.get("backbones", name)()
        if backbone.source is None:
            raise UsageError(f"'{name}' is an architecture, not a model", "name a model, or a folder with its weights")
        return backbone, backbone.source
    config = Path(name) / "config.json"
    if not config.is_file():
        models = [n for n in known.names("backbones") if known.get("backbones", n).source is not None]
        raise unknown("model", name, models, "a folder with config.json and safetensors weights will do as well")
    try:
        model_type = json.loads(config.read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(f"{config} cannot be read: {error}") from None
    return backbone_of(model_type, known), name


class Model:
    """Weights, processor and adapter of one backbone.

    name: as the user wrote it. device: where it runs. fingerprint: a hash of weights and configuration.
    """

    def __init__(self, name: str, backbone: Backbone, source: str, device: str, dtype: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.name = name
        self.backbone = backbone
        self.fingerprint = fingerprint(Path(source))
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        try:
            self._processor: Any = AutoProcessor.from_pretrained(source)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(
                source, dtype=getattr(torch, dtype), attn_implementation="sdpa", use_safetensors=True
            )
            self._model.eval().to(self.device)
        except Exception as error:  # transformers raises anything for a broken folder
            reason = " ".join(str(error).split())[:200]
            raise MachineError(f"model '{name}' cannot be loaded from {source}: {reason}") from error
        self._processor.tokenizer.padding_side = "left"

    @property
    def depth(self) -> int:
        """Decoder layers."""
        return len(self.backbone.decoder(self._model).layers)  # type: ignore[arg-type]

    @property
    def attention(self) -> str:
        """Attention implementation of the decoder."""
        return str(self.backbone.decoder(self._model).config._attn_implementation)  # type: ignore[union-attr]

    @contextmanager
    def pruner(self) -> Iterator[Pruner]:
        """Hooks on the decoder; set `plans` before every `generate`."""
        with attached(self._model, self.backbone, []) as pruner:
            yield pruner

    @torch.inference_mode()
    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Render, tokenize and encode; samples of one cluster share their images and the encoder's work on them."""
        images: dict[str, list[Image]] = {}
        for sample in samples:
            if sample.cluster not in images:
                images[sample.cluster] = sample.load()
        features = self._encode(images)
        prompts = [self._prompt(sample.question, len(images[sample.cluster])) for sample in samples]
        inputs = self._processor(
            text=prompts, images=[images[s.cluster] for s in samples], padding=True, return_tensors="pt"
        ).to(self._model.device)
        return Batch(
            samples=samples,
            inputs={name: value for name, value in inputs.items() if not name.startswith("pixel_values")},
            features=[feature for sample in samples for feature in features[sample.cluster]],
        )

    def visual_tokens(self, batch: Batch) -> list[int]:
        """Visual tokens of every row."""
        counts: list[int] = self.backbone.visual(self._model, batch.inputs["input_ids"]).sum(1).tolist()
        return counts

    @torch.inference_mode()
    def generate(
        self, batch: Batch, pruner: Pruner, plans: Sequence[Plan], limits: Sequence[int]
    ) -> tuple[list[str], list[RowTrace]]:
        """Greedy answers of a batch, one plan a row, each cut off after its own limit of new tokens; and the trace."""
        pruner.plans = list(plans)
        pruner.prefills.clear()
        ids = self._model.generate(
            **batch.inputs,
            mm_encoder_outputs={"image": self.backbone.encoded(self._model, batch.features)},
            do_sample=False,
            max_new_tokens=max(limits),
        )
        new = ids[:, batch.inputs["input_ids"].shape[1] :].tolist()
        answers = [
            self._processor.tokenizer.decode(row[:limit], skip_special_tokens=True).strip()
            for row, limit in zip(new, limits, strict=True)
        ]
        return answers, pruner.rows

    def _encode(self, images: dict[str, list[Image]]) -> dict[str, list[Tensor]]:
        inputs = self._processor.image_processor(
            images=[image for group in images.values() for image in group], return_tensors="pt"
        ).to(self._model.device, self._model.dtype)
        features = iter(self.backbone.encode(self._model, inputs))
        return {cluster: [next(features) for _ in group] for cluster, group in images.items()}

    def _prompt(self, question: str, images: int) -> str:
        content = [{"type": "image"}] * images + [{"type": "text", "text": question}]
        chat = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(chat, add_generation_prompt=True))


def fingerprint(folder: Path) -> str:
    """A hash of every file of a model folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

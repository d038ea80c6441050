"""A loaded backbone: prompts in, answers out, the images of a batch encoded once for all cells."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tokenbench.cost import ModelSize
from tokenbench.engine import Frame, Plan, Pruner, RowTrace, Watch, Wish, dealt
from tokenbench.errors import MachineError, UsageError
from tokenbench.pruning import attached
from tokenbench.source import Source
from tokenbench.suite import Sample, Video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

__all__ = ["Batch", "Model"]


NOTHING = Wish()


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of one image or clip: its kind, its features [tokens, C'] and, if wished for, its frames."""

    kind: str
    features: Tensor
    frames: Sequence[Frame]


@dataclass(frozen=True)
class Batch:
    """Samples ready to run.

    inputs: what the processor made of the prompts (`input_ids` [B, S] and what goes with them), but for the pixels.
    features: kind ("image" or "video") and features of everything shown, in the order of the rows.
    clips: whether a row shows a clip first.
    frames: what the encoder saw of every row, as far as it was wished for.
    """

    samples: Sequence[Sample]
    inputs: dict[str, Tensor]
    features: list[tuple[str, Tensor]]
    clips: list[bool]
    frames: list[list[Frame]]


class Model:
    """Weights, processor and adapter of one backbone.

    name: as the user wrote it. device: where it runs, "auto" being the GPUs there are (several share its layers) or the
    CPU. dtype: a name torch knows. attention: an attention implementation transformers knows; of the decoder, once it is
    loaded. depth: decoder layers. prompt: what the chat is written with.

    Raises MachineError if it cannot be loaded.
    """

    def __init__(
        self, name: str, source: Source, device: str = "auto", dtype: str = "float32", attention: str = "sdpa"
    ):
        self.name = name
        self.backbone = source.backbone
        self.identity = source.identity
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.attention = attention
        self._shared = device == "auto" and torch.cuda.device_count() > 1
        self._folder, self._dtype = source.folder, getattr(torch, dtype)
        self._model: Any = None
        self.load()
        decoder: Any = self.backbone.decoder(self._model)
        self.depth = len(decoder.layers)
        self.attention = str(decoder.config._attn_implementation)

    def load(self) -> None:
        """Take the weights into memory, unless they are there."""
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        if self._model is not None:
            return
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(self._folder)
            self._model = AutoModelForImageTextToText.from_pretrained(
                self._folder,
                dtype=self._dtype,
                attn_implementation=self.attention,
                use_safetensors=True,
                device_map="auto" if self._shared else None,
            ).eval()
            if not self._shared:
                self._model.to(self.device)
        except Exception as error:  # transformers raises anything for a broken folder
            reason = " ".join(str(error).split())[:200]
            raise MachineError(f"model '{self.name}' cannot be loaded from {self._folder}: {reason}") from error
        self._processor.tokenizer.padding_side = "left"

    @property
    def size(self) -> ModelSize | None:
        """Sizes for the cost model; None for a backbone that does not know them."""
        try:
            return self.backbone.size(self._model.config)
        except NotImplementedError:
            return None

    @property
    def number_bytes(self) -> int:
        """Bytes of a number in the KV cache."""
        itemsize: int = self._dtype.itemsize
        return itemsize

    def release(self) -> None:
        """Let the weights go, so that another model fits; `load` brings them back."""
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def pruner(self) -> Iterator[Pruner]:
        """Hooks on the decoder; set `plans` before every `generate`."""
        with attached(self._model, self.backbone, []) as pruner:
            yield pruner

    @torch.inference_mode()
    def prepare(self, samples: Sequence[Sample], wish: Wish = NOTHING) -> Batch:
        """Render, tokenize and encode; samples of one cluster share what they show and the encoder's work on it.

        wish: what strategies want to know of the encoder.
        """
        shown: dict[str, Sequence[Image | Video]] = {}
        for sample in samples:
            if sample.cluster not in shown:
                shown[sample.cluster] = sample.load()
        encoded = self._encode(shown, wish)
        rows = [shown[sample.cluster] for sample in samples]
        prompts = [self._prompt(sample.question, row) for sample, row in zip(samples, rows, strict=True)]
        media = {
            kind: items for kind in ("image", "video") if (items := [x for row in rows for x in of_kind(row, kind)])
        }
        inputs = self._processor(text=prompts, **self._arguments(media), padding=True, return_tensors="pt").to(
            self._model.device
        )
        return Batch(
            samples=samples,
            inputs={name: value for name, value in inputs.items() if not name.startswith("pixel_values")},
            features=[(e.kind, e.features) for sample in samples for e in encoded[sample.cluster]],
            clips=[isinstance(row[0], Video) for row in rows],
            frames=[[frame for e in encoded[sample.cluster] for frame in e.frames] for sample in samples],
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
        pruner.frames = batch.frames
        ids = self._model.generate(
            **batch.inputs,
            mm_encoder_outputs=self.backbone.encoded(self._model, batch.features),
            do_sample=False,
            max_new_tokens=max(limits),
        )
        new = ids[:, batch.inputs["input_ids"].shape[1] :].tolist()
        answers = [
            self._processor.tokenizer.decode(row[:limit], skip_special_tokens=True).strip()
            for row, limit in zip(new, limits, strict=True)
        ]
        return answers, pruner.rows

    def _encode(self, shown: dict[str, Sequence[Image | Video]], wish: Wish) -> dict[str, list[Encoded]]:
        found: dict[str, Iterator[Encoded]] = {}
        for kind in ("image", "video"):
            if items := [item for group in shown.values() for item in of_kind(group, kind)]:
                processor = getattr(self._processor, f"{kind}_processor", None)
                if processor is None:
                    raise UsageError(
                        f"model '{self.name}' takes no {kind}s", "name a model that does, or another suite"
                    )
                inputs = processor(**self._arguments({kind: items}), return_tensors="pt")
                inputs = inputs.to(self._model.device, self._model.dtype)
                with Watch(self.backbone.encoders(self._model) if wish.anything else (), wish) as watch:
                    features = self.backbone.encode(self._model, inputs)
                seen = [frame for call in watch.calls for frame in call]
                frames = dealt(seen, map(len, features)) if wish.anything else [[] for _ in features]
                found[kind] = iter([Encoded(kind, f, own) for f, own in zip(features, frames, strict=True)])
        return {cluster: [next(found[kind]) for kind in map(kind_of, group)] for cluster, group in shown.items()}

    def _arguments(self, media: dict[str, list[Any]]) -> dict[str, Any]:
        """What a processor takes for images and clips; a clip's frames are all seen."""
        arguments: dict[str, Any] = {}
        if "image" in media:
            arguments["images"] = media["image"]
        if "video" in media:
            arguments["videos"] = [[np.asarray(frame) for frame in video.frames] for video in media["video"]]
            arguments["video_metadata"] = [
                {"fps": v.fps, "total_num_frames": len(v.frames), "frames_indices": list(range(len(v.frames)))}
                for v in media["video"]
            ]
            arguments["do_sample_frames"] = False
        return arguments

    @property
    def prompt(self) -> str:
        """Name and hash of what writes the prompts."""
        template = getattr(self._processor, "chat_template", None)
        if template is None:
            return f"adapter {type(self.backbone).__name__}"
        return f"chat template {sha256(str(template).encode()).hexdigest()[:12]}"

    def _prompt(self, question: str, shown: Sequence[Image | Video]) -> str:
        kinds = [kind_of(item) for item in shown]
        if getattr(self._processor, "chat_template", None) is None:
            return self.backbone.prompt(self._processor, question, kinds)
        content = [*({"type": kind} for kind in kinds), {"type": "text", "text": question}]
        chat = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(chat, add_generation_prompt=True))


def kind_of(item: Image | Video) -> str:
    """What processors call it."""
    return "video" if isinstance(item, Video) else "image"


def of_kind(items: Sequence[Image | Video], kind: str) -> list[Image | Video]:
    """Those of one kind."""
    return [item for item in items if kind_of(item) == kind]

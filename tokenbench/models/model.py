"""A model that answers prompts, and encodes the images of a batch once for all cells."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample, Video
from tokenbench.engine import EncoderRecorder, EncoderRequests, Pruner, RowPlan, RowTrace, split_frames
from tokenbench.engine.attach import attach
from tokenbench.errors import MachineError, UsageError, brief
from tokenbench.models import processing
from tokenbench.models.batch import Batch, Encoded, Loaded
from tokenbench.models.decoding import describe_options
from tokenbench.models.device import check_device, resolve_device
from tokenbench.models.processing import KINDS, SeenImages, concatenate, kind_of, of_kind, processor_arguments
from tokenbench.models.source import Source
from tokenbench.models.weights import generation_options, stock_model, stock_processor, stock_skeleton

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

__all__ = ["Model"]

NOTHING = EncoderRequests()


class Model:
    """Processor, adapter and weights of one backbone.

    The weights are loaded by `load`; all that does not run the model works before.

    Args:
        name: The name of the model, as the user wrote it.
        source: The adapter and the folder.
        device: A name of torch's, or `auto` for the GPUs (several share the layers) or, without any, the CPU.
        dtype: The data type of the weights, by torch's name.
        attention: An attention implementation, by transformers' name.

    Raises:
        UsageError: There is no device of this name.
        MachineError: The configuration or the processor cannot be read.
    """

    depth: int
    """The number of decoder layers."""
    placeholders: tuple[str, ...]
    """The texts that stand for an image or a clip, which a question must not contain."""
    context: int | None
    """The largest number of tokens that the decoder was made for; None if unknown."""
    generation_options: dict[str, Any]
    """The generation settings of the checkpoint. Decoding is greedy all the same."""

    def __init__(
        self, name: str, source: Source, device: str = "auto", dtype: str = "float32", attention: str = "sdpa"
    ):
        from transformers.utils import logging

        self.name = name
        self.backbone = source.backbone
        self.identity = source.identity
        self.device = resolve_device(device)
        self.attention = attention
        self._shared = device == "auto" and torch.cuda.device_count() > 1
        self._folder, self._dtype = source.folder, getattr(torch, dtype)
        self._model: Any = None
        self._processing = Lock()  # tokenizers change while they work
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._processor = stock_processor(name, source.folder)
        self._skeleton = stock_skeleton(name, source.folder)
        self.placeholders, self.context = processing.limits(self._processor, self._skeleton.config)
        self.generation_options = generation_options(name, source.folder)
        self.depth = len(self.backbone.decoder(self._skeleton).layers)  # type: ignore[arg-type]

    def load(self) -> None:
        """Load the weights into memory, unless they are there.

        Raises:
            MachineError: They cannot be read, or this machine has no such device or too little memory on it.
        """
        if self._model is not None:
            return
        check_device(self.device)
        self._model = stock_model(
            self.name,
            self._folder,
            dtype=self._dtype,
            attn_implementation=self.attention,
            device_map="auto" if self._shared else None,
        )
        if not self._shared:
            try:
                self._model.to(self.device)
            except RuntimeError as error:
                raise MachineError(f"model '{self.name}' does not fit on {self.device}: {brief(error)}") from error

    @property
    def size(self) -> ModelSize | None:
        """The sizes for the cost model; None if the backbone does not know them."""
        try:
            return self.backbone.size(self._skeleton.config)
        except NotImplementedError:
            return None

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of its numbers must see."""
        return [*self.backbone.notes, *filter(None, [describe_options(self.name, self.generation_options)])]

    @property
    def number_bytes(self) -> int:
        """The size of a number in the KV cache, in bytes."""
        itemsize: int = self._dtype.itemsize
        return itemsize

    def release(self) -> None:
        """Release the weights, so that another model fits into memory; `load` brings them back."""
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def pruner(self) -> Iterator[Pruner]:
        """Attach a pruner to the decoder, and load the weights if necessary. `generate` sets the pruner's plans."""
        self.load()
        with attach(self._model, self.backbone, []) as pruner:
            yield pruner

    def prepare(self, samples: Sequence[Sample], requests: EncoderRequests = NOTHING) -> Batch:
        """Load and encode samples."""
        return self.encode(self.load_samples(samples), requests)

    def load_samples(self, samples: Sequence[Sample]) -> Loaded:
        """Load the images of samples, and run the processor on prompts and images. May run in a thread of its own."""
        shown: dict[str, Sequence[Image | Video]] = {}
        for sample in samples:
            if sample.cluster not in shown:
                shown[sample.cluster] = sample.load()
        everything = [item for group in shown.values() for item in group]
        rows = [shown[sample.cluster] for sample in samples]
        prompts = [self._prompt(sample.question, row) for sample, row in zip(samples, rows, strict=True)]
        asked: dict[str, Any] = {}
        for kind in KINDS:
            if items := [item for row in rows for item in of_kind(row, kind)]:
                asked |= processor_arguments(kind, items)
        with self._processing:
            media = {kind: self._media(kind, items) for kind in KINDS if (items := of_kind(everything, kind))}
            made = {
                id(item): part for item, part in zip(of_kind(everything, "image"), media.get("image", ()), strict=True)
            }
            processor = self._processor
            own = getattr(processor, "image_processor", None)
            if made:
                processor.image_processor = SeenImages(own, made)
            try:
                inputs = processor(text=prompts, **asked, padding=True, return_tensors="pt")
            finally:
                if made:
                    processor.image_processor = own
        return Loaded(
            samples=samples,
            shown=shown,
            media={kind: concatenate(parts) for kind, parts in media.items()},
            inputs={name: value for name, value in inputs.items() if not name.startswith("pixel_values")},
        )

    @torch.inference_mode()
    def encode(self, loaded: Loaded, requests: EncoderRequests = NOTHING) -> Batch:
        """Run the vision encoder. Samples of one cluster share its work.

        Args:
            loaded: The samples.
            requests: What strategies ask of the encoder.
        """
        self.load()
        by_kind = {kind: iter(self._encode_kind(kind, inputs, requests)) for kind, inputs in loaded.media.items()}
        encoded = {
            cluster: [next(by_kind[kind]) for kind in map(kind_of, group)] for cluster, group in loaded.shown.items()
        }
        samples = loaded.samples
        return Batch(
            samples=samples,
            inputs={name: value.to(self._model.device) for name, value in loaded.inputs.items()},
            features=[(e.kind, e.features) for sample in samples for e in encoded[sample.cluster]],
            clips=[isinstance(loaded.shown[sample.cluster][0], Video) for sample in samples],
            frames=[[frame for e in encoded[sample.cluster] for frame in e.frames] for sample in samples],
            same=self._same(loaded),
        )

    def _same(self, loaded: Loaded) -> list[int]:
        """Return, for every row, the first row of its cluster with the same ids up to the last visual token."""
        ids, valid = loaded.inputs["input_ids"], loaded.inputs["attention_mask"].bool()
        visual = self.backbone.visual(self._model, ids)
        beginnings = [
            (sample.cluster, *row[mask & (at.flip(0).cumsum(0).flip(0) > 0)].tolist())
            for sample, row, mask, at in zip(loaded.samples, ids, valid, visual, strict=True)
        ]
        first = {beginning: b for b, beginning in reversed(list(enumerate(beginnings)))}
        return [first[beginning] for beginning in beginnings]

    def visual_tokens(self, batch: Batch | Loaded) -> list[int]:
        """Return the number of visual tokens in every row."""
        counts: list[int] = self.backbone.visual(self._skeleton, batch.inputs["input_ids"]).sum(1).tolist()
        return counts

    @torch.inference_mode()
    def generate(
        self, batch: Batch, pruner: Pruner, plans: Sequence[RowPlan], limits: Sequence[int]
    ) -> tuple[list[str], list[RowTrace]]:
        """Generate answers greedily.

        Args:
            batch: The samples.
            pruner: The pruner that is attached to this model.
            plans: A plan per row. With a multiple of that number, the batch is run as many times side by side: all its rows under
                the first plans, then all its rows under the next ones.
            limits: The largest number of new tokens per row.

        Returns:
            The answers and the traces, in the order of the plans.
        """
        each = len(plans) // len(batch.samples)
        pruner.plans = list(plans)
        pruner.prefills.clear()
        pruner.frames = batch.frames * each
        ids = self._model.generate(
            **{name: value.repeat(each, *[1] * (value.ndim - 1)) for name, value in batch.inputs.items()},
            mm_encoder_outputs=self.backbone.as_mm_encoder_outputs(self._model, batch.features * each),
            do_sample=False,
            max_new_tokens=max(limits),
        )
        new = ids[:, batch.inputs["input_ids"].shape[1] :].tolist()
        with self._processing:
            answers = [
                self._processor.tokenizer.decode(row[:limit], skip_special_tokens=True).strip()
                for row, limit in zip(new, list(limits) * each, strict=True)
            ]
        return answers, pruner.rows

    def _media(self, kind: str, items: Sequence[Any]) -> list[dict[str, Any]]:
        """Run the processor on images, one by one, or on all clips together."""
        processor = getattr(self._processor, f"{kind}_processor", None)
        if processor is None:
            raise UsageError(f"model '{self.name}' does not accept {kind}s", "use a model that does, or another suite")
        groups = [[item] for item in items] if kind == "image" else [items]
        return [dict(processor(**processor_arguments(kind, group), return_tensors="pt")) for group in groups]

    def _encode_kind(self, kind: str, inputs: dict[str, Any], requests: EncoderRequests) -> list[Encoded]:
        from transformers import BatchFeature

        moved = BatchFeature(inputs).to(self._model.device, self._model.dtype)
        towers = self.backbone.describe_towers(self._model) if requests.frames else ()
        with EncoderRecorder(towers, requests) as recorder:
            features = self.backbone.encode_images(self._model, moved)
        seen = [frame for run in recorder.runs for frame in run]
        frames = split_frames(seen, map(len, features)) if requests.frames else [[] for _ in features]
        return [Encoded(kind, f, own) for f, own in zip(features, frames, strict=True)]

    @property
    def prompt(self) -> str:
        """The name and hash of the chat template, or the adapter, that writes the prompts."""
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

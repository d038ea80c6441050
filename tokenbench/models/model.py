"""A model that answers prompts, and encodes the images of a batch once for all cells."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import methodcaller
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample
from tokenbench.engine import EncoderRecorder, EncoderRequests, Pruner, Question, RowPlan, RowTrace, split_frames
from tokenbench.engine.attach import attach
from tokenbench.errors import UsageError
from tokenbench.models import processing
from tokenbench.models.answering import Answering, decode, prefill
from tokenbench.models.batch import Batch, Encoded, Loaded, in_order
from tokenbench.models.device import input_device
from tokenbench.models.given import GivenWeights
from tokenbench.models.loading import FolderWeights, Loading
from tokenbench.models.processing import KINDS, alike, check_kinds, concatenate, kind_of, process
from tokenbench.models.prompting import name_writer, own_words, tokenize, write_prompt
from tokenbench.models.source import Source
from tokenbench.registry.backbones import backbone_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenbench.contract.backbone import Backbone
    from tokenbench.contract.loaded import LoadedModel
    from tokenbench.models.batch import Load
    from tokenbench.registry.plugins import Registry

__all__ = ["Model"]

NOTHING = EncoderRequests()


class Model:
    """Processor, adapter and weights of one backbone.

    The weights are loaded by `load`; all that does not run the model works before.

    Args:
        name: The name of the model, as the user wrote it.
        source: The adapter and the folder.
        **loading: How the weights are loaded: the fields of `Loading`.

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

    def __init__(self, name: str, source: Source, device: str = "auto", dtype: str = "float32", **loading: str):
        weights = FolderWeights(name, source, Loading(device, dtype, **loading))
        self._set_up(name, source.backbone, weights)

    @classmethod
    def of_object(cls, name: str, given: LoadedModel, registry: Registry) -> Model:
        """Make a model of an object that somebody has loaded.

        Args:
            name: The name under which the run uses it.
            given: The model with its processor.
            registry: The plug-ins that register adapters.

        Raises:
            UsageError: No adapter serves the architecture.
        """
        made = object.__new__(cls)
        made._set_up(name, backbone_for(given.model, registry), GivenWeights(name, given))
        return made

    def _set_up(self, name: str, backbone: Backbone, weights: FolderWeights | GivenWeights) -> None:
        self.name, self.backbone = name, backbone
        self.device, self.attention = weights.device, weights.attention
        self._weights = weights
        self._model: Any = None
        self._processing = Lock()  # tokenizers change while they work
        self._processor, self._skeleton = weights.processor, weights.skeleton
        self.placeholders, self.context = processing.limits(self._processor, self._skeleton.config)
        self.generation_options = weights.generation_options
        self.depth = len(self.backbone.decoder(self._skeleton).layers)  # type: ignore[arg-type]

    def load(self) -> None:
        """Load the weights into memory, unless they are there.

        Raises:
            MachineError: They cannot be read, or this machine has no such device or too little memory on it.
        """
        if self._model is None:
            self._model = self._weights.load()

    @property
    def size(self) -> ModelSize | None:
        """The sizes for the cost model; None if the backbone does not know them."""
        try:
            return self.backbone.size(self._skeleton.config)
        except (NotImplementedError, UsageError):
            return None

    @property
    def identity(self) -> str:
        """Text that changes whenever its weights or its processor do."""
        return self._weights.identity

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of its numbers must see."""
        return [*self.backbone.notes, *self._weights.notes]

    @property
    def number_bytes(self) -> int:
        """The size of a number in the KV cache, in bytes."""
        itemsize: int = self._weights.dtype.itemsize
        return itemsize

    def release(self) -> None:
        """Release the weights, so that another model fits into memory; `load` brings them back."""
        self._model = None
        self._weights.release()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def pruner(self) -> Iterator[Pruner]:
        """Attach a pruner to the decoder, and load the weights if necessary. `generate` sets the pruner's plans."""
        self.load()
        try:
            with attach(self._model, self.backbone, []) as pruner:
                yield pruner
        finally:
            if isinstance(self._weights, GivenWeights):
                self.release()

    def prepare(self, samples: Sequence[Sample], requests: EncoderRequests = NOTHING) -> Batch:
        """Load and encode samples."""
        return self.encode(self.load_samples(samples), requests)

    def load_samples(self, samples: Sequence[Sample], load: Load = methodcaller("load")) -> Loaded:
        """Load what samples show, cluster by cluster, and run the processor on it and the prompts.

        It may run in a thread of its own. Images and clips are held only until the processor has processed those of their cluster.

        Args:
            samples: The samples.
            load: Loads what a sample and the others of its cluster show; by default, `Sample.load`.
        """
        kinds, rows = dict[str, list[str]](), dict[int, dict[str, Any]]()
        media: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        for cluster in dict.fromkeys(sample.cluster for sample in samples):
            places = [at for at, sample in enumerate(samples) if sample.cluster == cluster]
            shown = load(samples[places[0]])
            kinds[cluster] = [kind_of(item) for item in shown]
            check_kinds(self.name, self._processor, kinds[cluster])
            prompts = [
                write_prompt(self._processor, self.backbone, samples[at].question, kinds[cluster]) for at in places
            ]
            with self._processing:
                outputs, made = process(self._processor, prompts, shown)
            rows |= zip(places, outputs, strict=True)
            for kind in made:
                media[kind][cluster] = made[kind]
        outputs = [rows[at] for at in range(len(samples))]
        return Loaded(samples, kinds, media, outputs, self._processor.tokenizer.pad_token_id)

    def encode(self, loaded: Loaded, requests: EncoderRequests = NOTHING) -> Batch:
        """Run the vision encoder for samples, with what strategies ask of it. Samples of one cluster share its work."""
        return self.make_batch(loaded, self.encode_images(loaded, requests))

    @torch.inference_mode()
    def encode_images(self, loaded: Loaded, requests: EncoderRequests = NOTHING) -> dict[str, list[Encoded]]:
        """Run the vision encoder, with the arguments of `encode`, and return what it makes of every cluster."""
        self.load()
        by_kind = {kind: self._encode_kind(kind, media, loaded, requests) for kind, media in loaded.media.items()}
        return {cluster: in_order(kinds, by_kind, cluster) for cluster, kinds in loaded.kinds.items()}

    def make_batch(self, loaded: Loaded, encoded: Mapping[str, Sequence[Encoded]]) -> Batch:
        """Make samples ready to run.

        Args:
            loaded: The samples.
            encoded: What the encoder made of their clusters.
        """
        samples = loaded.samples
        return Batch(
            samples=samples,
            inputs={name: value.to(input_device(self._model)) for name, value in loaded.inputs.items()},
            features=[(e.kind, e.features) for sample in samples for e in encoded[sample.cluster]],
            clips=[loaded.kinds[sample.cluster][0] == "video" for sample in samples],
            frames=[[frame for e in encoded[sample.cluster] for frame in e.frames] for sample in samples],
            same=self.first_alike(loaded),
        )

    def first_alike(self, loaded: Loaded) -> list[int]:
        """Return, for every row, the first row of its cluster with the same ids up to the last visual token."""
        ids, valid = loaded.inputs["input_ids"], loaded.inputs["attention_mask"].bool()
        visual = self.backbone.visual(self._skeleton, ids)
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

    def generate(
        self, batch: Batch, pruner: Pruner, plans: Sequence[RowPlan], limits: Sequence[int]
    ) -> tuple[list[str], list[RowTrace]]:
        """Generate answers greedily, with the arguments of `prefill`, and return them with the traces."""
        (answers,) = self.decode([self.prefill(batch, pruner, plans, limits)])
        return answers, pruner.rows

    @torch.inference_mode()
    def prefill(self, batch: Batch, pruner: Pruner, plans: Sequence[RowPlan], limits: Sequence[int]) -> Answering:
        """Run prompts, up to the first token of each answer.

        Args:
            batch: The samples.
            pruner: The pruner that is attached to this model. Its `rows` are the traces, in the order of the plans.
            plans: A plan per row. With a multiple of that number, the batch is run as many times side by side.
            limits: The largest number of new tokens per row.
        """
        each = len(plans) // len(batch.samples)
        pruner.plans = list(plans)
        pruner.prefills.clear()
        pruner.frames, pruner.clips = batch.frames * each, batch.clips * each
        return self._model.generate(  # type: ignore[no-any-return]
            **{name: value.repeat(each, *[1] * (value.ndim - 1)) for name, value in batch.inputs.items()},
            mm_encoder_outputs=self.backbone.as_mm_encoder_outputs(self._model, batch.features * each),
            do_sample=False,
            max_new_tokens=max(limits),
            custom_generate=partial(prefill, limits=list(limits) * each),
        )

    @torch.inference_mode()
    def decode(self, begun: Sequence[Answering]) -> list[list[str]]:
        """Finish the answers to prompts of one batch, and return those of each `prefill`, in the order of its plans."""
        tokens = decode(self._model, begun)
        write = partial(self._processor.tokenizer.decode, skip_special_tokens=True)
        with self._processing:
            return [[write(row).strip() for row in rows] for rows in tokens]

    def question(self, sample: Sample) -> Question:
        """Return what a sample asks, for strategies that read it apart from the prompt."""
        return Question(own_words(sample.question), partial(tokenize, self._processor, self._processing))

    def _encode_kind(
        self, kind: str, media: Mapping[str, dict[str, Any]], loaded: Loaded, requests: EncoderRequests
    ) -> dict[str, list[Encoded]]:
        """Encode the images or the clips of every cluster: together if the backbone and their shapes allow it."""
        groups: dict[Any, list[str]] = {}
        for cluster, made in media.items():
            groups.setdefault(alike(made) if self.backbone.encodes_together else cluster, []).append(cluster)
        encoded: dict[str, list[Encoded]] = {}
        for clusters in groups.values():
            found = iter(self._encode_group(kind, concatenate([media[cluster] for cluster in clusters]), requests))
            for cluster in clusters[:-1]:
                encoded[cluster] = list(islice(found, list(loaded.kinds[cluster]).count(kind)))
            encoded[clusters[-1]] = list(found)
        return encoded

    def _encode_group(self, kind: str, inputs: dict[str, Any], requests: EncoderRequests) -> list[Encoded]:
        from transformers import BatchFeature

        moved = BatchFeature(inputs).to(input_device(self._model), self._model.dtype)
        towers = self.backbone.describe_towers(self._model) if requests.frames else ()
        with EncoderRecorder(towers, requests) as recorder:
            features = self.backbone.encode_images(self._model, moved)
        seen = [frame for run in recorder.runs for frame in run]
        frames = split_frames(seen, map(len, features)) if requests.frames else [[] for _ in features]
        return [Encoded(kind, f, own) for f, own in zip(features, frames, strict=True)]

    @property
    def prompt(self) -> str:
        """The name and hash of the chat template, or the adapter, that writes the prompts."""
        return name_writer(self._processor, self.backbone)

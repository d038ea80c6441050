"""What the engine and the runner must know of a model architecture, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tokenbench.errors import MachineError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tokenbench.contract.lattice import Grid
    from tokenbench.contract.sizes import ModelSize
    from tokenbench.contract.stage import Stage

__all__ = ["Backbone", "Encoder", "FrameLayout", "runs"]


@dataclass(frozen=True)
class FrameLayout:
    """Where the visual tokens of one image, tile or video frame lie in the encoder's sequence for it."""

    positions: int
    """Length of the encoder's sequence for this frame, including its [CLS]."""
    tokens: Tensor
    """[n, patches] positions of the patches of every visual token, in the order of the prompt."""
    pixels: Any
    """The frame's pixels as the encoder was given them, which `Encoder.encode_resized` takes."""
    blank: Tensor | None = None
    """[n] True at tokens that stand for no patch, such as LLaVA-NeXT's newlines; None if there are none. Their positions
    are those of the token before them, whose keys and features they share; their attention is 0."""
    tiles: Tensor | None = None
    """[n] the number of the tile that each token lies in, where several inputs of the encoder make one lattice."""
    inputs: int = 1
    """How many inputs of the encoder it is made of; their positions count on from one to the next."""
    unreadable: str = ""
    """Why no token can be traced to patches, if none can. The sentence goes on from "it reads the vision encoder"."""


@dataclass(frozen=True)
class Encoder:
    """A stock vision encoder, described for strategies that look into it.

    The engine registers hooks on the modules named here, and never changes them.
    """

    tower: nn.Module
    """The module whose forward takes the pixels."""
    layers: Sequence[nn.Module]
    """Its transformer layers, in order."""
    attentions: Sequence[nn.Module]
    """The attention module of each layer."""
    depth: int
    """How many of the layers run before the projector reads their output."""
    cls: bool
    """Whether the first position of a frame is a [CLS] token."""
    batched: bool
    """Whether the layers take [frames, positions, C]; otherwise they take [positions of all frames, C]."""
    layouts: Callable[..., list[FrameLayout]]
    """Called with the arguments of the tower's forward; returns the layout of every frame."""
    project: Callable[[Tensor], Tensor]
    """The projector: [m, patches, C] output states of whole tokens -> [m, C of the decoder]."""
    encode_resized: Callable[[Any, int, int], Tensor]
    """(pixels, h, w) -> [tokens, C of the decoder]: the frame resized to a picture of h x w tokens, then encoded and
    projected. Pixels of several frames may be concatenated; their tokens follow each other."""
    callers: Sequence[tuple[Any, str]] = ()
    """Methods of the stock model that call the tower, each as the object that has it and its name. If there are some,
    `layouts` is also given the arguments of the one that does, by name, as `call`."""

    def after(self, share: float) -> int:
        """Return the index of the layer that follows a share of all layers.

        It is at most that of the last layer before the projector.
        """
        return min(int(share * len(self.layers)), self.depth - 1)


class Backbone:
    """An adapter of one model architecture to stock transformers.

    It says where the visual tokens are, how they lie on the image, and how the vision encoder is run. The engine and
    the runner ask it everything that differs between architectures; the model itself stays as it is.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    """The `config.model_type` values that it serves."""
    fallback: ClassVar[bool] = False
    """Whether it also serves architectures that no other backbone names; `serve` says which."""
    source: ClassVar[str | None] = None
    """The weights of a backbone that stands for one particular model (a folder or a Hugging Face id); None for one that
    stands for an architecture."""
    notes: ClassVar[tuple[str, ...]] = ()
    """Caveats that every report on this model prints."""
    tiled: ClassVar[bool] = False
    """Whether one image may become several lattices, its tiles."""
    encodes_together: ClassVar[bool] = True
    """Whether `encode_images` takes the images of several samples at once, and returns one tensor for each of them."""
    published: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The sizes that the `config.json` of `source` states, so that costs can be computed without a download. A fallback's
    also say its `model_type`."""

    @classmethod
    def serve(cls, model_type: str) -> Backbone | None:
        """Return a backbone for an architecture, or None if it is not one of `model_types`.

        Raises:
            UsageError: If the architecture is known, and known not to work. The error says why.
        """
        return cls() if model_type in cls.model_types else None

    def check_stage(self, stage: Stage) -> None:
        """Check that strategies find what a stage reads.

        Raises:
            InfeasibleError: If it reads lattices or the vision encoder of a model that has none, or that the adapter
                does not describe.
        """

    @property
    def checked(self) -> bool:
        """Whether a small random model of the architecture passes the checks of backbones."""
        return True

    @property
    def shares_prefixes(self) -> bool:
        """Whether the tokens before a question are computed alike whatever the question is.

        That is so in a causal decoder of attention layers. If not, nothing of one prompt is reused for another.
        """
        return True

    def decoder(self, model: Any) -> nn.Module:
        """Return the module that holds the decoder's `layers` and, if it has one, its `rotary_emb`."""
        decoder: nn.Module = model.base_model.language_model
        return decoder

    def visual(self, model: Any, input_ids: Tensor) -> Tensor:
        """Return a mask [B, S] of the visual tokens.

        Args:
            model: The stock model.
            input_ids: [B, S] token ids.
        """
        visual: Tensor = input_ids == model.config.image_token_id
        video = getattr(model.config, "video_token_id", None)
        return visual if video is None else visual | (input_ids == video)

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """Return the lattices of the images and videos of every row, in the order of the prompt.

        Args:
            model: The stock model.
            input_ids: [B, S] token ids.
            positions: The decoder's position ids, [B or 1, S] or (M-RoPE) [3, B, S]; None if it makes none.
            embeddings: [B, S, C] what the decoder is given; learned newlines can be found in it.

        Raises:
            UsageError: If no lattice of this model has that number of visual tokens.
        """
        raise NotImplementedError

    def encode_images(self, model: Any, inputs: Any) -> list[Tensor]:
        """Run the vision encoder and the projector on images or on videos.

        Args:
            model: The stock model.
            inputs: What the image processor or the video processor made of them.

        Returns:
            [tokens, C'] features of every image or video. C' is at least the decoder's C; further channels are the
            adapter's own, for `as_stock_output` to use.
        """
        return list(self.call_stock(model, inputs).pooler_output)

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the vision encoders: one for all inputs, or (Video-LLaVA) one for images and one for videos."""
        raise NotImplementedError

    def call_stock(self, model: Any, inputs: Any) -> Any:
        """Call the stock `get_image_features` or `get_video_features` on those of the `inputs` that it takes."""
        kind = "video" if "pixel_values_videos" in inputs else "image"
        stock = getattr(model.base_model, f"get_{kind}_features")
        taken = signature(stock).parameters
        return stock(**{name: value for name, value in inputs.items() if name in taken}, return_dict=True)

    def as_mm_encoder_outputs(self, model: Any, features: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
        """Build the model's argument `mm_encoder_outputs`, with which it does not encode again.

        Args:
            model: The stock model.
            features: What `encode_images` returned for all that a batch shows, row by row, each with its kind ("image"
                or "video").
        """
        kinds = dict.fromkeys(kind for kind, _ in features)
        return {kind: self.as_stock_output(model, [item for k, item in features if k == kind]) for kind in kinds}

    def as_stock_output(self, model: Any, features: list[Tensor]) -> Any:
        """Put features back into the form in which `call_stock` returned them."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        pooled: Any = features
        return BaseModelOutputWithPooling(pooler_output=pooled)

    def prompt(self, processor: Any, question: str, kinds: Sequence[str]) -> str:
        """Write the prompt of a model whose processor has no chat template.

        Args:
            processor: The model's processor.
            question: The user's text.
            kinds: What the prompt shows before the text, in order: "image" or "video".

        Raises:
            MachineError: If the model needs a chat template.
        """
        raise MachineError(
            "the model's processor has no chat template", "download the model again, with chat_template.jinja"
        )

    def size(self, config: Any) -> ModelSize:
        """Read the sizes of decoder and encoder from the model's stock configuration.

        Raises:
            UsageError: If the cost of one of them is not known.
        """
        raise NotImplementedError(f"{type(self).__name__} has no size()")

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """Return the lattices of a typical prompt, for estimating costs without a sample.

        Args:
            config: The model's stock configuration.
            tokens: How many visual tokens they must have; by default those of a common input.

        Raises:
            UsageError: If no input has that number of visual tokens.
        """
        raise NotImplementedError(f"{type(self).__name__} has no default_grids()")

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """Make the model's inputs for one row of random pixels and words, without a processor.

        Args:
            config: The model's stock configuration.
            grids: The lattices that the pixels fill, from `default_grids`.
            text: How many other tokens the row has.

        Raises:
            UsageError: If `text` leaves no room for the marks that the prompt needs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no dummy_inputs()")

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """Make a small random model for `tokenbench.testing`.

        Args:
            attention: The decoder's implementation of attention, as transformers names it.

        Returns:
            The model, and the inputs of several prompts, one row each, that differ in length and in what they show.
        """
        raise NotImplementedError


def runs(row: Tensor, visual: Tensor) -> list[tuple[int, int]]:
    """Find the stretches of equal ids among the visual tokens of a row.

    Args:
        row: [S] token ids. Those of several rows had better be copied to the CPU at once.
        visual: [S] mask of the visual tokens.

    Returns:
        The first column and the length of every stretch.
    """
    (columns,), ids = visual.numpy(force=True).nonzero(), row.numpy(force=True)
    if not len(columns):
        return []
    breaks = (np.diff(columns) != 1) | (np.diff(ids[columns]) != 0)
    starts = [0, *(breaks.nonzero()[0] + 1).tolist()]
    ends = [*starts[1:], len(columns)]
    return [(at, end - start) for at, start, end in zip(columns[starts].tolist(), starts, ends, strict=True)]

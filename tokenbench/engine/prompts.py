"""What of all that a model runs is a prompt: where its visual tokens are, and where it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.lattice import Grid
from tokenbench.engine import EncoderRecorder, Frame, Layout, Pruner, cache_name
from tokenbench.engine.arguments import read_padding
from tokenbench.engine.cache import check_kind
from tokenbench.engine.layout import number_frames
from tokenbench.errors import UsageError

__all__ = ["Prompts"]


@dataclass
class _Generation:
    """One call of generate()."""

    end: int
    """Columns of its prompt."""
    begun: bool = False
    """Whether the prompt has run."""
    frames: Sequence[Sequence[Frame]] | None = None
    """What the encoder computed for it; None before the encoder has run."""


class _Now(threading.local):
    """What this thread does."""

    def __init__(self) -> None:
        self.generation: _Generation | None = None
        """The generate() that runs."""
        self.last: Tensor | None = None
        """[B, S] ids of the last prompt that ran outside of one."""
        self.looked = False
        """Whether the decoder's next forward is part of a forward that was looked at."""
        self.logits_to_keep: Any = 0
        """The argument of the model's forward that runs."""

    def __reduce__(self) -> tuple[type[_Now], tuple[()]]:  # models are copied with their hooks
        return _Now, ()


class Prompts:
    """Hands the pruner the layout of every prompt.

    Inside generate() the prompt is what generate() was given, however its forwards are cut: without a KV cache every
    one shows the answer so far, and drafted tokens follow the prompt at once. A forward outside of it is a prompt as a
    whole.
    """

    def __init__(self, model: Any, backbone: Backbone, pruner: Pruner, recorder: EncoderRecorder) -> None:
        self._model, self._backbone, self._pruner, self._recorder = model, backbone, pruner, recorder
        self._now = _Now()

    def generate(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run the stock method and remember what the prompt of this generation is."""
        ids = next(
            (found for found in (*args[:1], kwargs.get("inputs"), kwargs.get("input_ids")) if found is not None), None
        )
        before = self._now.generation
        known = isinstance(ids, Tensor) and ids.ndim == 2 and not ids.is_floating_point()
        self._now.generation = _Generation(ids.shape[1]) if isinstance(ids, Tensor) and known else None
        try:
            return stock(*args, **kwargs)
        finally:
            self._now.generation = before

    def note_logits(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note of which columns the caller of the model wants logits."""
        self._now.logits_to_keep = kwargs.get("logits_to_keep", 0)

    def check_decoder(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check before each forward of the decoder that it comes from the model, if it may show an image.

        Raises:
            UsageError: If somebody calls the decoder itself with embeddings, in which nobody can find visual tokens.
        """
        looked, self._now.looked = self._now.looked, False
        embeddings = kwargs.get("inputs_embeds")
        if not looked and embeddings is not None and embeddings.shape[1] > 1:
            raise UsageError(
                "the decoder was called with embeddings, in which pruning cannot locate the visual tokens",
                "call the whole model with input_ids",
            )

    def look(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hand over the layout of a prompt before each forward of the model.

        Raises:
            UsageError: If the forward is one in which pruning cannot be right.
        """
        if torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise UsageError("a pruned model cannot be traced or exported", "leave pruned() first")
        self._now.looked = True
        kept, self._now.logits_to_keep = self._now.logits_to_keep, 0
        ids = kwargs.get("input_ids", args[0] if args else None)
        cache, generation = kwargs.get(cache_name(kwargs)), self._now.generation
        started = cache is not None and cache.get_seq_length() > 0
        if ids is None:
            embeddings = kwargs.get("inputs_embeds")
            if not started or (embeddings is not None and embeddings.shape[1] > 1):
                raise UsageError(
                    "pruning needs input_ids to locate the visual tokens", "pass input_ids instead of inputs_embeds"
                )
            return
        if started and (ids.shape[1] == 1 or (generation is not None and generation.begun)):
            return
        width = ids.shape[1]
        end = width if generation is None else generation.end
        ids = ids[:, :end]
        visual = self._backbone.visual(self._model, ids)
        if not bool(visual.any()):
            return
        if started:
            raise UsageError(
                "the KV cache already holds tokens that precede the image, but pruning needs the whole prompt at once",
                "start with an empty cache, and do not use prefill_chunk_size",
            )
        if ids.shape[1] < end:
            raise UsageError(
                f"the prompt of {end} tokens arrives in pieces (the first has {ids.shape[1]}), but pruning needs the whole prompt at once",
                "do not use prefill_chunk_size or token_healing",
            )
        check_kind(cache)
        if generation is None:
            _check_mask(kwargs.get("attention_mask"))
            self._refuse_more_of_the_same(ids)
        if any(plan.typical for plan in self._pruner.plans):
            _check_logits(kept, visual, width)
        valid = read_padding(kwargs.get("attention_mask"))
        self._hand_over(ids, visual, None if valid is None else valid[:, :end].expand(len(ids), -1), generation)

    def _hand_over(self, ids: Tensor, visual: Tensor, valid: Tensor | None, generation: _Generation | None) -> None:
        backbone, model, pruner = self._backbone, self._model, self._pruner

        def frames() -> Sequence[Sequence[Frame]]:
            if pruner.frames is not None:
                return pruner.frames
            if generation is None:
                return self._recorder.take_frames(ids, visual, model.config.image_token_id)
            if generation.frames is None:  # the encoder runs once a generation
                generation.frames = self._recorder.take_frames(ids, visual, model.config.image_token_id)
            return generation.frames

        def grids(*known: Any) -> list[tuple[Grid, ...]]:
            return number_frames(backbone.grids(model, ids, *known), pruner.clips or ())

        again = generation is not None and generation.begun
        pruner.layout = Layout(visual, grids, frames, valid, again)
        if generation is not None:
            generation.begun = True

    def _refuse_more_of_the_same(self, ids: Tensor) -> None:
        """A loop without a cache would choose anew at every step, by what it has answered so far."""
        last, stages = self._now.last, [stage for plan in self._pruner.plans for stage in plan.typical]
        longer = last is not None and torch.equal(ids[:, : last.shape[1]], last) and last.shape[1] < ids.shape[1]
        if longer and not all(stage.blind for stage in stages):
            raise UsageError(
                "this prompt extends the previous one, so that the tokens would be selected again",
                "continue with model.generate() or from the KV cache; if it is a new prompt, enter pruned() again",
            )
        self._now.last = ids


def _check_mask(mask: Any) -> None:
    """Refuse a caller's mask of another form, before the model makes an error of its own of it."""
    if mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 2):
        raise UsageError(
            "pruning needs a 2-d attention mask (padding only)", "pass the attention_mask that the processor returns"
        )


def _check_logits(kept: Any, visual: Tensor, width: int) -> None:
    """Refuse logits of columns that may not be there after pruning.

    Args:
        kept: The argument logits_to_keep of the model's forward: a number of last columns (0 for all), or their
            indices.
        visual: [B, S] True at the columns of visual tokens of the prompt.
        width: Columns of the whole forward, which may go on after the prompt.
    """
    if not isinstance(kept, Tensor) and not (kept and bool(visual[:, max(0, width - kept) :].any())):
        return
    if not bool(visual[:, -1].any()):  # a prompt without a question is refused with the reason when it runs
        raise UsageError(
            "logits_to_keep asks for columns of a pruned prompt, which has fewer columns than its input",
            "pass a number that reaches no further back than the text after the image",
        )

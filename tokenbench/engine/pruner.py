"""Hooks on a stock decoder: the one place that removes visual tokens.

The model's own forward does all the work. Before every decoder layer a hook swaps hidden states, mask and position
embeddings for those of the tokens that are left. The generation's state lives in its KV cache (cache.py), so that
nothing is left to do between prefill and decode, and nothing stays behind when the hooks go.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from tokenbench.engine.arguments import read_padding
from tokenbench.engine.attention_tap import AttentionTap
from tokenbench.engine.checkpoint import LayerCheckpoint
from tokenbench.engine.cut import run_in_two, width
from tokenbench.engine.decode_step import DecodeStep
from tokenbench.engine.frame import Frame
from tokenbench.engine.layers import kinds_of_layers, name_arguments
from tokenbench.engine.layout import Layout
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.prefill import Prefill, Sharing
from tokenbench.engine.state import Forward, Running, ThreadState, call_before, claim, replace_method
from tokenbench.engine.timer import Timer
from tokenbench.engine.trace import RowTrace
from tokenbench.errors import UsageError

__all__ = ["Pruner"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Pruner:
    """Prunes the prompts that run through a stock decoder inside the context.

    One context at a time for a decoder; threads may generate side by side in it.

    Args:
        decoder: The stock decoder, with `layers`.
        plans: See the attribute.
        shares_prefixes: Whether the tokens before a question are computed alike whatever the question is.

    Raises:
        UsageError: If the decoder has no layer of attention, or one whose attention kernel and windows do not go
            together with dropped tokens.
    """

    def __init__(self, decoder: Any, plans: Sequence[RowPlan], shares_prefixes: bool = True) -> None:
        self.decoder = decoder
        self.plans = list(plans)
        """One for all rows, or one for every row of the batch (repeated for beams). May be replaced between
        generations."""
        self.frames: Sequence[Sequence[Frame]] | None = None
        """What the encoder saw of every row of the next prompt, if the encoder ran apart from it."""
        self.clips: Sequence[bool] | None = None
        """Whether every row of the next prompt shows a clip first, if that is known. Some prompts do not tell the frames of a clip from
        images."""
        self.checkpoint_for: Sequence[RowPlan] = ()
        """Plans that will go on from the next prompt."""
        self.checkpoint: LayerCheckpoint | None = None
        """What they go on from, once it ran."""
        self.prefills: list[list[RowTrace]] = []
        """The trace of every prompt that ran, one RowTrace for each row."""
        self.timer: Timer = nullcontext
        """Makes the context that everything the engine does for selection alone runs in: stages, attention weights,
        attention that runs once more, and the pass without the question. Such contexts may be nested."""
        attentions = [layer.self_attn for layer in self.decoder.layers if hasattr(layer, "self_attn")]
        if not attentions:
            raise UsageError(f"pruning needs a decoder with layers of attention, which {type(decoder).__name__} lacks")
        self._tap = AttentionTap(self.decoder, attentions)
        self._attentions, self._kinds = attentions, kinds_of_layers(decoder.config)
        self._shares = shares_prefixes and set(self._kinds) <= {"full_attention"}
        self._decode = DecodeStep(decoder, self._kinds, self._tap)
        self._thread, self._running = ThreadState(), Running()
        self._sharing = Sharing()
        self._forwards: dict[int, Callable[..., Any]] = {}  # the layers' own, while prompts share
        self._hooks = ExitStack()
        if "flash" in self._tap.attention and set(self._kinds) & {"sliding_attention", "chunked_attention"}:
            raise UsageError(
                "flash attention counts the tokens that are left of a window, not their places in the prompt",
                "load the model with attn_implementation='sdpa'; on the command line: --attention sdpa",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.decoder).__name__} {self.description})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        made = memo[id(self)] = object.__new__(type(self))
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a model cannot be pickled while it is being pruned",
            "leave pruned() first, or save model.state_dict() or use model.save_pretrained()",
        )

    @property
    def description(self) -> str:
        """What prunes the model at which budget."""
        return f"pruned by {', '.join(dict.fromkeys(map(str, self.plans)))}"

    @property
    def depth(self) -> int:
        """Decoder layers."""
        return len(self.decoder.layers)

    @property
    def rows(self) -> list[RowTrace]:
        """The trace of the last prompt.

        Raises:
            UsageError: If no prompt with an image has run yet.
        """
        if not self.prefills:
            raise UsageError("no prompt with an image has been pruned yet", "read rows after the model has run")
        return self.prefills[-1]

    @property
    def layout(self) -> Layout | None:
        """The state of this thread's next prompt."""
        return self._thread.layout

    @layout.setter
    def layout(self, layout: Layout | None) -> None:
        self._thread.layout = layout

    @property
    def shorter(self) -> bool:
        """Whether this thread's last forward was a prompt whose output has fewer columns than its input."""
        return self._thread.shorter

    def __enter__(self) -> Pruner:
        with ExitStack() as hooks:
            add = hooks.callback
            add(claim(self.decoder))
            hooks.enter_context(self._tap)
            add(replace_method(self.decoder, "forward", partial(self._forward, self.decoder.forward)))
            if hasattr(self.decoder, "rotary_emb"):
                add(call_before(self.decoder.rotary_emb, self._place))
            for i, layer in enumerate(self.decoder.layers):
                add(call_before(layer, partial(self._before_layer, i)))
                add(layer.register_forward_hook(partial(self._after_layer, i)).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.wait()
        self._hooks.close()
        self._thread = ThreadState()

    @contextmanager
    def sharing(
        self,
        first_alike: Sequence[int] = (),
        checkpoint: LayerCheckpoint | None = None,
        remember: bool = False,
        next_token_only: bool = False,
    ) -> Iterator[None]:
        """Prompts inside do not compute again what others have computed.

        Args:
            first_alike: Of every row, the first row with the same plan that shows the same images after the same
                words; what they have in common is computed once.
            checkpoint: Where the layers before the first stage of any row are taken from.
            remember: Whether the traces remember merged states, so that later questions can be asked of them.
            next_token_only: Whether nobody reads more of the output for a prompt than its last token, so that the last
                layer need not compute more.
        """
        with ExitStack() as undo:
            for i, layer in enumerate(self.decoder.layers):
                self._forwards[i] = layer.forward
                undo.callback(replace_method(layer, "forward", partial(self._run_layer, i, layer)))
            self._sharing = Sharing(
                first_alike, checkpoint, next_token_only=next_token_only and self._shares, remember=remember
            )
            try:
                yield
            finally:
                self._sharing, self._forwards = Sharing(), {}

    def _run_layer(self, i: int, layer: Any, hidden: Tensor, **kwargs: Any) -> Any:
        prefill, forward = self._thread.forward.prefill, self._forwards[i]
        if prefill is None:
            return forward(hidden, **kwargs)
        return prefill.run_layer(i, layer, forward, hidden, kwargs)

    def _forward(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The decoder's forward: a prompt, if there is a layout for it, or a decode step."""
        layout, self.layout = self.layout, None
        self._thread.forward, self._thread.shorter = Forward(), False
        self._tap.check()
        with self._running:
            if layout is None:
                return stock(*args, **kwargs)
            if "logits_to_keep" in kwargs:  # Gemma 4 would run its layers without keys on the last tokens alone
                kwargs["logits_to_keep"] = 0
            run, end = partial(self._run_prompt, stock, layout), layout.visual.shape[1]
            if end == width(kwargs):
                return run(*args, **kwargs)
            return run_in_two(run, stock, args, kwargs, end, partial(DynamicCache, config=self.decoder.config))

    def _run_prompt(self, stock: Callable[..., Any], layout: Layout, *args: Any, **kwargs: Any) -> Any:
        prefill, kwargs = self._prefill(layout, kwargs)
        self._thread.forward = Forward(prefill, embeddings=kwargs.get("inputs_embeds"))
        try:
            output = stock(*args, **kwargs)
        finally:
            self._thread.forward = Forward()
            for attention in self._attentions:
                self._tap.listen(attention, None)
        self.checkpoint = prefill.finish()
        self._thread.shorter = not prefill.segment.full
        if not layout.again:
            self.prefills.append(prefill.traces)
        return output

    def _prefill(self, layout: Layout, kwargs: dict[str, Any]) -> tuple[Prefill, dict[str, Any]]:
        """A prompt about to run, and the decoder's arguments for it."""
        batch = len(layout.visual)
        known = read_padding(kwargs.get("attention_mask")) if layout.valid is None else layout.valid
        valid = torch.ones_like(layout.visual) if known is None else known
        if batch % len(self.plans):
            raise UsageError(f"there are {len(self.plans)} plans for a batch of {batch} rows")
        each = batch // len(self.plans)
        plans = [plan for plan in self.plans for _ in range(each)]
        added, kwargs = _take_deepstack(kwargs)
        attends = len(self._attentions) == self.depth  # a recurrent layer's state is in no checkpoint
        sharing = replace(
            self._sharing,
            first_alike=self._sharing.first_alike if self._shares else (),
            checkpoint_for=self.checkpoint_for if attends else (),
        )
        return Prefill(plans, layout, valid, self.decoder, self._tap, added, sharing, self.timer), kwargs

    def _place(self, rotary: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Learn the position ids [B or 1, n], with one more leading dimension where positions have several parts."""
        forward = self._thread.forward
        forward.positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        forward.by_kind = "layer_type" in kwargs or len(args) > 2
        if forward.prefill is not None:
            forward.prefill.place(forward.positions, forward.embeddings)

    def _before_layer(
        self, i: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        if not args:  # a layer whose input has a name
            args = (kwargs["hidden_states"],)
            kwargs = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        hidden, kwargs = args[0], name_arguments(layer, args[1:], kwargs)
        prefill = self._thread.forward.prefill
        if prefill is None:
            return (hidden,), self._decode.change(i, hidden, kwargs, self._thread.forward)
        # The layer's forward, not the module: the pruner's own hooks are not meant.
        forward = self._forwards.get(i, layer.forward)
        hidden, kwargs = prefill.before_layer(i, layer, forward, hidden, kwargs)
        return (hidden,), kwargs

    def _after_layer(self, i: int, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        prefill = self._thread.forward.prefill
        return None if prefill is None else prefill.after_layer(i, output)


def _take_deepstack(kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """Deepstack states, made [B, S, C], and the arguments without them.

    The decoder would add them to the columns of the whole prompt.
    """
    states = kwargs.get("deepstack_visual_embeds")
    if states is None:
        return [], kwargs
    embeds, visual = kwargs["inputs_embeds"], kwargs["visual_pos_masks"]
    dense = [torch.zeros_like(embeds).masked_scatter(visual.unsqueeze(-1), state.to(embeds)) for state in states]
    return dense, {**kwargs, "deepstack_visual_embeds": None, "visual_pos_masks": None}

"""What selection launches: `python -m benchmarks.launches`.

Operators that one prefill dispatches beyond the stock model's, those of the stock model's that it leaves out, and looks of the host at
what the device computed, for batches of several sizes. On a GPU every operator is a kernel that must be launched, and a look waits for everything before it. Both are
counts, not times: they are the same on every machine. The model has LLaVA-1.5-7B's layers and tokens, and few channels.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForImageTextToText

import tokenbench
from tokenbench.contract.cells import VANILLA
from tokenbench.engine import replace_method
from tokenbench.errors import InfeasibleError
from tokenbench.models.source import configuration
from tokenbench.registry.plugins import Registry, registry

__all__ = ["Launches", "build", "inputs_for", "prefill"]

MODEL, WIDTH, HEADS, TEXT = "llava-1.5-7b", 64, 4, 50
# Operators that only describe a tensor anew, and launch nothing.
VIEWS = (
    "view", "_unsafe_view", "t", "transpose", "expand", "slice", "unsqueeze", "detach", "permute", "select", "split",
    "split_with_sizes", "alias", "unbind", "squeeze", "_reshape_alias", "diagonal", "lift_fresh", "unfold", "narrow",
    "as_strided", "_conj", "view_as_real", "view_as_complex", "unsafe_split",
)  # fmt: skip
# Operators whose result has a size that the host must know, or that are a look themselves.
LOOKS = (
    "_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "bincount", "_unique2", "unique_dim",
    "unique_consecutive",
)  # fmt: skip


# Whose code dispatches.
OWN, STOCK = (
    ("tokenbench.", "tokenbench_strategies.", "tokenbench_backbones."),
    ("transformers.models", "transformers.integrations"),
)

# Functions that work for others, which are named in their place.
HELPERS = ("take", "take_flat", "pack", "top", "flatten", "call", "counted")


class Launches(TorchDispatchMode):
    """Counts operators and looks for as long as the context lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        """By name."""
        self.looks: Counter[str] = Counter()
        """By the operator or method that looked."""
        self.own: Counter[tuple[str, str]] = Counter()
        """Those that TokenBench's code dispatched, by the place in the code and the operator's name."""
        self.reasons: dict[str, str] = {}
        """What the code at each place does."""
        self._undo = ExitStack()

    def __enter__(self) -> Launches:
        super().__enter__()
        with ExitStack() as undo:
            for owner, name, looks in (
                (Tensor, "tolist", _always),
                (Tensor, "cpu", _always),
                (torch, "tensor", _is_placed),
            ):
                undo.callback(replace_method(owner, name, self._counted(getattr(owner, name), name, looks)))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.close()
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name not in VIEWS and not _draws_on_host(kwargs or {}):
            self.operators[name] += 1
            if (place := _find_place(sys._getframe(1))) is not None:
                self.own[place[0], name] += 1
                self.reasons[place[0]] = place[1]
        if name in LOOKS or (name in ("index", "index_put", "index_put_") and _has_masks(args[1])):
            self.looks[name] += 1
        return function(*args, **(kwargs or {}))

    def _counted(self, stock: Callable[..., Any], name: str, looks: Callable[..., bool]) -> Callable[..., Any]:
        @functools.wraps(stock)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if looks(*args, **kwargs):
                self.looks[name] += 1
            return stock(*args, **kwargs)

        return counted


def _find_place(frame: FrameType | None) -> tuple[str, str] | None:
    """The innermost function of TokenBench's that runs, and what it does; None if a stock model's code runs within it."""
    while frame is not None:
        module, code = str(frame.f_globals.get("__name__", "")), frame.f_code
        if module.startswith(STOCK):
            return None
        if module.startswith(OWN) and code.co_name not in HELPERS:
            words = code.co_consts[0] if code.co_consts and isinstance(code.co_consts[0], str) else ""
            return f"{module}: {code.co_qualname.split('.<locals>')[0]}", words.split("\n\n")[0].replace("\n", " ")
        frame = frame.f_back
    return None


def _draws_on_host(kwargs: dict[str, Any]) -> bool:
    """Samples have random numbers of their own, which are drawn on the host whatever the device is."""
    generator = kwargs.get("generator")
    return generator is not None and generator.device.type == "cpu"


def _always(*args: Any, **kwargs: Any) -> bool:
    return True


def _is_placed(*args: Any, **kwargs: Any) -> bool:
    """A tensor made from Python's numbers on a device is copied there, and the copy waits."""
    return kwargs.get("device") is not None


def _has_masks(indices: Sequence[Tensor | None]) -> bool:
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in indices)


def build(known: Registry) -> tuple[Any, Any, dict[str, Tensor]]:
    """Adapter, model, and the prompt of one row."""
    backbone, config = configuration(MODEL, known)
    for part in (config.text_config, config.vision_config):
        part.hidden_size, part.intermediate_size, part.num_attention_heads = WIDTH, 2 * WIDTH, HEADS
    config.text_config.num_key_value_heads = HEADS
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa").eval()
    return backbone, model, backbone.dummy_inputs(config, backbone.default_grids(config), TEXT)


def inputs_for(row: dict[str, Tensor], rows: int, image: int, *, lengths: bool = False) -> dict[str, Tensor]:
    """A batch of unlike rows, with other pixels and other words in each; with `lengths`, no two questions are equally long."""
    generator = torch.Generator().manual_seed(1)
    inputs = {name: value.repeat(rows, *[1] * (value.ndim - 1)) for name, value in row.items()}
    inputs["pixel_values"] = torch.randn(inputs["pixel_values"].shape, generator=generator)
    ids = inputs["input_ids"]
    inputs["input_ids"] = torch.where(ids == image, ids, torch.randint(100, 30000, ids.shape, generator=generator))
    if lengths:  # row b lacks its last b words, and is padded on the left
        for name in ("input_ids", "attention_mask"):
            inputs[name] = torch.stack([pad(one[: len(one) - b], (b, 0)) for b, one in enumerate(inputs[name])])
    return inputs


def prefill(
    model: Any, inputs: dict[str, Tensor], strategy: Any, budget: str | None, composites: bool = False, **asked: Any
) -> Launches:
    """What one prefill launches; of the stock model if the strategy is None.

    With `composites`, an operator that consists of others counts as one, even where it launches nothing. What is `asked`
    is passed to pruned().
    """
    context: AbstractContextManager[Any] = nullcontext()
    if strategy is not None:
        context = tokenbench.pruned(model, strategy, *([] if budget is None else [budget]), **asked)
    # Inference mode hides what composite operators are made of.
    mode = torch.inference_mode() if composites else torch.no_grad()
    with context, mode, Launches() as launches:
        model(**inputs, logits_to_keep=1)
    return launches


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default="")
    parser.add_argument("--budget", default="192")
    parser.add_argument("--rows", default="1,8,32")
    parser.add_argument("--lengths", action="store_true", help="no two rows of a batch have equally long questions")
    parser.add_argument("--composites", action="store_true", help="count an operator that consists of others as one")
    parser.add_argument("--list", action="store_true", help="list which code launches what, and why")
    args = parser.parse_args(arguments)
    known, sizes = registry(), [int(rows) for rows in args.rows.split(",")]
    _, model, row = build(known)
    batches = {rows: inputs_for(row, rows, model.config.image_token_id, lengths=args.lengths) for rows in sizes}
    run = partial(prefill, model, composites=args.composites)
    stock = {rows: run(inputs, None, None) for rows, inputs in batches.items()}
    print(f"The stock model launches {', '.join(f'{stock[n].operators.total():,} ({n} rows)' for n in sizes)}.\n")
    print("| strategy | " + " | ".join(f"{n} rows: added, left out, ratio, looks" for n in sizes) + " |")
    print("| --- |" + " ---: |" * len(sizes))
    for name in args.strategies.split(",") if args.strategies else known.names("strategies"):
        budget = args.budget if name != VANILLA and known.get("strategies", name).budgeted else None
        cells, found = [], {}
        for rows in sizes:
            try:
                if not found:
                    run(batches[rows], name, budget)  # what is made once, such as a mask, is there afterwards
                found[rows] = run(batches[rows], name, budget)
            except InfeasibleError:
                break
            total, base, own = found[rows].operators.total(), stock[rows].operators.total(), found[rows].own.total()
            looks = found[rows].looks.total() - stock[rows].looks.total()
            cells.append(f"{own:,}, {base - (total - own):,}, {total / base:.2f}, {looks}")
        if cells:
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        if args.list and found:
            print(_list(found[sizes[0]]))


def _list(launches: Launches) -> str:
    """A table of what TokenBench's code launches, by place."""
    places: dict[str, Counter[str]] = {}
    for (place, name), count in launches.own.items():
        places.setdefault(place, Counter())[name] += count
    lines = ["", "| code | launches | operators | what it does |", "| --- | ---: | --- | --- |"]
    for place, own in sorted(places.items(), key=lambda pair: -pair[1].total()):
        names = ", ".join(f"{name} {count}" if count > 1 else name for name, count in own.most_common())
        lines.append(f"| `{place}` | {own.total()} | {names} | {launches.reasons[place]} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

"""Asks a strategy for its selection and holds it to the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.strategy import Selection, Strategy
from tokenbench.contract.view import View
from tokenbench.errors import StrategyError, TokenBenchError, UsageError

__all__ = ["copy_for_merge", "find_wrong_numbers", "select"]


def select(strategy: Strategy, name: str, view: View, width: int) -> Selection:
    """The strategy's selection of the candidates; `width` is that of the decoder's hidden states, `name` is for errors.

    The numbers in it are not looked at yet: see `find_wrong_numbers`.

    Raises:
        StrategyError: If the strategy breaks its contract, or if its own code raised something.
    """
    where = f"strategy {name}, stage before layer {view.stage.layer}"
    try:
        with torch.no_grad():
            selection = strategy.select(view)
    except StrategyError as error:
        raise StrategyError(f"{where}: {error}") from None
    except (TokenBenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise StrategyError(f"{where}: {type(error).__name__}: {reason}") from error
    if problem := _find_wrong_form(selection, view, width):
        raise StrategyError(f"{where}: {problem}")
    return selection


def find_wrong_numbers(selections: Sequence[tuple[View, Selection]]) -> tuple[int, str] | None:
    """The first selection that holds numbers it must not hold, and what is wrong with them.

    All are looked at together: on a GPU, looking waits for it.
    """
    if not bool(_has_wrong_numbers(selections)):
        return None
    for at, (view, selection) in enumerate(selections):
        keep, score, values = selection.keep, selection.score, selection.values
        if score is not None and bool(score.isnan().any()):
            return at, f"{int(score.isnan().sum())} of {view.n} scores are NaN"
        ordered = keep.sort().values
        if len(keep) and (int(ordered[0]) < 0 or int(ordered[-1]) >= view.n or not bool((ordered.diff() > 0).all())):
            return at, f"keep must hold distinct indices below {view.n}"
        if values is not None and bool(values.isnan().any()):
            return at, "values are NaN"
    return None


def copy_for_merge(hidden: Tensor, name: str) -> Tensor:
    """A copy of hidden states, to write merged ones into.

    These were computed without gradients, and a backward pass must not go on as if there were none: it raises
    UsageError.
    """
    copy: Any = hidden.clone()
    if copy.requires_grad:

        def refuse(gradient: Tensor) -> None:
            raise UsageError(
                f"strategy {name} merges tokens, and no gradient flows through merged tokens",
                "train with a strategy that only drops tokens",
            )

        copy.register_hook(refuse)
    written: Tensor = copy
    return written


def _has_wrong_numbers(selections: Sequence[tuple[View, Selection]]) -> Tensor:
    """Whether `find_wrong_numbers` has anything to say."""
    keeps = [selection.keep.sort().values for _, selection in selections]
    wrong = torch.stack([(keep.diff() <= 0).any() for keep in keeps]).any()
    ends = [
        (keep[0] < 0) | (keep[-1] >= view.n) for keep, (view, _) in zip(keeps, selections, strict=True) if len(keep)
    ]
    for _, selection in selections:
        ends += [part.isnan().any() for part in (selection.score, selection.values) if part is not None]
    return wrong | torch.stack(ends).any() if ends else wrong


def _find_wrong_form(selection: Selection, view: View, width: int) -> str:
    """What is wrong, or nothing."""
    keep, stage = selection.keep, view.stage
    if not isinstance(keep, Tensor) or keep.dtype != torch.long or keep.ndim != 1:
        what = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
        return f"keep must be a 1-d tensor of indices, not {what}"
    count = len(keep)
    if stage.keep is not None and (count > view.k if stage.at_most else count != view.k):
        return f"{count} tokens were kept instead of {view.k}"
    if count == 0 and view.k > 0:
        return "no token was kept"
    if selection.values is not None and selection.values.shape != (count, width):
        return f"values must be {[count, width]}, not {list(selection.values.shape)}"
    return ""

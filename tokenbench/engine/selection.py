"""Asks a strategy for its selection and holds it to the contract."""

from __future__ import annotations

import torch
from torch import Tensor

from tokenbench.errors import StrategyError, TokenBenchError
from tokenbench.strategy import Selection, Strategy, View

__all__ = ["checked_selection"]


def checked_selection(strategy: Strategy, name: str, view: View, width: int) -> Selection:
    """The strategy's selection of the candidates; `width` is that of the decoder's hidden states, `name` is for errors.

    Raises StrategyError that says how the contract is broken, or what the strategy's own code raised.
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
    if problem := _problem(selection, view, width):
        raise StrategyError(f"{where}: {problem}")
    return selection


def _problem(selection: Selection, view: View, width: int) -> str:
    """What is wrong, or nothing."""
    keep, stage = selection.keep, view.stage
    if not isinstance(keep, Tensor) or keep.dtype != torch.long or keep.ndim != 1:
        what = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
        return f"keep must be a 1-d tensor of indices, not {what}"
    count = len(keep)
    if stage.keep is not None and (count > view.k if stage.at_most else count != view.k):
        return f"{count} tokens kept where {view.k} were to be kept"
    if count == 0 and view.k > 0:
        return "no token kept"
    if count and (int(keep[0]) < 0 or int(keep[-1]) >= view.n or not bool((keep[1:] > keep[:-1]).all())):
        return f"keep must hold ascending indices below {view.n}, none twice"
    if selection.values is not None:
        if selection.values.shape != (count, width):
            return f"values must be {[count, width]}, not {list(selection.values.shape)}"
        if bool(selection.values.isnan().any()):
            return "values are NaN"
    return ""

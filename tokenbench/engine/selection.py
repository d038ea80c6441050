"""Asks a strategy for its selections, for all rows at once where that can be, and holds it to the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.strategy import Selection, Strategy, find_declaring
from tokenbench.contract.view import View
from tokenbench.engine.row_views import FrameStack, RowViews
from tokenbench.engine.trace import Way
from tokenbench.errors import StrategyError, TokenBenchError, UsageError

__all__ = ["Answer", "copy_for_merge", "find_batching", "find_wrong_count", "select"]


@dataclass(frozen=True)
class Answer:
    """What a strategy keeps in some rows, in one form."""

    members: Sequence[int]
    """Which of the rows that were asked about."""
    selection: Selection
    """Their selections, whose tensors have the rows in front."""
    way: Way
    """How the strategy's code ran."""


def select(strategy: Strategy, name: str, rows: RowViews, width: int, apart: set[Any]) -> list[Answer]:
    """The strategy's selections in rows that look alike to it.

    Its code runs once for all of them: as it is, if it is written for stacked rows, or under `torch.vmap`. Where
    neither is possible, it runs row by row. The numbers in the answers are not looked at yet: see `Doubts`.

    Args:
        strategy: The strategy.
        name: What errors call it.
        rows: What it sees.
        width: Channels of the decoder's hidden states.
        apart: What is known of stages whose rows cannot run together; it grows.

    Raises:
        StrategyError: If the strategy breaks its contract, or if its own code raised something. `row` says in which of
            the rows.
    """
    if len(rows) > 1 and (together := _select_together(strategy, rows, width, apart)):
        return [together]
    found = []
    for i in range(len(rows)):
        try:
            found.append(_select_alone(strategy, name, rows.row(i), width))
        except StrategyError as error:
            error.row = i
            raise
    return _stack(found, "alone" if len(rows) == 1 else "loop")


def find_batching(strategy: Strategy) -> str:
    """How the strategy's code runs for several rows, as the class that wrote that code declares it."""
    return str(vars(find_declaring(strategy, "batching")).get("batching", Strategy.batching))


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


def _select_alone(strategy: Strategy, name: str, view: View, width: int) -> Selection:
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


def _select_together(strategy: Strategy, rows: RowViews, width: int, apart: set[Any]) -> Answer | None:
    """The selections of all rows at once; None if the strategy must be asked about each."""
    stage = rows.stacked.stage
    key = (rows.stacked.index, len(rows.stacked.grids), len(rows.frames[0]) if rows.frames else 0)
    batching = find_batching(strategy)
    by_row = strategy.stochastic or stage.pixels or stage.rerun is not None  # unless it is written for stacked rows
    if key in apart or batching == "loop" or (by_row and batching != "stacked"):
        return None
    memo = rows.join_memos()
    if memo is None:
        return None
    run = _select_stacked if batching == "stacked" else _vmap
    try:
        with torch.no_grad():
            selection, memo = run(strategy, rows, memo)
        row = Selection(**{name: part[0] for name, part in _parts(selection).items()})
        fits = len(selection.keep) == len(rows) and not _find_wrong_form(row, rows.stacked, width)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # the rows one by one either do it, or say what is wrong and where
        fits = False
    if not fits:
        apart.add(key)
        return None
    rows.split_memo(memo)
    return Answer(range(len(rows)), selection, "stacked" if batching == "stacked" else "vmap")


def _select_stacked(strategy: Strategy, rows: RowViews, memo: dict[str, Any]) -> tuple[Selection, dict[str, Any]]:
    view = replace(rows.stacked, memo=memo, frames=FrameStack.of(rows.frames), generators=rows.generators)
    return strategy.select(view), view.memo


def _vmap(strategy: Strategy, rows: RowViews, memo: dict[str, Any]) -> tuple[Selection, dict[str, Any]]:
    """The selections and the memo of all rows, from code that is written for one."""
    plain: dict[str, Any] = {}

    def choose(tensors: dict[str, Any], remembered: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        view = replace(rows.stacked, **tensors, memo={**memo, **remembered})
        selection = strategy.select(view)
        plain.update({key: value for key, value in view.memo.items() if not isinstance(value, Tensor)})
        return _parts(selection), {key: value for key, value in view.memo.items() if isinstance(value, Tensor)}

    parts, remembered = torch.vmap(choose)(
        rows.tensors(), {key: value for key, value in memo.items() if isinstance(value, Tensor)}
    )
    return Selection(**parts), {**plain, **remembered}


def _parts(selection: Selection) -> dict[str, Tensor]:
    """{field: tensor} of the fields that hold one."""
    return {name: part for name, part in vars(selection).items() if part is not None}


def _stack(found: Sequence[Selection], way: Way) -> list[Answer]:
    """The selections of rows one by one, those of equal form together."""
    alike: dict[Any, list[int]] = {}
    for i, selection in enumerate(found):
        alike.setdefault((len(selection.keep), selection.is_mask, *_parts(selection)), []).append(i)
    answers = []
    for members in alike.values():
        own = [_parts(found[i]) for i in members]
        stacked = {name: _stack_tensors([parts[name] for parts in own]) for name in own[0]}
        answers.append(Answer(members, Selection(**stacked), way))
    return answers


def _stack_tensors(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)) if len(parts) > 1 else parts[0].unsqueeze(0)


def _find_wrong_form(selection: Selection, view: View, width: int) -> str:
    """What is wrong, or nothing."""
    keep = selection.keep
    if not isinstance(keep, Tensor) or keep.dtype not in (torch.long, torch.bool) or keep.ndim != 1:
        what = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
        return f"keep must be a 1-d tensor of indices or a mask, not {what}"
    count = len(keep)
    if selection.is_mask and count != view.n:
        return f"a mask must be [{view.n}], not [{count}]"
    if not selection.is_mask and (problem := find_wrong_count(count, view)):  # those of a mask are numbers to look at
        return problem
    if selection.values is not None and selection.values.shape != (count, width):
        return f"values must be {[count, width]}, not {list(selection.values.shape)}"
    if selection.order is not None and (not selection.is_mask or selection.order.shape != keep.shape):
        return f"order must be [{view.n}] and go with a mask, not {list(selection.order.shape)}"
    return ""


def find_wrong_count(count: int, view: View) -> str:
    """What is wrong with the number of tokens that a row keeps, or nothing."""
    stage = view.stage
    if stage.keep is not None and (count > view.k if stage.at_most else count != view.k):
        return f"{count} tokens were kept instead of {view.k}"
    return "no token was kept" if count == 0 and view.k > 0 else ""

"""What was chosen for one question, kept for another one: later questions are asked of the tokens that the first one left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.budget import Budget
from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Selection, Strategy
from tokenbench.contract.view import View
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.segment import Segment
from tokenbench.errors import UsageError

__all__ = ["Replay", "Unseen", "hide", "replay"]


class Replay(Strategy):
    """A strategy that keeps what was kept for another question about the same images. It reads nothing."""

    row: Any
    """The trace of that question. Merged states are replayed if it remembers them."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        """Return the stages of the trace."""
        return [Stage(layer, len(kept)) for layer, kept in self.row.stages]

    def select(self, view: View) -> Selection:
        """Select the tokens that were kept at this stage of the trace, in their order there."""
        kept = self.row.stages[view.index][1].to(view.alive.device)
        order = view.alive.argsort()
        values = self.row.values[view.index] if self.row.values else None
        values = None if values is None else values.to(kept.device)
        return Selection(order[torch.searchsorted(view.alive, kept, sorter=order)], values)

    def trims(self, depth: int) -> bool:
        """Whether the KV cache of that question was trimmed."""
        return bool(self.row.trim)

    @property
    def positions(self) -> Any:  # type: ignore[override]  # every strategy's own, but here the trace's
        """Position ids of the tokens after a stage, as in the trace."""
        return "compact" if self.row.compact else "original"


def replay(plan: RowPlan, row: Any, key: str) -> RowPlan:
    """Return a plan that keeps what another plan kept.

    Args:
        plan: The plan whose strategy chose.
        row: The trace of its choice (see `RowTrace`).
        key: The name of the sample that the plan is for.
    """
    return RowPlan(Replay(row=row), plan.budget, plan.depth, plan.seed, key, name=plan.name)


@dataclass(frozen=True)
class Unseen:
    """Tokens that the KV cache of a first question had lost, when a later one was asked: its words do not see them.

    Trimming removes tokens from layers that had computed them, so that hiding them is what is left to do.
    """

    columns: Tensor
    """[B, S] the columns of these tokens."""
    after: Tensor
    """[B, 1] the first column of each row's question."""

    @classmethod
    def of(cls, plans: Sequence[RowPlan], prompt: PromptColumns, attention: str) -> Unseen | None:
        """Find them; None if there are none.

        Args:
            plans: One for every row.
            prompt: The batch.
            attention: The name of the decoder's attention implementation.

        Raises:
            UsageError: If the implementation takes no mask that hides them.
        """
        kept = {
            b: plan.strategy.row.stages[-1][1]
            for b, plan in enumerate(plans)
            if isinstance(plan.strategy, Replay) and plan.trim and plan.strategy.row.stages
        }
        if all(len(own) == prompt.visual_counts[b] for b, own in kept.items()):
            return None
        columns = torch.zeros_like(prompt.visual)
        for b, own in kept.items():
            visual = prompt.visual[b].nonzero().flatten()
            columns[b, visual] = True
            columns[b, visual[own.to(visual.device)]] = False
        if "flash" in attention:
            raise UsageError(
                "flash attention takes no mask that hides trimmed tokens from a later question",
                "load the model with attn_implementation='sdpa'; on the command line: --attention sdpa",
            )
        return cls(columns, torch.tensor(prompt.after, device=columns.device).unsqueeze(1))

    def keys(self, segment: Segment) -> Tensor:
        """[B, n] which tokens of a segment they are."""
        return self.columns.gather(1, segment.columns) & segment.valid

    def pairs(self, segment: Segment) -> Tensor:
        """[B, 1, n, n] which token of a segment (last dimension) is hidden from which."""
        asks = segment.columns >= self.after.to(segment.columns.device)
        return (asks.unsqueeze(2) & self.keys(segment).unsqueeze(1)).unsqueeze(1)


def hide(mask: Tensor, hidden: Tensor) -> Tensor:
    """Return a mask [B, 1, q, n], boolean or with numbers that are added, without the keys that are `hidden` [B, 1, 1 or q, n]."""
    own = torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device)[-mask.shape[-2] :]
    hidden = hidden.to(mask.device) & ~own  # a token that sees nothing would have no softmax
    return mask & ~hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, torch.finfo(mask.dtype).min)

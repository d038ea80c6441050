"""The one interface of a pruning or merging method. Knows no model.

A strategy says before which decoder layers how many visual tokens stay (`schedule`), what it wants to see there
(`stage`), and gives every candidate a score (`score`). It never sees the model, the batch or the cache: the engine
does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from tokenbench.contract.stage import Keep, Stage
from tokenbench.contract.view import View
from tokenbench.errors import StrategyError

if TYPE_CHECKING:
    from torch import Tensor

    from tokenbench.contract.budget import Budget

__all__ = [
    "Dial",
    "Merger",
    "Selection",
    "Strategy",
    "find_declaring",
    "may_pad",
    "top",
]


@dataclass(frozen=True)
class Dial:
    """The parameter by which a strategy that decides its own counts can be made to keep more or fewer tokens.

    With `--match`, its value is found on samples that are held out, so that the mean work over samples is the budget's.
    """

    parameter: str
    """The name of a field of the strategy that is a float, such as a threshold."""
    low: float
    """The lowest value that is tried."""
    high: float
    """The highest value that is tried."""
    rising: bool
    """Whether a higher value keeps more tokens; otherwise it keeps fewer."""


@dataclass
class Selection:
    """What a stage keeps of its candidates."""

    keep: Tensor
    """[k] distinct indices into the candidates, or a mask [n] that is True at those that are kept. A mask suits a
    method whose count depends on the sample: its form does not, so that samples still run together.

    Before decoder layer 0, a strategy that renumbers positions says with the order of the indices how the tokens follow
    each other in the sequence; everywhere else they stay in the order of the prompt."""
    values: Tensor | None = None
    """[k, C] new hidden states of the kept tokens (a merge), or None to leave them as they are. With a mask [n, C]:
    those of dropped candidates are not read."""
    score: Tensor | None = None
    """[n] what the candidates were ranked by, so that the engine can refuse NaN; None if there is no score."""
    order: Tensor | None = None
    """[n] numbers by which the tokens of a mask follow each other, where the order of indices would say so; None for the
    order of the prompt."""

    @property
    def is_mask(self) -> bool:
        """Whether `keep` is a mask."""
        return str(self.keep.dtype) == "torch.bool"  # torch itself takes seconds to import

    def to_indices(self, count: int | None = None) -> Selection:
        """Return the same selection with indices instead of a mask.

        Args:
            count: How many candidates the mask keeps. None looks at a mask of one sample.
        """
        if not self.is_mask:
            return self
        count = int(self.keep.sum()) if count is None else count
        dropped, order = (~self.keep).byte(), None  # CUDA does not sort booleans
        if self.order is not None:
            order = self.order.to(dropped.device).argsort(dim=-1, stable=True)
            dropped = dropped.gather(-1, order)
        keep = dropped.argsort(dim=-1, stable=True)[..., :count]
        keep = keep if order is None else order.gather(-1, keep)
        values = None if self.values is None else _take(self.values, keep)
        return replace(self, keep=keep, values=values, order=None)

    def ascending(self) -> Selection:
        """Return the same selection in the order of the prompt."""
        if self.is_mask:
            return replace(self, order=None)
        keep, order = self.keep.sort(dim=-1)
        values = None if self.values is None else _take(self.values, order)
        return replace(self, keep=keep, values=values)


class Strategy(BaseModel):
    """A method that chooses which visual tokens remain. Its parameters are pydantic fields, frozen and checked.

    A subclass writes `schedule`; `stage`, if it reads anything; and either `score` (the higher-scored candidates are
    kept) or `select`. An instance holds no state, since one instance serves all samples of all batches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trim: ClassVar[bool] = False
    """Whether dropped tokens are also removed from the KV cache of earlier layers."""
    positions: ClassVar[Literal["original", "compact"]] = "original"
    """Position ids of the tokens after a stage: `original` leaves them as they were, `compact` renumbers them without
    gaps."""
    stochastic: ClassVar[bool] = False
    """Whether answers depend on the seed, so that the strategy runs once for every seed."""
    seed_scope: ClassVar[Literal["sample", "run"]] = "run"
    """Which samples one random draw may affect, for the statistics: `sample` if the strategy draws from
    `view.generator` alone, which is every sample's own; `run` if several samples may share a draw (one mask for a
    whole run), which takes more seeds and gives wider intervals."""
    merges: ClassVar[bool] = False
    """Whether `select` returns new hidden states."""
    budgeted: ClassVar[bool] = True
    """Whether the strategy takes a budget. One that does not runs once."""
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "vmap"
    """How `score` and `select` run for several samples that look alike. `vmap`: once, under `torch.vmap`, or in a loop if
    that fails. `stacked`: once, since they also take tensors with samples as one more dimension in front, and answer
    alike. `loop`: sample by sample, for code with side effects. A subclass that overrides `score` or `select` does not
    inherit it."""
    dial: ClassVar[Dial | None] = None
    """For a strategy that takes no budget because it decides its own counts (`keep` None): the parameter that moves
    them, so that it can be compared at equal work. The layers of its stages must not depend on it."""

    released_dtype: ClassVar[Literal["float32", "bfloat16", "float16"] | None] = None
    """The type of numbers in which the released code decides, where rounding alone changes what is kept; None where it
    changes little, or is not known. Reports warn if a run has another one."""

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        """Command lines write lists with slashes: `layers=1/11/21`."""
        if not isinstance(values, dict):
            return values
        lists = {
            field.alias or name for name, field in cls.model_fields.items() if get_origin(field.annotation) is tuple
        }
        return {k: v.split("/") if k in lists and isinstance(v, str) else v for k, v in values.items()}

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Say before which layers the strategy acts, and how many tokens it keeps there.

        Args:
            depth: The number of decoder layers.
            budget: The budget. `budget.visual` is the number of visual tokens of the sample.

        Returns:
            (layer, keep) of every stage, by ascending layer. An empty sequence prunes nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} has no schedule()")

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Describe a stage of the schedule, with everything that `score` or `select` reads there.

        Args:
            layer: The decoder layer before which the stage acts.
            keep: How many tokens it keeps, from `schedule`.
            index: Its number in the schedule, from 0.
        """
        return Stage(layer, keep)

    def heeds_padding(self, words: int) -> bool:
        """Whether `score` and `select` leave out what `view.words` and `view.phrase_words` mark as padding.

        If so, samples whose questions have unlike lengths are selected together. A subclass that overrides `score` or
        `select` does not inherit it.

        Args:
            words: How many tokens of text the sample has after its visual ones.
        """
        return False

    def turn_dial(self, value: float) -> Self:
        """Return the same strategy with its dial at a value.

        Raises:
            StrategyError: If it declares no dial, or the dial names no field.
        """
        name = self.dial.parameter if self.dial else ""
        if name not in type(self).model_fields:
            raise StrategyError(f"{type(self).__name__}: its dial '{name}' is not a parameter of it")
        return self.model_copy(update={name: value})

    @property
    def parts(self) -> Sequence[BaseModel]:
        """What the answers depend on: the strategy itself, or the parts that it is composed of."""
        return (self,)

    def trims(self, depth: int) -> bool:
        """Whether it removes dropped tokens from earlier KV caches in a decoder of `depth` layers; by default `trim`."""
        return self.trim

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        """Return the stages of the schedule."""
        return [self.stage(layer, keep, j) for j, (layer, keep) in enumerate(self.schedule(depth, budget))]

    def score(self, view: View) -> Tensor:
        """Score the candidates, of which the `view.k` highest are kept. Ties go to the earlier position.

        Args:
            view: The candidates and what the stage asked for.

        Returns:
            [n] scores without NaN.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither score() nor select()")

    def select(self, view: View) -> Selection:
        """Choose what to keep; by default, the `view.k` candidates with the highest scores.

        Args:
            view: The candidates and what the stage asked for.

        Raises:
            StrategyError: If `score` does not return a tensor of shape [n].
        """
        score = self.score(view)
        if score.shape != view.alive.shape:
            raise StrategyError(f"score() must return a tensor of shape [{view.n}], not {list(score.shape)}")
        return Selection(top(score, view.k), score=score)


class Merger(BaseModel):
    """A way to merge what any strategy drops into what it keeps, named after a plus sign: `fastv+merge`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def merge(self, states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Merge the dropped candidates into the kept ones.

        Args:
            states: [n, C] hidden states of the candidates.
            sizes: [n] how many tokens each of them stands for.
            keep: [k] indices of the candidates that are kept, ascending.

        Returns:
            States [k, C] and sizes [k] of the kept candidates.
        """
        raise NotImplementedError(f"{type(self).__name__} has no merge()")

    def apply(self, selection: Selection, view: View) -> Selection:
        """Return the selection with its dropped tokens merged in. Sizes are carried to the sample's later stages."""
        selection = selection.ascending().to_indices()
        states = view.hidden[view.stage.layer]
        sizes = view.memo["sizes"] if "sizes" in view.memo else states[:, 0].float().new_ones(view.n)
        values, view.memo["sizes"] = self.merge(states, sizes, selection.keep)
        return replace(selection, values=values)


def find_declaring(strategy: Strategy, name: str) -> type:
    """Return the class that declares something of `score` and `select`, or that overrides them without declaring it."""
    return next(kind for kind in type(strategy).__mro__ if {name, "score", "select"} & vars(kind).keys())


def may_pad(strategy: Strategy, words: int) -> bool:
    """Whether so many words may be padded for the strategy, as the class that wrote its code declares it."""
    return "heeds_padding" in vars(find_declaring(strategy, "heeds_padding")) and strategy.heeds_padding(words)


def top(score: Tensor, k: int) -> Tensor:
    """Return the indices [..., k] of the k highest scores [..., n], ascending. Ties go to the earlier position."""
    return score.argsort(dim=-1, descending=True, stable=True)[..., :k].sort(dim=-1).values


def _take(values: Tensor, index: Tensor) -> Tensor:
    """The entries at index [..., k] of values [..., n, C]."""
    index = index.to(values.device)
    if index.ndim == 1:
        return values.index_select(0, index)  # whole rows at once: many times faster than gather()
    return values.gather(-2, index.unsqueeze(-1).expand(*index.shape, values.shape[-1]))

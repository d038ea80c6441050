"""The one interface of a pruning or merging method. Knows no model.

A strategy says before which decoder layers how many visual tokens stay (`schedule`), what it wants to see there (`stage`),
and gives every candidate a score (`score`). It never sees the model, the batch or the cache: the engine does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from tokenbench.contract.lattice import Grid
from tokenbench.errors import StrategyError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tokenbench.contract.budget import Budget
    from tokenbench.engine.frame import Frame

__all__ = ["Attn", "Keep", "Merger", "Selection", "Signal", "Stage", "Strategy", "View"]

# A number of tokens, a share of those the sample began with, or None: the method decides.
Keep = int | float | Fraction | None
Rows = Literal["last", "null", "prior", "question", "question[:-1]"]


@dataclass(frozen=True)
class Attn:
    """A request for softmax rows of decoder layer `layer`.

    rows: which queries: `last` prompt token, `null` (the first token after the visual tokens), `question` (all tokens
        after them), the question without its last token, or `prior`: the last prompt token in a second forward without
        the question, where it stands right after the visual tokens.
    peek: ask the layer before it runs, on the candidates of a stage that lies before it.
    """

    layer: int
    rows: Rows = "last"
    peek: bool = False


@dataclass(frozen=True)
class Signal:
    """A request for what the vision encoder knew of every token. A token of several patches has their mean.

    kind: `cls`: attention of the frame's [CLS], mean over heads; an encoder without one (Qwen-VL) answers with
            `received`: the mean attention a patch gets from all patches it shares a window with, 1 being the average;
        `keys`: [n, D] keys, mean over heads;
        `features`: [n, C'] what the projector reads, a token's patches side by side (`layer` plays no part).
    layer: encoder layer; negative ones count from the last.
    """

    kind: Literal["cls", "received", "keys", "features"]
    layer: int = -2


@dataclass(frozen=True)
class Stage:
    """One place where visual tokens are dropped or merged: before decoder layer `layer` (0 = before the LLM).

    keep: tokens to keep (int), or a share of the tokens the sample began with; None = the method decides.
    at_most: the method may keep fewer.
    hidden, text: depths at which `select` reads hidden states of the candidates and of the question (depth l = input of
        decoder layer l).
    keys: decoder layers whose keys it reads. attention: softmax rows it reads. signals: what it reads of the encoder.
    rerun: share of the vision encoder's layers after which it runs the rest once more, on fewer tokens. pixels: it encodes
        a smaller image.
    """

    layer: int
    keep: Keep
    hidden: tuple[int, ...] = ()
    text: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    attention: tuple[Attn, ...] = ()
    signals: tuple[Signal, ...] = ()
    rerun: float | None = None
    pixels: bool = False
    at_most: bool = False

    @property
    def blind(self) -> bool:
        """Whether it reads nothing that depends on what follows the visual tokens."""
        return not (self.text or self.keys or self.attention)


@dataclass
class View:
    """What one stage sees of ONE sample: the n candidates that are still there, and what the stage asked for.

    n0: visual tokens the sample began with.
    alive: [n] their ordinals among these, ascending.
    grids: the lattice of every image or video of the sample, in order; their tokens add up to n0.
    stage, index: the stage, and its number in the schedule. k: how many tokens to keep.
    hidden: {depth: [n, C]}. text: {depth: [m, C]}, the m tokens after the visual ones.
    keys, text_keys: {layer: [n, D]} and {layer: [m, D]}, as attention uses them (after position embeddings).
    attention: {request: [heads, rows, n]}, float32, softmaxed over everything the query may see.
    signals: {request: [n] or [n, D]}, float32.
    frames: what the vision encoder saw, frame by frame; only for stages that ask for signals, a rerun or pixels.
    norm: the decoder's final norm, [.., C] -> [.., C].
    generator: random numbers of this sample alone. memo: carries what the method wants from stage to stage.
    """

    n0: int
    alive: Tensor
    grids: tuple[Grid, ...]
    stage: Stage
    index: int
    k: int
    hidden: dict[int, Tensor]
    text: dict[int, Tensor]
    keys: dict[int, Tensor]
    text_keys: dict[int, Tensor]
    attention: dict[Attn, Tensor]
    signals: dict[Signal, Tensor]
    frames: Sequence[Frame]
    norm: Callable[[Tensor], Tensor]
    generator: torch.Generator
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of candidates."""
        return len(self.alive)

    def items(self) -> Iterator[tuple[Grid, slice]]:
        """Every image or video with its slice of the candidates; valid while nothing has been dropped."""
        if self.n != self.n0:
            raise ValueError("the lattice is broken once tokens were dropped: use items() in the first stage only")
        start = 0
        for grid in self.grids:
            yield grid, slice(start, start + grid.tokens)
            start += grid.tokens

    def lattices(self) -> Iterator[tuple[Grid, slice]]:
        """The same frame by frame: grids with t = 1."""
        for grid, item in self.items():
            each = grid.tokens // grid.t
            for start in range(item.start, item.stop, each):
                yield Grid(1, grid.h, grid.w, grid.lead), slice(start, start + each)

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features, as the signal has them, through the model's projector: [m, C]."""
        return self.frames[0].project(features)


@dataclass
class Selection:
    """What a stage keeps: `keep` [k], ascending indices into the candidates; `values` [k, C], new hidden states of the
    kept tokens (a merge), or None to leave them as they are; `score` [n], what they were ranked by, to be held against NaN."""

    keep: Tensor
    values: Tensor | None = None
    score: Tensor | None = None


class Strategy(BaseModel):
    """A method that chooses which visual tokens remain. Its parameters are its pydantic fields, frozen and checked.

    A subclass writes `schedule`, `stage` if it reads anything, and either `score` (the higher-scored candidates are kept)
    or `select`. An instance holds no state: one instance serves all rows of all batches.

    trim: the tokens dropped are also removed from the KV cache of earlier layers.
    positions: position ids of what follows a stage: "original", or "compact" (renumbered without gaps).
    stochastic: its answers depend on the seed, so that it runs once for every seed.
    seed_scope: what one draw may move, for the statistics: "sample" if it draws from `view.generator` alone, which is every sample's own;
        "run" if a draw may be shared by several samples (one mask for a whole run), which takes more seeds and wider intervals.
    merges: `select` returns new hidden states.
    budgeted: it takes a budget; one that does not runs once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trim: ClassVar[bool] = False
    positions: ClassVar[Literal["original", "compact"]] = "original"
    stochastic: ClassVar[bool] = False
    seed_scope: ClassVar[Literal["sample", "run"]] = "run"
    merges: ClassVar[bool] = False
    budgeted: ClassVar[bool] = True

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
        """(layer, keep) of every stage in a decoder of `depth` layers, in ascending order of layers.

        `budget.visual` says how many visual tokens the sample has.
        """
        raise NotImplementedError(f"{type(self).__name__} has no schedule()")

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Stage number `index`, before decoder layer `layer`, with all that `select` reads there."""
        return Stage(layer, keep)

    @property
    def parts(self) -> Sequence[BaseModel]:
        """What its answers depend on: itself, or what it is composed of."""
        return (self,)

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        """The schedule's stages."""
        return [self.stage(layer, keep, j) for j, (layer, keep) in enumerate(self.schedule(depth, budget))]

    def score(self, view: View) -> Tensor:
        """[n] scores of the candidates; the `view.k` highest are kept, ties by position."""
        raise NotImplementedError(f"{type(self).__name__} has neither score() nor select()")

    def select(self, view: View) -> Selection:
        """What to keep of the candidates; by default the top `view.k` of `score`.

        Raises StrategyError for scores of another shape than [n].
        """
        score = self.score(view)
        if score.shape != (view.n,):
            raise StrategyError(f"score must be [{view.n}], not {list(score.shape)}")
        return Selection(top(score, view.k), score=score)


class Merger(BaseModel):
    """A way to merge what any strategy drops into what it keeps, named after a plus sign: `fastv+merge`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def merge(self, states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """States [n, C] of the candidates, sizes [n] (how many tokens each stands for) and keep [k]: to [k, C] and [k]."""
        raise NotImplementedError(f"{type(self).__name__} has no merge()")

    def apply(self, selection: Selection, view: View) -> Selection:
        """Return the selection with what it drops merged in. Sizes are carried to the sample's later stages."""
        states = view.hidden[view.stage.layer]
        sizes = view.memo["sizes"] if "sizes" in view.memo else states[:, 0].float().new_ones(view.n)
        values, view.memo["sizes"] = self.merge(states, sizes, selection.keep)
        return replace(selection, values=values)


def top(score: Tensor, k: int) -> Tensor:
    """[k] ascending indices of the k highest scores [n]; equal scores are taken in order of position."""
    return score.argsort(descending=True, stable=True)[:k].sort().values

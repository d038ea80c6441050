"""The one interface of a pruning or merging method. Knows no model.

A strategy says before which decoder layers how many visual tokens stay (`schedule`), what it wants to see there
(`stage`), and gives every candidate a score (`score`). It never sees the model, the batch or the cache: the engine
does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Attn, Keep, Signal, Stage
from tokenbench.errors import StrategyError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tokenbench.contract.budget import Budget

__all__ = [
    "EncodedFrame",
    "EncoderRerun",
    "Merger",
    "Selection",
    "Strategy",
    "View",
    "top",
]


class EncoderRerun(Protocol):
    """A frame on its way through the later layers of the vision encoder once more, with ever fewer tokens."""

    alive: Tensor
    """[m] ordinals of the tokens that are left, within the frame."""
    states: Tensor
    """[m, patches, C] their hidden states."""

    @property
    def remaining(self) -> int:
        """Layers left to run before the projector."""

    def step(self) -> Tensor:
        """Run the next layer and return the products [1 + m, m] of its queries and keys, before the softmax.

        They are the mean over heads and over a token's patches, float32: first of the frame's [CLS] (without one, the
        mean of all tokens), then of every token; -inf between tokens that share no window.
        """

    def keep(self, keep: Tensor, states: Tensor) -> None:
        """Go on with the tokens keep [k], ascending, as states [k, patches, C]."""

    def features(self) -> Tensor:
        """[m, C'] of the tokens that are left, as the projector reads them, float32."""


class EncodedFrame(Protocol):
    """One image, tile or video frame as the vision encoder computed it."""

    @property
    def tokens(self) -> int:
        """How many visual tokens it has."""

    def signal(self, request: Signal) -> Tensor:
        """[n] or [n, D], float32: a signal that the stage asked for."""

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features through the model's projector: [m, C]."""

    def encode_resized(self, h: int, w: int) -> Tensor:
        """[num_prefix_tokens + h * w, C] projected tokens of the frame, encoded from a picture of h x w tokens."""

    def rerun(self, share: float) -> EncoderRerun:
        """The frame after that share of the encoder's layers, for running the rest again."""


@dataclass
class View:
    """What one stage sees of ONE sample: the n candidates that are still there, and what the stage asked for."""

    n0: int
    """Visual tokens that the sample began with."""
    alive: Tensor
    """[n] ordinals of the candidates among these, ascending."""
    grids: tuple[Grid, ...]
    """The lattice of every image or video of the sample, in order; their tokens add up to n0."""
    stage: Stage
    """The stage."""
    index: int
    """Its number in the schedule."""
    k: int
    """How many tokens to keep."""
    hidden: dict[int, Tensor]
    """{depth: [n, C]} hidden states of the candidates."""
    text: dict[int, Tensor]
    """{depth: [m, C]} hidden states of the m tokens after the visual ones."""
    keys: dict[int, Tensor]
    """{layer: [n, D]} keys of the candidates as attention uses them, after position embeddings."""
    text_keys: dict[int, Tensor]
    """{layer: [m, D]} keys of the tokens after the visual ones."""
    attention: dict[Attn, Tensor]
    """{request: [heads, queries, n]}, float32, softmaxed over everything the query may see."""
    signals: dict[Signal, Tensor]
    """{request: [n] or [n, D]}, float32."""
    frames: Sequence[EncodedFrame]
    """What the vision encoder saw, frame by frame; only for stages that ask for signals, a rerun or pixels."""
    norm: Callable[[Tensor], Tensor]
    """The decoder's final norm, [.., C] -> [.., C]."""
    generator: torch.Generator
    """Random numbers of this sample alone."""
    memo: dict[str, Any] = field(default_factory=dict)
    """Carries what the method wants from stage to stage."""

    @property
    def n(self) -> int:
        """Number of candidates."""
        return len(self.alive)

    def items(self) -> Iterator[tuple[Grid, slice]]:
        """Every image or video with its slice of the candidates; valid while nothing has been dropped."""
        if self.n != self.n0:
            raise ValueError(
                "items() works in the first stage only: after tokens have been dropped, no whole lattice is left"
            )
        start = 0
        for grid in self.grids:
            yield grid, slice(start, start + grid.tokens)
            start += grid.tokens

    def lattices(self) -> Iterator[tuple[Grid, slice]]:
        """The same frame by frame: grids with t = 1."""
        for grid, item in self.items():
            each = grid.tokens // grid.t
            for start in range(item.start, item.stop, each):
                yield Grid(1, grid.h, grid.w, grid.num_prefix_tokens), slice(start, start + each)

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features, as the signal has them, through the model's projector: [m, C]."""
        return self.frames[0].project(features)


@dataclass
class Selection:
    """What a stage keeps."""

    keep: Tensor
    """[k] ascending indices into the candidates."""
    values: Tensor | None = None
    """[k, C] new hidden states of the kept tokens (a merge), or None to leave them as they are."""
    score: Tensor | None = None
    """[n] what the candidates were ranked by, to be checked for NaN."""


class Strategy(BaseModel):
    """A method that chooses which visual tokens remain. Its parameters are its pydantic fields, frozen and checked.

    A subclass writes `schedule`, `stage` if it reads anything, and either `score` (the higher-scored candidates are
    kept) or `select`. An instance holds no state: one instance serves all rows of all batches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trim: ClassVar[bool] = False
    """Whether the dropped tokens are also removed from the KV cache of earlier layers."""
    positions: ClassVar[Literal["original", "compact"]] = "original"
    """Position ids of what follows a stage: the original ones, or compact ones, renumbered without gaps."""
    stochastic: ClassVar[bool] = False
    """Whether its answers depend on the seed, so that it runs once for every seed."""
    seed_scope: ClassVar[Literal["sample", "run"]] = "run"
    """What one draw may move, for the statistics: "sample" if it draws from `view.generator` alone, which is every
    sample's own; "run" if several samples may share a draw (one mask for a whole run), which takes more seeds and
    wider intervals."""
    merges: ClassVar[bool] = False
    """Whether `select` returns new hidden states."""
    budgeted: ClassVar[bool] = True
    """Whether it takes a budget. One that does not runs once."""

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

        Raises:
            StrategyError: If the scores are not [n].
        """
        score = self.score(view)
        if score.shape != (view.n,):
            raise StrategyError(f"score() must return a tensor of shape [{view.n}], not {list(score.shape)}")
        return Selection(top(score, view.k), score=score)


class Merger(BaseModel):
    """A way to merge what any strategy drops into what it keeps, named after a plus sign: `fastv+merge`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def merge(self, states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Merge candidates that are dropped into those that are kept.

        Args:
            states: [n, C] of the candidates.
            sizes: [n] how many tokens each of them stands for.
            keep: [k] those that stay.

        Returns:
            States [k, C] and sizes [k] of those that stay.
        """
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

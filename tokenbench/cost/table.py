"""What strategies cost on a model, from its sizes and their schedules alone: nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.cells import VANILLA
from tokenbench.cost.matching import is_calibrated, match
from tokenbench.cost.realised import realised_bytes, realised_flops
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.errors import InfeasibleError, UsageError
from tokenbench.models.source import configuration
from tokenbench.registry.names import parse_strategy
from tokenbench.tables import Column, Table, text_table

if TYPE_CHECKING:
    from tokenbench.contract.lattice import Grid
    from tokenbench.contract.sizes import ModelSize
    from tokenbench.contract.stage import Stage
    from tokenbench.registry.names import NamedStrategy
    from tokenbench.registry.plugins import Registry

__all__ = ["BYTES", "CostRow", "CostTable", "Prompt", "costs", "foresee", "foresee_prompt"]

TEXT = 50
"""Text tokens of a typical prompt."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
BOUND = "≤: at most; the strategy may keep, encode or run again fewer tokens than its schedule says."
LATENCY = "FLOPs are not latency: a method with fewer FLOPs can be the slower one."


@dataclass(frozen=True)
class Prompt:
    """The prompt whose cost is computed."""

    grids: tuple[Grid, ...]
    """The lattices of the images or videos that it shows."""
    text: int
    """Its other tokens."""
    dtype: str
    """The type of the numbers, which decides the bytes of the KV cache."""

    @property
    def visual(self) -> int:
        """Its visual tokens."""
        return sum(grid.tokens for grid in self.grids)

    def __str__(self) -> str:
        images = [(_shape(grid), len(list(same))) for grid, same in groupby(self.grids)]
        shapes = ", ".join(f"{times} of {shape}" if times > 1 else shape for shape, times in images)
        return f"{self.visual} visual tokens ({shapes}) and {self.text} text tokens"


@dataclass(frozen=True)
class CostRow:
    """The cost of one strategy at one budget. Percentages are of vanilla's cost."""

    strategy: str
    """The strategy, with its parameters."""
    budget: str
    """The budget, as the user wrote it."""
    tokens_per_layer: tuple[int, ...]
    """Visual tokens that each decoder layer computes."""
    flops: float
    """FLOPs of encoding and prefill."""
    flops_percent: float
    """The same as a percentage of vanilla's."""
    kv_bytes: float
    """Bytes of the KV cache after the prefill."""
    kv_percent: float
    """The same as a percentage of vanilla's."""
    upper_bound: bool = False
    """Whether the strategy may keep, encode or run again fewer tokens than its schedule says, so that the costs are
    upper bounds."""

    @property
    def mean_tokens(self) -> float:
        """Mean of `tokens_per_layer`."""
        return sum(self.tokens_per_layer) / len(self.tokens_per_layer)

    @property
    def layers(self) -> str:
        """How many tokens run through how many layers, as in ``576x2 192x30``."""
        runs = [(tokens, len(list(same))) for tokens, same in groupby(self.tokens_per_layer)]
        return " ".join(f"{tokens}x{layers}" for tokens, layers in runs)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self) | {"mean_tokens": self.mean_tokens}


COLUMNS: tuple[Column[CostRow], ...] = (
    Column("strategy", lambda row: row.strategy, key=True),
    Column("budget", lambda row: row.budget, key=True),
    Column("visual tokens x layers", lambda row: row.layers, left=True),
    Column("mean", lambda row: f"{row.mean_tokens:.1f}"),
    Column("TFLOPs", lambda row: f"{'≤ ' if row.upper_bound else ''}{row.flops / 1e12:.3f}"),
    Column("%", lambda row: f"{row.flops_percent:.1f}"),
    Column("KV MiB", lambda row: f"{row.kv_bytes / 2**20:.1f}"),
    Column("%", lambda row: f"{row.kv_percent:.1f}"),
)


@dataclass(frozen=True)
class CostTable:
    """The costs of strategies on one model and prompt, vanilla first."""

    model: str
    """The model, as the user named it."""
    prompt: Prompt
    """The prompt whose cost is computed."""
    rows: tuple[CostRow, ...]
    """One row for every strategy and budget, vanilla first."""
    infeasible: tuple[str, ...] = ()
    """Sentences on what has no schedule, and why."""

    @property
    def assumptions(self) -> str:
        """What is counted, in one line."""
        return (
            f"{self.model}, {self.prompt}. FLOPs: the matrix products of encoder, projector, decoder and head in one "
            "prefill, two a multiply-accumulate, with layers a strategy asks ahead or runs again, without its own arithmetic. "
            f"KV: the cache after it, in {self.prompt.dtype}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": self.model,
            "visual_tokens": self.prompt.visual,
            "text_tokens": self.prompt.text,
            "dtype": self.prompt.dtype,
            "assumptions": self.assumptions,
            "latency": LATENCY,
            "costs": [row.to_json() for row in self.rows],
            "infeasible": list(self.infeasible),
        }

    def __str__(self) -> str:
        """Return the table for the terminal, with what the numbers rest on."""
        table = text_table(Table.of("", COLUMNS, self.rows))
        bound = [BOUND] if any(row.upper_bound for row in self.rows) else []
        return "\n".join([table, *self.infeasible, "", self.assumptions, *bound, LATENCY])


def costs(
    model: str,
    strategies: Sequence[str],
    budgets: Sequence[str],
    registry: Registry,
    visual_tokens: int | None = None,
    text_tokens: int = TEXT,
    dtype: str = "float16",
    matched: str = "nominal",
) -> CostTable:
    """Compute the cost of every strategy at every budget on a model, all given as a user writes them.

    Args:
        model: The model.
        strategies: The strategies, with their parameters.
        budgets: The budgets of the strategies that take one.
        registry: The registered plug-ins.
        visual_tokens: Visual tokens of the prompt; by default those of a common input of the model.
        text_tokens: Its other tokens.
        dtype: The type of the numbers in the KV cache.
        matched: How budgets count: `nominal`, or what is made equal (`tokens`, `flops`).

    Raises:
        UsageError: If a name is unknown, the model never has that number of visual tokens, its decoder cannot run a
            schedule, or the cost of its architecture is not known.
        MachineError: If the model's configuration cannot be read.
    """
    named = {method.name: method for method in (parse_strategy(text, registry) for text in strategies)}
    named.pop(VANILLA, None)
    if not named or not budgets:
        raise UsageError(
            "give at least one strategy other than vanilla, and one budget",
            f"strategies: {', '.join(registry.names('strategies'))}",
        )
    parsed = [Budget.parse(budget) for budget in budgets]
    prompt, size = foresee_prompt(model, registry, visual_tokens, text_tokens, dtype)
    found = list(_rows(size, prompt, [*named.values()], parsed, matched))
    rows = tuple(row for row in found if isinstance(row, CostRow))
    return CostTable(model, prompt, rows, tuple(row for row in found if isinstance(row, str)))


def _rows(
    size: ModelSize, prompt: Prompt, strategies: Sequence[NamedStrategy], budgets: Sequence[Budget], matched: str
) -> Iterator[CostRow | str]:
    """Compute vanilla, then every strategy at every budget; a strategy that takes no budget comes once.

    Yields:
        A row, or a sentence on why there is none.
    """
    depth, number = size.decoder.layers, BYTES[prompt.dtype]
    everything = RowTrace(prompt.visual, prompt.text, depth, grids=prompt.grids)
    flops, kv = realised_flops(everything, size), realised_bytes(everything, size, number)
    yield CostRow(VANILLA, str(Budget.everything()), tuple(everything.tokens_per_layer), flops, 100.0, kv, 100.0)
    for named in strategies:
        if is_calibrated(matched, named.strategy):
            yield (
                f"{named.name} decides its own counts: a run calibrates it on samples until its cost is the budget's on average, which "
                "cannot be foreseen"
            )
            continue
        for budget in budgets if named.strategy.budgeted else [Budget.none()]:
            fit = match(matched, named.strategy, budget, depth, size)
            plan = RowPlan.make(named.strategy, budget, depth, fit=fit, name=named.name)
            try:
                trace, stages = foresee(plan, prompt), plan.stages(prompt.visual, prompt.text)
            except InfeasibleError as error:
                yield f"{named.name} at {budget} is infeasible: {error}"
                continue
            work, kept = realised_flops(trace, size), realised_bytes(trace, size, number)
            yield CostRow(
                strategy=named.name,
                budget=str(budget),
                tokens_per_layer=tuple(trace.tokens_per_layer),
                flops=work,
                flops_percent=100 * work / flops,
                kv_bytes=kept,
                kv_percent=100 * kept / kv,
                upper_bound=any(map(_says_at_most, stages)),
            )


def foresee_prompt(
    model: str, registry: Registry, visual_tokens: int | None = None, text_tokens: int = TEXT, dtype: str = "float16"
) -> tuple[Prompt, ModelSize]:
    """Return a typical prompt of a model, and the model's sizes. No weights are needed. Takes the arguments of `costs`.

    Raises:
        UsageError: If the name is unknown, the model never has that number of visual tokens, or its cost is not known.
        MachineError: If the model's configuration cannot be read.
    """
    backbone, config = configuration(model, registry)
    try:
        return Prompt(backbone.default_grids(config, visual_tokens), text_tokens, dtype), backbone.size(config)
    except NotImplementedError as error:
        raise UsageError(f"the cost of model '{model}' cannot be computed: {error}") from error


def foresee(plan: RowPlan, prompt: Prompt) -> RowTrace:
    """Return the trace that running the prompt would leave, as far as the schedule says it.

    Raises:
        InfeasibleError: If no schedule does what the plan asks for.
    """
    visual, text = prompt.visual, prompt.text
    trace = RowTrace(visual, text, plan.depth, plan.trim, prompt.grids)
    alive = visual
    for stage in plan.stages(visual, text):
        # The prompt does not tell the question from other text, so that it counts all of it before the last token.
        trace.count_requests(stage, alive, visual + text - 1)
        alive = alive if stage.keep is None else count(stage.keep, visual, alive)
        trace.stages.append((stage.layer, torch.arange(alive)))
    return trace


def _says_at_most(stage: Stage) -> bool:
    """Whether the stage may do with less than can be foreseen."""
    no_question = any(request.extra_layers for request in stage.attention)
    return stage.keep is None or stage.at_most or stage.pixels or stage.rerun is not None or no_question


def _shape(grid: Grid) -> str:
    frame = f"{grid.h} x {grid.w}"
    if grid.num_prefix_tokens:
        frame = f"({grid.num_prefix_tokens} + {frame})"
    return f"{grid.t} x {frame}" if grid.t > 1 else frame

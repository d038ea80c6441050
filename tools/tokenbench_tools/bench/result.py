"""What a protocol found for one model: a row for every way and length, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Any

from tokenbench.comparison.wording import count_of
from tokenbench.tables import Column, Table, text_table
from tokenbench_tools.bench.load_result import LOAD_COLUMNS, LoadRow
from tokenbench_tools.bench.protocol import FEW, STOCK, Protocol
from tokenbench_tools.bench.ratio import BreakEven, Ratio, break_even, ratio

if TYPE_CHECKING:
    from tokenbench_tools.bench.passes import Passes

__all__ = ["Bench", "BenchRow", "summarise"]


@dataclass(frozen=True)
class BenchRow:
    """One way on prompts of one length.

    Seconds are geometric means over launches, and ratios are to the stock model's seconds.
    """

    strategy: str
    """The strategy, as the user wrote it."""
    budget: str
    """The budget; `stock` for the stock model."""
    visual_tokens: int
    """Visual tokens in each prompt."""
    ttft_seconds: float
    """Time from pixels and ids to the logits of the first new token, vision encoder included; the median of a launch's
    passes."""
    ttft_p95_seconds: float
    """The 95th percentile of the same."""
    decode_seconds: float
    """Time of one further token; the median of a launch's passes."""
    tokens_per_second: float
    """New tokens per second, prefill included."""
    selection_seconds: float
    """The part of a prefill that only the strategy needs: its stages, attention weights, and whatever runs once more
    for it."""
    kv_bytes: int
    """Bytes of the KV cache after the prefill."""
    peak_bytes: int
    """Bytes of memory at the peak: on a GPU what torch allocated, else the resident set of the process."""
    ttft_ratio: Ratio
    """Time to the first token; below 1 is faster."""
    decode_ratio: Ratio
    """Time of one further token; below 1 is faster."""
    total_ratio: Ratio
    """Time of all tokens, the inverse of the ratio of throughputs."""
    joules_per_prompt: float | None = None
    """Energy of the GPU for one prompt with all its new tokens; None where nothing tells it."""

    @property
    def selection_percent(self) -> float:
        """Selection as a percentage of the time to the first token."""
        return 100 * self.selection_seconds / self.ttft_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self) | {"selection_percent": self.selection_percent}


COLUMNS: tuple[Column[BenchRow], ...] = (
    Column("strategy", lambda row: row.strategy, key=True),
    Column("budget", lambda row: row.budget, key=True),
    Column("visual", lambda row: str(row.visual_tokens)),
    Column("TTFT ms", lambda row: f"{1000 * row.ttft_seconds:.1f}"),
    Column("x vanilla", lambda row: str(row.ttft_ratio)),
    Column("ms/token", lambda row: f"{1000 * row.decode_seconds:.2f}"),
    Column("x vanilla", lambda row: str(row.decode_ratio)),
    Column("tokens/s", lambda row: f"{row.tokens_per_second:.1f}"),
    Column("select ms", lambda row: f"{1000 * row.selection_seconds:.2f}"),
    Column("%", lambda row: f"{row.selection_percent:.1f}"),
    Column("KV MiB", lambda row: f"{row.kv_bytes / 2**20:.1f}"),
    Column("peak MiB", lambda row: f"{row.peak_bytes / 2**20:.0f}"),
)
ENERGY = Column[BenchRow](
    "J/prompt", lambda row: "" if row.joules_per_prompt is None else f"{row.joules_per_prompt:.2f}"
)


@dataclass(frozen=True)
class Bench:
    """What was measured of one model."""

    protocol: Protocol
    """What was measured, and how often."""
    rows: tuple[BenchRow, ...]
    """One row for every way and length."""
    hardware: dict[str, Any]
    """The machine."""
    conditions: tuple[dict[str, Any], ...]
    """The state of the machine after every launch, such as clocks and temperature."""
    infeasible: tuple[str, ...] = ()
    """Sentences on the ways that were left out, and why."""
    load: tuple[LoadRow, ...] = ()
    """One row for every way, length and number of clients; empty if no load was measured."""

    @property
    def break_even(self) -> dict[str, BreakEven | None]:
        """The number of visual tokens from which each way's first token is shown to come earlier, by "strategy at budget"."""
        found = {}
        for way in self.protocol.ways:
            rows = [row for row in self.rows if (row.strategy, row.budget) == way]
            found[f"{way.strategy} at {way.budget}"] = break_even([(row.visual_tokens, row.ttft_ratio) for row in rows])
        return found

    @property
    def break_even_clients(self) -> dict[str, BreakEven | None]:
        """The number of clients from which each way is shown to answer more requests, by "strategy at budget, visual tokens"."""
        found = {}
        for way in self.protocol.ways if self.load else ():
            rows = [row for row in self.load if (row.strategy, row.budget) == way]
            for visual in dict.fromkeys(row.visual_tokens for row in rows):
                found[f"{way.strategy} at {way.budget}, {visual} visual tokens"] = break_even(
                    [(row.clients, row.ratio) for row in rows if row.visual_tokens == visual]
                )
        return found

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers must see."""
        given = self.protocol
        weights = "random weights" if given.random_weights else "its own weights"
        weights += f", {given.quantization}" if given.quantization else ""
        depth = f", cut to {given.layers} decoder layers (ratios are not the whole model's)" if given.layers else ""
        device = (
            self.hardware.get("gpu") or f"{self.hardware['cpu']}, {count_of(int(self.hardware['threads']), 'thread')}"
        )
        notes = [
            f"{given.model} ({weights}, {given.dtype}{depth}) on {device}: {count_of(given.rows, 'prompt')} a batch, {count_of(given.text, 'text token')}, "
            f"{count_of(given.new, 'new token')}, {count_of(given.launches, 'launch', 'launches')} of {count_of(given.repetitions, 'pass', 'passes')}.",
            "Ratios are to the stock model (vanilla, stock), below 1 being faster, with 95 % intervals over launches. TTFT "
            "includes the vision encoder. Selection is timed apart and is part of TTFT.",
        ]
        if self.load:
            notes.append(
                f"Under load, every client asks, waits for the whole answer and asks again, {given.repetitions} times. Requests that "
                f"wait are answered in batches of up to {given.batch_of_load} by one stock generate each: there is no continuous batching. "
                "TTFT includes waiting; p99 of fewer than 100 requests is close to the slowest of them."
            )
        if any(row.joules_per_prompt is not None for row in self.rows):
            notes.append(
                "Energy is the mean power that nvidia-smi reports while passes repeat, idle power included, times their duration."
            )
        if given.launches < FEW:
            notes.append(f"Intervals from fewer than {FEW} launches say little.")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": self.protocol.model,
            "protocol": self.protocol.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "break_even": _as_json(self.break_even),
            **({"load": [row.to_json() for row in self.load]} if self.load else {}),
            **({"break_even_clients": _as_json(self.break_even_clients)} if self.load else {}),
            "hardware": self.hardware,
            "conditions": list(self.conditions),
            "infeasible": list(self.infeasible),
            "notes": self.notes,
        }

    def __str__(self) -> str:
        """Return the table for the terminal, with the notes."""
        measured = any(row.joules_per_prompt is not None for row in self.rows)
        tables = [text_table(Table.of("", (*COLUMNS, ENERGY) if measured else COLUMNS, self.rows))]
        tables += ["", text_table(Table.of("", LOAD_COLUMNS, self.load))] if self.load else []
        pays = [_describe(name, found, "visual tokens", "first tokens") for name, found in self.break_even.items()]
        pays += [_describe(name, found, "clients", "answers") for name, found in self.break_even_clients.items()]
        return "\n".join([*tables, *self.infeasible, "", *pays, "", *self.notes])


def _describe(name: str, found: BreakEven | None, unit: str, what: str) -> str:
    """A sentence on where a way begins to be faster."""
    if found is None:
        return f"{name}: no break-even is shown, since intervals contain 1 ({what}, by {unit})"
    if found.bound == "above":
        return f"{name}: slower up to {found.visual:.0f} {unit}, the largest number that was measured"
    if found.bound == "at most":
        return f"{name}: faster from {found.visual:.0f} {unit} on, and perhaps from fewer"
    return f"{name}: faster from {found} {unit} on"


def _as_json(found: dict[str, BreakEven | None]) -> dict[str, Any]:
    return {name: one.to_json() if one else None for name, one in found.items()}


def summarise(
    protocol: Protocol, launches: Sequence[Sequence[Passes]], peaks: dict[tuple[int, int], int]
) -> list[BenchRow]:
    """Compute the rows from the passes of every launch.

    Args:
        protocol: What was measured.
        launches: The passes of each launch, by length in the order of the protocol, the stock model first.
        peaks: {(way, visual tokens): bytes} if memory was measured in processes of its own.
    """
    rows = []
    for number, passes in enumerate(launches[0]):
        stock = next(i for i, p in enumerate(launches[0]) if p.way == 0 and p.visual == passes.visual)
        own, other = [launch[number] for launch in launches], [launch[stock] for launch in launches]
        way = protocol.all_ways[passes.way]
        rows.append(
            BenchRow(
                strategy=way.strategy,
                budget=way.budget,
                visual_tokens=passes.visual,
                ttft_seconds=_mean(list(map(_median_first, own))),
                ttft_p95_seconds=_mean([_p95(one.first) for one in own]),
                decode_seconds=_mean(list(map(_median_further, own))),
                tokens_per_second=protocol.rows * protocol.new / _mean(list(map(_total, own))),
                selection_seconds=0.0 if way == STOCK else fmean(median(one.selecting) for one in own),
                kv_bytes=passes.cache,
                peak_bytes=peaks.get((passes.way, passes.visual), max(one.peak for one in own)),
                ttft_ratio=ratio(list(map(_median_first, own)), list(map(_median_first, other))),
                decode_ratio=ratio(list(map(_median_further, own)), list(map(_median_further, other))),
                total_ratio=ratio(list(map(_total, own)), list(map(_total, other))),
                joules_per_prompt=_joules(own, protocol.rows),
            )
        )
    return rows


def _joules(own: Sequence[Passes], rows: int) -> float | None:
    told = [one.joules for one in own if one.joules is not None]
    return fmean(told) / rows if told else None


def _median_first(passes: Passes) -> float:
    return median(passes.first)


def _median_further(passes: Passes) -> float:
    return median(seconds for steps in passes.further for seconds in steps)


def _total(passes: Passes) -> float:
    """Mean time of all tokens of a pass."""
    return fmean(first + sum(steps) for first, steps in zip(passes.first, passes.further, strict=True))


def _p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


def _mean(values: Sequence[float]) -> float:
    """Geometric mean."""
    return exp(fmean(map(log, values)))

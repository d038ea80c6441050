"""What a protocol found of one model under load: a row for every way, length and number of clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Any

from tokenbench.tables import Column
from tokenbench_tools.bench.ratio import Ratio, ratio

if TYPE_CHECKING:
    from tokenbench_tools.bench.load import Served
    from tokenbench_tools.bench.protocol import Protocol

__all__ = ["LOAD_COLUMNS", "LoadRow", "summarise_load"]


@dataclass(frozen=True)
class LoadRow:
    """One way under one load, on prompts of one length. Numbers are geometric means over launches."""

    strategy: str
    """The strategy, as the user wrote it."""
    budget: str
    """The budget; `stock` for the stock model."""
    visual_tokens: int
    """Visual tokens in each prompt."""
    clients: int
    """Clients that ask, wait for the answer and ask again."""
    requests_per_second: float
    """Answers per second, all clients together."""
    ttft_p50_seconds: float
    """Half of the requests have their first token within this time, waiting included."""
    ttft_p99_seconds: float
    """99 % of the requests have it within this one."""
    ratio: Ratio
    """Time per request to the stock model's under the same load; below 1 is faster."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


LOAD_COLUMNS: tuple[Column[LoadRow], ...] = (
    Column("strategy", lambda row: row.strategy, key=True),
    Column("budget", lambda row: row.budget, key=True),
    Column("visual", lambda row: str(row.visual_tokens)),
    Column("clients", lambda row: str(row.clients)),
    Column("requests/s", lambda row: f"{row.requests_per_second:.2f}"),
    Column("time x vanilla", lambda row: str(row.ratio)),
    Column("TTFT p50 ms", lambda row: f"{1000 * row.ttft_p50_seconds:.1f}"),
    Column("TTFT p99 ms", lambda row: f"{1000 * row.ttft_p99_seconds:.1f}"),
)


def summarise_load(protocol: Protocol, launches: Sequence[Sequence[Served]]) -> list[LoadRow]:
    """Compute the rows from what every launch served.

    Args:
        protocol: What was measured.
        launches: What each launch served, in the same order, the stock model of every load and length first.
    """
    rows = []
    for number, served in enumerate(launches[0] if launches else ()):
        alike = (0, served.visual, served.clients)
        stock = next(i for i, one in enumerate(launches[0]) if (one.way, one.visual, one.clients) == alike)
        own, other = [launch[number] for launch in launches], [launch[stock] for launch in launches]
        way = protocol.all_ways[served.way]
        rows.append(
            LoadRow(
                strategy=way.strategy,
                budget=way.budget,
                visual_tokens=served.visual,
                clients=served.clients,
                requests_per_second=len(served.first) / _mean([one.seconds for one in own]),
                ttft_p50_seconds=_mean([median(one.first) for one in own]),
                ttft_p99_seconds=_mean([_p99(one.first) for one in own]),
                ratio=ratio([one.seconds for one in own], [one.seconds for one in other]),
            )
        )
    return rows


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


def _mean(values: Sequence[float]) -> float:
    """Geometric mean."""
    return exp(fmean(map(log, values)))

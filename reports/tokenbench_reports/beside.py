"""What stands beside the measured accuracy: time and memory on the machine at hand, and what papers print."""

from collections.abc import Callable, Mapping
from typing import Any

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.wording import NOTHING, interval, number, percent
from tokenbench.contract.cells import VANILLA
from tokenbench.tables import Column, Entry, Table
from tokenbench_reports.claims import NARROW, SAME_IMAGES, PublishedMean, Reproduction, compare_claims, published_means

MIB = 2**20


def on_this_hardware(comparison: Comparison, model: str, run: Mapping[str, object]) -> list[Table]:
    """Time and memory of every way ``tokenbench bench -o RUN`` measured, beside the accuracy kept.

    There is no table if it measured nothing.
    """
    benches = run.get("bench")
    own = [one for one in benches if one["model"] == model] if isinstance(benches, list) else []
    return [table for one in own for table in (_bench_table(comparison, one), *_load_table(comparison, one))]


def _retained(comparison: Comparison, bench: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Entry]:
    """What reads the accuracy kept of a row of a measurement."""
    cells = comparison.summary
    cells = cells[(cells["model"] == bench["model"]) & (cells["task"] == MEAN)]
    retention = {(cell["strategy"], cell["budget"]): cell["retention"] for cell in cells.to_dict("records")}

    def retained(row: Mapping[str, Any]) -> Entry:
        value = 1.0 if row["strategy"] == VANILLA else retention.get((row["strategy"], row["budget"]), float("nan"))
        return Entry.number(percent(value), value)

    return retained


def _load_table(comparison: Comparison, bench: Mapping[str, Any]) -> list[Table]:
    """What clients saw under load; no table if no load was measured."""
    rows = bench.get("load") or []
    table = Table.of(
        "Under load, on this hardware",
        [
            Column("strategy", lambda row: row["strategy"], key=True),
            Column("budget", lambda row: row["budget"], key=True),
            Column("accuracy kept %", _retained(comparison, bench)),
            Column("visual tokens", lambda row: Entry(str(row["visual_tokens"]), row["visual_tokens"])),
            Column("clients", lambda row: Entry(str(row["clients"]), row["clients"])),
            Column("requests/s", lambda row: _scale_entry(row["requests_per_second"], 1, 2)),
            Column("time × vanilla [95 % CI]", lambda row: _ratio(row, "ratio")),
            Column("TTFT p50, ms", lambda row: _scale_entry(row["ttft_p50_seconds"], 1000)),
            Column("TTFT p99, ms", lambda row: _scale_entry(row["ttft_p99_seconds"], 1000)),
        ],
        rows,
        caption="What clients see of a server that answers in batches, beside the accuracy kept by every strategy",
    )
    return [table] if rows else []


def _joules(row: Mapping[str, Any]) -> Entry:
    value = row.get("joules_per_prompt")
    return Entry(NOTHING, float("nan"), tone="neutral") if value is None else _scale_entry(value, 1, 2)


def _bench_table(comparison: Comparison, bench: Mapping[str, Any]) -> Table:
    def break_even(row: Mapping[str, Any]) -> Entry:
        pays = bench["break_even"].get(f"{row['strategy']} at {row['budget']}")
        if pays is None:
            return Entry(NOTHING, float("nan"), tone="neutral")
        return Entry(f"{pays['bound']} {pays['visual']:.0f}", pays["visual"])

    return Table.of(
        "Measured on this hardware",
        [
            Column("strategy", lambda row: row["strategy"], key=True),
            Column("budget", lambda row: row["budget"], key=True),
            Column("accuracy kept %", _retained(comparison, bench)),
            Column("visual tokens", lambda row: Entry(str(row["visual_tokens"]), row["visual_tokens"])),
            Column("TTFT, ms", lambda row: _scale_entry(row["ttft_seconds"], 1000)),
            Column("× vanilla [95 % CI]", lambda row: _ratio(row, "ttft_ratio")),
            Column("TPOT, ms", lambda row: _scale_entry(row["decode_seconds"], 1000, 2)),
            Column("× vanilla [95 % CI]", lambda row: _ratio(row, "decode_ratio")),
            Column("KV, MiB", lambda row: _scale_entry(row["kv_bytes"], 1 / MIB)),
            Column("peak, MiB", lambda row: _scale_entry(row["peak_bytes"], 1 / MIB, 0)),
            *(
                [Column("energy, J/prompt", _joules)]
                if any(row.get("joules_per_prompt") for row in bench["rows"])
                else []
            ),
            Column("break-even, visual tokens", break_even, left=True),
        ],
        bench["rows"],
        caption="Time and memory of every strategy, beside the accuracy that it keeps",
        note=" ".join([*bench["notes"], *bench["infeasible"]]),
    )


def _scale_entry(value: float, factor: float, digits: int = 1) -> Entry:
    return Entry.number(number(factor * value, digits), value)


def _ratio(row: Mapping[str, Any], name: str) -> Entry:
    """A ratio to the stock model's; without an interval where one launch gave none."""
    if (row["strategy"], row["budget"]) == (VANILLA, "stock"):
        return Entry(NOTHING, 1.0, tone="neutral")
    estimate, low, high = (row[name][part] for part in ("estimate", "low", "high"))
    text = f"{estimate:.3f}"
    return Entry(text if low is None or high is None else f"{text} [{low:.3f}, {high:.3f}]", estimate)


def published(comparison: Comparison, model: str, run: Mapping[str, object]) -> list[Table]:
    """What papers print for these cells, beside what was measured.

    There is no table if the ledger holds nothing of the kind. If it holds nothing on this model, what it holds on other
    models stands here instead, and says so.
    """
    claims = compare_claims(comparison, run)
    claims = claims[claims["model"] == model]
    if claims.empty:
        return _elsewhere(comparison, model)
    table = Table.of(
        "Published accuracy kept % beside measured",
        [
            Column("strategy", lambda claim: str(claim["strategy"]), key=True),
            Column("budget", lambda claim: str(claim["budget"]), key=True),
            Column("task", lambda claim: str(claim["task"]), key=True),
            Column("published", lambda claim: Entry.number(percent(claim["claimed"]), claim["claimed"])),
            Column("measured [limits]", _with_limits),
            Column("source", lambda claim: str(claim["source"])),
            Column("verdict", _reproduction, left=True),
        ],
        claims.to_dict("records"),
        note=_yardstick(set(claims["yardstick"])),
    )
    return [table]


def _elsewhere(comparison: Comparison, model: str) -> list[Table]:
    """What papers print of the same methods on other models, beside what was measured on this one."""
    found = published_means(comparison, model)
    if not found:
        return []
    cells = comparison.summary
    cells = cells[(cells["model"] == model) & (cells["task"] == MEAN)]
    measured = {(cell["strategy"], cell["budget"]): cell for cell in cells.to_dict("records")}

    def here(one: PublishedMean) -> Entry:
        cell = measured[one.strategy, one.budget]
        text = interval(cell["retention"], cell["retention_low"], cell["retention_high"])
        return Entry.number(text, cell["retention"])

    budgets = list(dict.fromkeys(cells["budget"]))
    found.sort(key=lambda one: (budgets.index(one.budget), one.backbone, one.source, -one.kept))
    table = Table.of(
        "Published numbers of these methods, on other models",
        [
            Column("strategy", lambda one: one.strategy, key=True),
            Column("budget", lambda one: one.budget, key=True),
            Column("published %", lambda one: Entry.number(number(one.kept), one.kept)),
            Column("on", lambda one: one.backbone, left=True),
            Column(f"here, on {model} [95 % CI]", here),
            Column("source", lambda one: one.source, left=True),
        ],
        found,
        group=lambda one: one.budget,
        note="Accuracy kept, as the mean over the benchmarks of each paper, and over the tasks here. These are other models and other tasks: "
        "compare the order, never the numbers.",
    )
    return [table]


def _with_limits(claim: Mapping[Any, Any]) -> Entry:
    return Entry.number(interval(claim["measured"], claim["low"], claim["high"]), claim["measured"])


def _reproduction(claim: Mapping[Any, Any]) -> Entry:
    verdict = Reproduction(claim["verdict"])
    text = f"{verdict}: {claim['why']}" if claim["why"] else str(verdict)
    return Entry(text, tone=verdict.tone, symbol=verdict.symbol)


def _yardstick(used: set[str]) -> str:
    """How verdicts on published numbers are reached."""
    limits = (
        "The limits say where a run of the same models on the same images lands in 95 % of cases, by the A/A check: vanilla ran twice, and "
        "strategies are taken to flip as often."
        if SAME_IMAGES in used
        else "The limits are the 95 % interval of the accuracy kept, which is for new images. Papers used the same images, so that a closer look needs an A/A check: run it "
        "twice, then tokenbench compare A B."
    )
    return (
        "Accuracy kept is compared, since it does not depend on a benchmark's scale. Reproduced: the published number lies within "
        f"the limits, and they are no wider than ± {100 * NARROW:g} points; undecided: it lies within wider ones; not reproduced: it lies outside, its "
        f"rounding allowed for. {limits}"
    )

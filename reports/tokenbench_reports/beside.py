"""What stands beside the measured accuracy: time and memory on the machine at hand, and what papers print."""

from collections.abc import Mapping
from typing import Any

from tokenbench.comparison import MEAN, Comparison
from tokenbench_reports.claims import NARROW, SAME_IMAGES, beside
from tokenbench_reports.table import Table
from tokenbench_reports.wording import NOTHING, interval, number, percent

MIB = 2**20


def on_this_hardware(comparison: Comparison, model: str, run: Mapping[str, object]) -> list[Table]:
    """Time and memory of every way ``tokenbench bench -o RUN`` measured, beside retention; no table where it measured nothing."""
    benches = run.get("bench")
    found = [one for one in benches if one["model"] == model] if isinstance(benches, list) else []
    return [_measured(comparison, one) for one in found]


def _measured(comparison: Comparison, bench: Mapping[str, Any]) -> Table:
    cells = comparison.summary
    cells = cells[(cells["model"] == bench["model"]) & (cells["task"] == MEAN)]
    kept = {(c["strategy"], c["budget"]): percent(c["retention"]) for c in cells.to_dict("records")}
    rows = []
    for row in bench["rows"]:
        way = (row["strategy"], row["budget"])
        stock = way == ("vanilla", "stock")
        pays = bench["break_even"].get(f"{way[0]} at {way[1]}")
        rows.append([
            *way,
            percent(1.0) if row["strategy"] == "vanilla" else kept.get(way, NOTHING),
            str(row["visual_tokens"]),
            number(1000 * row["ttft_seconds"]),
            NOTHING if stock else _ratio(row["ttft_ratio"]),
            number(1000 * row["decode_seconds"], 2),
            NOTHING if stock else _ratio(row["decode_ratio"]),
            number(row["kv_bytes"] / MIB),
            number(row["peak_bytes"] / MIB, 0),
            f"{pays['bound']} {pays['visual']:.0f}" if pays else NOTHING,
        ])  # fmt: skip
    headers = ["strategy", "budget", "retention %", "visual tokens", "first token, ms", "× vanilla [95 % CI]"]
    headers += ["further token, ms", "× vanilla [95 % CI]", "KV, MiB", "peak, MiB", "pays from, visual tokens"]
    return Table("Measured on this hardware", headers, rows, 2, note=" ".join([*bench["notes"], *bench["infeasible"]]))


def _ratio(ratio: Mapping[str, float | None]) -> str:
    """Without an interval where one launch gave none."""
    estimate, low, high = (ratio[name] for name in ("estimate", "low", "high"))
    text = f"{estimate:.3f}"
    return text if low is None or high is None else f"{text} [{low:.3f}, {high:.3f}]"


def published(comparison: Comparison, model: str, run: Mapping[str, object]) -> list[Table]:
    """What papers print for these cells, beside what was measured; no table where the ledger holds nothing of the kind."""
    found = beside(comparison, run)
    found = found[found["model"] == model]
    rows = [
        [
            *(str(row[name]) for name in ("strategy", "budget", "task")),
            percent(row["claimed"]),
            interval(row["measured"], row["low"], row["high"]),
            str(row["source"]),
            f"{row['verdict']}: {row['why']}" if row["why"] else str(row["verdict"]),
        ]
        for row in found.to_dict("records")
    ]
    headers = ["strategy", "budget", "task", "published", "measured [limits]", "source", "verdict"]
    title, note = "Published retention % beside measured", _yardstick(set(found["yardstick"]))
    return [Table(title, headers, rows, 3, note=note)] if rows else []


def _yardstick(used: set[str]) -> str:
    """How verdicts on published numbers are reached."""
    limits = (
        "The limits say where a run of the same models on the same images lands in 95 % of cases, by the A/A check: vanilla ran twice, and "
        "strategies are taken to flip as often."
        if SAME_IMAGES in used
        else "The limits are the 95 % interval of the retention, which is for new images. Papers used the same images, so that a closer look needs an A/A check: run it "
        "twice, then tokenbench compare A B."
    )
    return (
        "Retention is compared, since it does not depend on a benchmark's scale. Reproduced: the published number lies within "
        f"the limits, and they are no wider than ± {100 * NARROW:g} points; undecided: it lies within wider ones; not reproduced: it lies outside, its "
        f"rounding allowed for. {limits}"
    )

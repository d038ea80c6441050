"""What the equality of cost rests on where budgets are matched: scaled schedules, or calibrated strategies."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenbench.comparison import Comparison
from tokenbench.comparison.wording import count_of, join_names, number, percent
from tokenbench.contract.cells import VANILLA
from tokenbench.tables import Column, Entry, Table

__all__ = ["calibrated_tables", "equality_notes", "unequal_work"]

FAR = 0.01
"""Work that differs by more than this share from that of the budget is warned of."""

Record = Mapping[str, Any]


def equality_notes(run: Mapping[str, object]) -> list[str]:
    """How budgets were counted, unless as each paper does."""
    spec = run.get("spec")
    mode = spec.get("match", "nominal") if isinstance(spec, Mapping) else "nominal"
    if mode == "nominal":
        return []
    what = "mean visual tokens over the decoder layers" if mode == "tokens" else "FLOPs of the decoder"
    notes = [f"Budgets are matched: every schedule is scaled to the same {what}."]
    if strategies := list(dict.fromkeys(str(one["strategy"]) for one in _calibrations(run))):
        decide, are, their = ("decides its", "is", "its") if len(strategies) == 1 else ("decide their", "are", "their")
        notes.append(
            f"{join_names(strategies)} {decide} own number of tokens for every sample and {are} calibrated: {their} work is that of the "
            "budget on average, not sample by sample. The samples for calibration are counted in no result; their costs were measured, "
            "and their answers were not looked at."
        )
    return notes


def unequal_work(comparison: Comparison, run: Mapping[str, object]) -> list[str]:
    """Return a sentence for every strategy and budget whose work on the counted samples is not that of the budget."""
    found, shown = run.get("matched"), set(comparison.summary["strategy"])
    off = [
        (one, one["reached"] / one["asked"] - 1)
        for one in (found if isinstance(found, list) else [])
        if one["strategy"] in shown and one["asked"] and abs(one["reached"] / one["asked"] - 1) > FAR
    ]
    return [
        f"On {one['model']}, {one['strategy']} at {one['budget']} takes {number(one['reached'])} visual tokens per layer where the budget stands for "
        f"{number(one['asked'])} ({percent(abs(share))} % {'more' if share > 0 else 'less'}), so that it is not compared at equal work"
        for one, share in off
    ]


def calibrated_tables(comparison: Comparison, model: str, run: Mapping[str, object]) -> list[Table]:
    """How near the calibrated strategies come to their budgets, and how much one sample differs from the next.

    There is no table if nothing was calibrated.
    """
    rows = [one for one in _calibrations(run) if one["model"] == model]
    if not rows:
        return []
    vanilla = comparison.summary[(comparison.summary["model"] == model) & (comparison.summary["strategy"] == VANILLA)]
    flops = {str(cell["task"]): float(cell["flops"]) for cell in vanilla.to_dict("records")}

    def share(one: Record) -> Entry:
        mean, low, high = (value / flops.get(one["task"], float("nan")) for value in one["flops"])
        return Entry.number(f"{percent(mean, 0)} % [{percent(low, 0)}, {percent(high, 0)}]", mean)

    order = {name: at for at, name in enumerate(dict.fromkeys(comparison.summary["budget"]))}
    rows.sort(key=lambda one: (order.get(one["budget"], 0), one["strategy"], one["task"], one["seed"]))
    seeds = len({one["seed"] for one in rows}) > 1
    return [
        Table.of(
            "Calibrated to equal work",
            [
                Column("strategy", lambda one: str(one["strategy"]), key=True),
                Column("budget", lambda one: str(one["budget"]), key=True),
                Column(
                    "task", lambda one: f"{one['task']}, seed {one['seed']}" if seeds else str(one["task"]), key=True
                ),
                Column("calibrated", lambda one: Entry(f"{one['parameter']} = {one['value']:.4g}", one["value"])),
                Column("budget's work", lambda one: _amount(one, "target")),
                Column("held-out samples", lambda one: _amount(one, "reached")),
                Column("visual tokens [90 % of samples]", _tokens),
                Column("FLOPs [90 % of samples]", share),
            ],
            rows,
            group=lambda one: str(one["budget"]),
            caption="The work that every budget stands for, and the work that was done",
            note=_explain(rows),
        )
    ]


def _calibrations(run: Mapping[str, object]) -> Sequence[Record]:
    found = run.get("calibration")
    return found if isinstance(found, list) else []


def _explain(rows: Sequence[Record]) -> str:
    samples = dict.fromkeys(count_of(one["held_out"], "sample") for one in rows)
    unit = rows[0]["unit"]
    return (
        f"A strategy that decides its own counts was calibrated on {join_names(samples)} of each task, which are left out of all results, until its "
        f"mean work ({unit}) was that of the budget. The last two columns are measured on the samples of the results: the mean, and in brackets the "
        "5th and 95th percentile over samples. The value differs from task to task; with one value for all tasks, the method would spend more on "
        "some tasks than on others."
    )


def _amount(one: Record, name: str) -> Entry:
    value = one[name]
    return Entry.number(number(value) if value < 1e5 else f"{value / 1e9:,.3f} GFLOPs", value)


def _tokens(one: Record) -> Entry:
    mean, low, high = one["tokens"]
    return Entry.number(f"{number(mean)} [{number(low, 0)}, {number(high, 0)}]", mean)

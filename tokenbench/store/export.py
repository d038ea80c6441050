"""A run as a data set: Parquet tables and a card, as hubs take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, IDENTITY, VANILLA
from tokenbench.store.new_folder import check_new, new_folder
from tokenbench.tables import Column, Table, escape_markdown, to_markdown

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.store.run import Run

__all__ = ["export_run"]

ABOUT = {
    "samples": "every answer: one row a cell and sample",
    "summary": "one row a model, strategy, budget and task: score, retention, skill, cost, with 95 % intervals",
    "pairs": "one row a comparison of two strategies: difference, interval, p value, verdict",
}


def export_run(run: Run, folder: Path) -> list[Path]:
    """Write the finished cells of a run to a new folder, which appears whole or not at all.

    Args:
        run: The run.
        folder: The folder to make; it may exist if it is empty.

    Returns:
        The files that were written.

    Raises:
        UsageError: The folder holds something, or the run has no numbers.
        MachineError: The folder cannot be written.
    """
    check_new(folder, "--to")
    comparison = run.compare()
    tables = {
        "samples": run.samples(),
        "summary": comparison.summary,
        "pairs": comparison.pairs.astype({"verdict": str}),
    }
    with new_folder(folder, "--to") as made:
        for name, table in tables.items():
            table.to_parquet(made / f"{name}.parquet", index=False)
        (made / "run.json").write_text(json.dumps(run.about(), indent=1, ensure_ascii=False), "utf-8")
        (made / "README.md").write_text(_card(run, comparison, tables), "utf-8")
    return sorted(folder.iterdir())


def _card(run: Run, comparison: Comparison, tables: dict[str, pd.DataFrame]) -> str:
    """Return the card of the data set. Its front matter is JSON, which is valid YAML, so that no string can break out of it."""
    title = f"TokenBench: {run.manifest['spec']['suite']}"
    rows = sum(map(len, tables.values()))
    front = {
        "pretty_name": title,
        "tags": ["tokenbench", "visual-token-pruning", "evaluation"],
        "size_categories": [next(size for size, most in SIZES if rows < most)],
        "configs": [
            {"config_name": name, "data_files": f"{name}.parquet", **({"default": True} if name == "samples" else {})}
            for name in tables
        ],
    }
    about = run.about()
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---", ""]
    lines += [f"# {_plain(title)}", "", "Answers of pruned multimodal models and their comparison, by TokenBench.", ""]
    lines += [f"- `{name}.parquet`: {ABOUT[name]} ({len(table):,} rows)" for name, table in tables.items()]
    lines += ["- `run.json`: settings, versions, hardware, failures", ""]
    lines.append(to_markdown(_retention(comparison)))
    lines += [
        "",
        f"The intervals are simultaneous over all strategies and budgets of a model, with images as clusters. The margin is {comparison.margin:g} "
        f"{'point' if comparison.margin == 1 else 'points'} of accuracy kept.",
    ]
    missing = len(run.manifest["cells"]) - len(tables["samples"].groupby(list(IDENTITY)))
    said = [*about.get("notes", ()), *comparison.warnings]
    if about["spec"]["limit"]:
        said.append(f"Only the first {about['spec']['limit']} samples of each task were run.")
    if missing:
        said.append(f"{missing} of {len(run.manifest['cells'])} cells have no numbers.")
    said.append("Questions and images are not here; targets are the suite's, under its licence.")
    return "\n".join([*lines, "", *(f"- {_plain(text)}" for text in said), ""])


SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**12))


def _retention(comparison: Comparison) -> Table:
    """Return the accuracy kept of every cell over all tasks, with its interval and the verdict that is read off it."""
    from tokenbench.comparison import MEAN
    from tokenbench.comparison.wording import NOTHING, interval, marks_of

    cells = comparison.summary[comparison.summary["task"] == MEAN]
    against = comparison.pairs[comparison.pairs["family"] == "F1"]
    verdicts = {(row["model"], row["a"], row["budget"]): row["verdict"] for row in against.to_dict("records")}

    def judged(row: Mapping[Any, Any]) -> str:
        verdict = verdicts.get(tuple(row[name] for name in CELL))
        return verdict.text if verdict else NOTHING

    def shown(row: Mapping[Any, Any]) -> tuple[str, str]:
        limits = (row[name] for name in ("retention", "retention_low", "retention_high"))
        value, _, printed = interval(*limits, marks=marks_of(comparison.margin)).partition(" ")
        return value, printed if row["strategy"] != VANILLA and printed else NOTHING

    columns = [Column(name, partial(_name_of, name), key=True) for name in CELL]
    numbers: list[Column[Mapping[Any, Any]]] = [
        Column("accuracy kept, %", lambda row: shown(row)[0]),
        Column(f"{100 - 100 * comparison.alpha:g} % interval", lambda row: shown(row)[1]),
        Column("verdict against vanilla", judged),
    ]
    return Table.of("", [*columns, *numbers], cells.to_dict("records"))


def _name_of(column: str, row: Mapping[Any, Any]) -> str:
    return _one_line(str(row[column]))


def _plain(text: str) -> str:
    """Return the text as one line that Markdown shows as it is."""
    return escape_markdown(_one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())

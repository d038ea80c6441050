"""Everything a report says as one JSON file, in a schema that has a version."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import Comparison
from tokenbench.comparison.verdicts import Verdict
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench_reports.claims import compare_claims
from tokenbench_reports.document import make_document
from tokenbench_reports.headline import Headline
from tokenbench_reports.sentences import text_of

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""
SCHEMA = Path(__file__).with_name("report.schema.json")
SETTINGS = ("alpha", "margin", "resamples", "seed", "samples", "clusters")
FACTS = ("spec", "models", "versions", "hardware", "notes", "failures", "bench", "calibration")


class JsonReport(Report):
    """``report.json``; ``report.schema.json`` beside it describes it."""

    name: ClassVar[str] = "json"
    description: ClassVar[str] = "report.json: settings, conclusions, tables, in a versioned schema"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the report and its schema."""
        content = json.dumps(_to_json(contents(comparison, run.about())), indent=1, ensure_ascii=False, allow_nan=False)
        return [
            write_text(folder / "report.json", content + "\n"),
            write_text(folder / SCHEMA.name, SCHEMA.read_text(encoding="utf-8")),
        ]


def contents(comparison: Comparison, about: Mapping[str, object]) -> dict[str, Any]:
    """The report as JSON values; what is not a number is null."""
    said = make_document(comparison, about)
    return {
        "schema": "tokenbench-report",
        "schema_version": SCHEMA_VERSION,
        "label": said.label,
        "headlines": {section.model: _headline(section.headline) for section in said.sections},
        "conclusions": {section.model: section.verdict for section in said.sections},
        "warnings": said.warnings,
        "statistics": {name: getattr(comparison, name) for name in SETTINGS},
        "models": list(comparison.models),
        "tasks": list(comparison.tasks),
        "summary": _rows(comparison.summary),
        "pairs": _rows(comparison.pairs),
        "turns": None if comparison.turns is None else _rows(comparison.turns),
        "where": _rows(comparison.where),
        "together": _together(comparison),
        "claims": _rows(compare_claims(comparison, about)),
        "run": {name: about.get(name) for name in FACTS},
    }


def _headline(found: Headline) -> dict[str, Any]:
    """What was found for a model, as text and as what a program asks for."""
    return {
        "headline": found.text,
        "support": [text_of(sentence) for sentence in found.support],
        "pairs": found.pairs,
        "scope": found.scope,
        "label": found.label,
        "warnings": list(found.warnings),
        "budget": found.budget or None,
        "case": found.case.name.lower() if found.case else None,
        "winner": found.winner,
        "leaders": list(found.leaders),
    }


def _together(comparison: Comparison) -> dict[str, Any] | None:
    """The mean over all models; null for a single one."""
    whole = comparison.together
    return None if whole is None else {"summary": _rows(whole.summary), "pairs": _rows(whole.pairs)}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _to_json(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, dict):
        return {name: _to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(part) for part in value]
    if isinstance(value, Verdict):
        return value.text
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

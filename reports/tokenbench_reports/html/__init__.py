"""The report as one HTML file that needs nothing else: no network, no other file."""

import hashlib
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tokenbench.comparison import Comparison
from tokenbench.comparison.tables import models_table
from tokenbench.contract.cells import CELL
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench.tables import Table
from tokenbench_reports.beside import on_this_hardware, published
from tokenbench_reports.document import make_document, together
from tokenbench_reports.html.entries import bar, choices, classes, few_rows, sort_key
from tokenbench_reports.html.gallery import choose_samples, gallery, questions_of
from tokenbench_reports.html.kept import choose_few, first_seed, select
from tokenbench_reports.html.model_view import ModelView, model_view
from tokenbench_reports.reproduce import command, facts

HERE = Path(__file__).parent
COLUMNS = ("sample", "answer", "target", "score", "kept", "visual_tokens", "lattice")
Pair = tuple[str, str]


class HtmlReport(Report):
    """``report.html``: verdict, tables to sort, pictures, samples with the tokens each strategy kept."""

    name: ClassVar[str] = "html"
    description: ClassVar[str] = "report.html: one page that opens offline, with pictures and samples"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write ``report.html``."""
        return [write_text(folder / "report.html", render_page(comparison, run))]


def render_page(comparison: Comparison, run: Run) -> str:
    """The whole page. Every string from outside is escaped by the template; the policy lets no other script run."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "classes": classes,
        "bar": bar,
        "sort_key": sort_key,
        "choices": choices,
        "few_rows": few_rows,
    }
    looks = {model: _choose_samples(comparison, model, run) for model in comparison.models}
    samples = run.samples(COLUMNS, {pair for look in looks.values() for pairs in look for pair in pairs})
    rows = {model: first_seed(_select_compared(comparison, model, samples)) for model in comparison.models}
    questions = questions_of(run)
    views = [model_view(comparison, model, select(rows[model], mapped)) for model, (mapped, _) in looks.items()]
    about = run.about()
    return environment.get_template("page.html").render(
        content=make_document(comparison, about),
        views=views,
        across=models_table(comparison) if len(comparison.models) > 1 else None,
        together=_together(comparison),
        galleries={model: gallery(shown, rows[model], questions) for model, (_, shown) in looks.items()},
        published={model: published(comparison, model, about) for model in comparison.models},
        benches={model: on_this_hardware(comparison, model, about) for model in comparison.models},
        budgets=_budgets(views),
        command=command(about),
        facts=facts(about),
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _choose_samples(comparison: Comparison, model: str, run: Run) -> tuple[list[Pair], list[Pair]]:
    """The samples that maps are made of, and those that are shown, chosen by their scores alone: there may be a million answers."""
    rows = run.measured[run.measured["model"] == model]
    return choose_few(rows), choose_samples(first_seed(rows))


def _select_compared(comparison: Comparison, model: str, samples: pd.DataFrame) -> pd.DataFrame:
    """The model's rows of cells that stand in the comparison."""
    cells = comparison.summary.loc[comparison.summary["model"] == model, list(CELL)]
    return samples[pd.MultiIndex.from_frame(samples[list(CELL)]).isin(pd.MultiIndex.from_frame(cells))]


def _together(comparison: Comparison) -> tuple[str, list[Table]] | None:
    """The mean over all models: its paragraph and its tables."""
    section = together(comparison)
    if section is None:
        return None
    found = section.headline
    return f"{found.text}. {found.support_text} {found.pairs} {found.scope}", [
        replace(table, caption=f"{table.title}, all models") for table in section.tables
    ]


def _budgets(views: list[ModelView]) -> list[str]:
    """The budgets a reader may switch between: those at which strategies can be compared."""
    return list(dict.fromkeys(panel.budget for view in views for panel in view.budgets))


def _policy(style: str, script: str) -> str:
    """A content security policy: nothing is loaded, and only this style and this script, by their hashes, are used."""
    allowed: dict[str, Any] = {
        kind: b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", script))
    }
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed['style']}'; "
        f"script-src 'sha256-{allowed['script']}'; base-uri 'none'; form-action 'none'"
    )

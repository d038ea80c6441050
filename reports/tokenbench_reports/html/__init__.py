"""The report as one HTML file that needs nothing else: no network, no other file."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tokenbench.comparison import Comparison
from tokenbench.comparison.tables import models_table
from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench_reports.document import make_frame, together
from tokenbench_reports.html.cells import budgets_of, cells_of_model
from tokenbench_reports.html.gallery import choose_samples, gallery, questions_of, without_graded
from tokenbench_reports.html.kept import choose_few, first_seed, select
from tokenbench_reports.html.marks import look_of
from tokenbench_reports.html.model_view import Answers, ModelView, model_view
from tokenbench_reports.html.questions import choose_questions, list_questions
from tokenbench_reports.reproduce import command, conditions, facts

HERE = Path(__file__).parent
KEPT = ("sample", "answer", "target", "score", "kept", "visual_tokens", "lattice", "tokens_per_layer")
ANSWERED = ("sample", "answer", "target", "score")
SECTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "results": ("Results", ()),
    "gaps": ("Differences", ("triangles",)),
    "budgets": ("Budgets", ("multiples",)),
    "tasks": ("Tasks", ("tasks",)),
    "turns": ("Turns", ("turns",)),
    "where": ("Where", ("where",)),
    "compare": ("Compare two", ("compare",)),
    "published": ("Published", ("elsewhere", "claims")),
    "again": ("Run again", ()),
}
"""The titles of the page's sections, by name, and the parts of a model's view of which one has to be there."""
Pair = tuple[str, str]


class HtmlReport(Report):
    """``report.html``: headline, plot and table, then pairs, tasks, kept tokens and every question."""

    name: ClassVar[str] = "html"
    description: ClassVar[str] = "report.html: one page that opens offline, with plots, pictures and every question"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write ``report.html``."""
        return [write_text(folder / "report.html", render_page(comparison, run))]


def render_page(comparison: Comparison, run: Run) -> str:
    """The whole page. Every string from outside is escaped by the template; the policy lets no other script run."""
    about = run.about()
    budgets = _budgets(comparison)
    answers = _answers(comparison, run)
    views = [model_view(comparison, model, answers[model], about, budgets) for model in comparison.models]
    content = make_frame(comparison, about)
    style = _text("page.css") + _switches(len(budgets), len(views))
    script = _text("page.js")
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["look"] = _look
    return environment.get_template("page.html").render(
        content=content,
        views=views,
        across=models_table(comparison) if len(comparison.models) > 1 else None,
        together=together(comparison),
        budgets=budgets,
        label=next((view.headline.label for view in views if view.headline.label), content.label),
        links=_links(views),
        opening=_opening(views, budgets),
        margin=f"{comparison.margin:g} {'point' if comparison.margin == 1 else 'points'}",
        vanilla=VANILLA,
        command=command(about),
        conditions=conditions(about),
        repeated="the runs" if about.get("merged") else "the run",
        facts=facts(about),
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _links(views: Sequence[ModelView]) -> list[tuple[str, str]]:
    """(name, title) of the sections that the page has, each of the first model that has it."""
    links = []
    for name, (title, parts) in SECTIONS.items():
        having = [at for at, view in enumerate(views) if not parts or any(getattr(view, part) for part in parts)]
        if having:
            links.append((f"{name}{having[0] or ''}", title))
    return links


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _look(strategy: str, view: ModelView) -> str:
    return look_of(view.marks, strategy)


def _answers(comparison: Comparison, run: Run) -> dict[str, Answers]:
    """What the page needs of every model's answers, chosen by their scores alone: there may be a million of them."""
    measured = {model: _compared(comparison, model, run.measured) for model in comparison.models}
    mapped = {model: choose_few(rows) for model, rows in measured.items()}
    graded = [name for name, about in run.about().get("tasks", {}).items() if about.get("graded")]
    judged = {model: rows[~rows["task"].isin(graded)] for model, rows in measured.items()}
    shown = {model: choose_samples(first_seed(rows)) for model, rows in judged.items()}
    listed = {model: choose_questions(rows) for model, rows in judged.items()}
    kept = run.samples(KEPT, {pair for some in (mapped, shown) for pairs in some.values() for pair in pairs})
    answered = run.samples(ANSWERED, {pair for pairs in listed.values() for pair in pairs})
    questions = questions_of(run)
    found = {}
    for at, model in enumerate(comparison.models):
        own = first_seed(_compared(comparison, model, kept))
        said = select(first_seed(_compared(comparison, model, answered)), listed[model])
        count = len(judged[model][["task", "sample"]].drop_duplicates())
        found[model] = Answers(
            select(own, mapped[model]),
            without_graded(gallery(shown[model], own, questions, f"{at}-"), graded),
            list_questions(listed[model], said, questions, count),
        )
    return found


def _compared(comparison: Comparison, model: str, samples: pd.DataFrame) -> pd.DataFrame:
    """The model's rows of cells that stand in the comparison."""
    cells = comparison.summary.loc[comparison.summary["model"] == model, list(CELL)]
    return samples[pd.MultiIndex.from_frame(samples[list(CELL)]).isin(pd.MultiIndex.from_frame(cells))]


def _budgets(comparison: Comparison) -> list[str]:
    """The budgets of all models that a reader may choose among."""
    by_model: Sequence[Sequence[str]] = [budgets_of(cells_of_model(comparison, model)) for model in comparison.models]
    return list(dict.fromkeys(budget for budgets in by_model for budget in budgets))


def _opening(views: Sequence[ModelView], budgets: Sequence[str]) -> int:
    """The number of the budget that the page opens with: that of the first headline."""
    first = views[0].headline.budget
    return budgets.index(first) if first in budgets else 0


def _switches(budgets: int, models: int) -> str:
    """The rules by which the radio buttons hide other budgets and models; a browser that lacks ``:has`` shows all."""
    rules = [
        f'body:has(#{name}{at}:checked) [data-{name}]:not([data-{name}="{at}"]){{display:none!important}}'
        for name, count in (("b", budgets), ("m", models))
        for at in range(count)
    ]
    rules += [f'body:has(#b{at}:checked) .pt[data-at]:not([data-at="{at}"]){{opacity:.5}}' for at in range(budgets)]
    return "@media screen{" + "".join(rules) + "}"


def _policy(style: str, script: str) -> str:
    """A content security policy: nothing is loaded, and only this style and this script, by their hashes, are used."""
    allowed: Mapping[str, Any] = {
        kind: b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", script))
    }
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed['style']}'; "
        f"script-src 'sha256-{allowed['script']}'; base-uri 'none'; form-action 'none'"
    )

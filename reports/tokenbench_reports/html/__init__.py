"""The report as one HTML file that needs no network, with the data of large runs beside it."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import Comparison
from tokenbench.comparison.tables import models_table
from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench_reports.document import make_frame, together
from tokenbench_reports.html.browse import Pieces, make_browser, make_index
from tokenbench_reports.html.browse.answers import Known, Read
from tokenbench_reports.html.browse.browser import MOST_SCENES, Browsed
from tokenbench_reports.html.cells import budgets_of, cells_of_model
from tokenbench_reports.html.compare import Asking
from tokenbench_reports.html.gallery import choose_samples, gallery, questions_of, without_graded
from tokenbench_reports.html.kept import choose_few, first_seed, select
from tokenbench_reports.html.marks import look_of
from tokenbench_reports.html.model_view import Answers, ModelView, model_view
from tokenbench_reports.html.names import name_filters
from tokenbench_reports.html.templates import make_environment
from tokenbench_reports.reproduce import command, conditions, facts

HERE = Path(__file__).parent
SCRIPTS = (
    "basics.js",
    "plots.js",
    "pieces.js",
    "filters.js",
    "scene.js",
    "compare.js",
    "question.js",
    "list.js",
    "browse.js",
)
"""The parts of the page's script, in this order, which share one scope."""
KEPT = ("sample", "answer", "target", "score", "kept", "visual_tokens", "lattice", "tokens_per_layer")
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
    most: ClassVar[int | None] = MOST_SCENES
    """Questions of each model that are shown with pictures; None for all."""

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write ``report.html``, and ``report-samples/`` beside it if the data are too much for one file."""
        pieces = Pieces(folder)
        text = render_page(comparison, run, pieces, self.most)
        return [write_text(folder / "report.html", text), *pieces.files]


class FullHtmlReport(HtmlReport):
    """``report.html`` with the pictures and kept tokens of all questions."""

    name: ClassVar[str] = "html-full"
    description: ClassVar[str] = "report.html with the pictures and kept tokens of all questions"
    most: ClassVar[int | None] = None


def render_page(comparison: Comparison, run: Run, pieces: Pieces | None = None, most: int | None = MOST_SCENES) -> str:
    """The whole page. Every string from outside is escaped by the template; the policy lets no other script run.

    Args:
        comparison: What was measured.
        run: The run.
        pieces: Where the data of all questions go; by default, all into the page.
        most: Questions of each model that are shown with pictures; None for all.
    """
    about = run.about()
    budgets = _budgets(comparison)
    questions = questions_of(run)
    answers = _answers(comparison, run, questions)
    views = [model_view(comparison, model, answers[model], about, budgets) for model in comparison.models]
    content = make_frame(comparison, about)
    models = [_browsed(view, answers[view.model], budgets, about) for view in views]
    browser = make_browser(models, questions, Pieces(None) if pieces is None else pieces, most)
    style = _text("page.css") + _text("browse.css") + _switches(len(budgets), len(views))
    script = "".join(['"use strict";\n(() => {\n', *(_text(f"script/{name}") for name in SCRIPTS), "})();\n"])
    filters: dict[str, Any] = {"look": _look, **name_filters([*comparison.summary["strategy"], VANILLA])}
    return (
        make_environment(filters, HERE)
        .get_template("page.html")
        .render(
            content=content,
            views=views,
            browser=browser,
            across=models_table(comparison) if len(comparison.models) > 1 else None,
            together=together(comparison),
            budgets=budgets,
            label=content.label or next((view.headline.label for view in views if view.headline.label), ""),
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
            policy=_policy(style, script, beside=bool(browser.folder)),
        )
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


def _answers(comparison: Comparison, run: Run, questions: Known) -> dict[str, Answers]:
    """What the page needs of every model's answers, chosen by their scores alone: there may be a million of them."""
    measured = {model: _compared(comparison, model, run.measured) for model in comparison.models}
    mapped = {model: choose_few(rows) for model, rows in measured.items()}
    graded = _graded(run.about())
    judged = {model: first_seed(rows[~rows["task"].isin(graded)]) for model, rows in measured.items()}
    shown = {model: choose_samples(rows) for model, rows in judged.items()}
    kept = run.samples(KEPT, {pair for some in (mapped, shown) for pairs in some.values() for pair in pairs})
    found = {}
    for at, model in enumerate(comparison.models):
        own = first_seed(_compared(comparison, model, kept))
        rows = first_seed(measured[model])
        found[model] = Answers(
            select(own, mapped[model]),
            without_graded(gallery(shown[model], own, questions, f"{at}-"), graded),
            Asking(make_index(rows, graded), _reader(comparison, model, run), questions),
            rows,
        )
    return found


def _graded(about: Mapping[str, Any]) -> list[str]:
    """The tasks whose answers are neither right nor wrong."""
    return [name for name, task in about.get("tasks", {}).items() if task.get("graded")]


def _reader(comparison: Comparison, model: str, run: Run) -> Read:
    return lambda columns, of: first_seed(_compared(comparison, model, run.samples(columns, of)))


def _browsed(view: ModelView, answers: Answers, budgets: Sequence[str], about: Mapping[str, Any]) -> Browsed:
    """A model as it is browsed, with the strategies in the order of the page."""
    index = answers.asking.index
    names = [name for name, _ in view.compare.names if name != VANILLA] if view.compare else []
    names += [name for name, _ in index.cells if name not in (*names, VANILLA)]
    own = {budget for _, budget in index.cells}
    return Browsed(
        view.model,
        index,
        answers.rows,
        answers.asking.read,
        list(dict.fromkeys([*names, VANILLA])),
        [budget for budget in budgets if budget in own],
        [task for task in _graded(about) if task in {task for task, _ in index.questions}],
    )


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


def _policy(style: str, script: str, *, beside: bool) -> str:
    """A content security policy: only this style and this script, by their hashes, are used.

    Nothing is loaded, but for the scripts that this script itself asks for if data lie beside the page.
    """
    allowed: Mapping[str, Any] = {
        kind: b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", script))
    }
    loads = " 'strict-dynamic'" if beside else ""
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed['style']}'; "
        f"script-src 'sha256-{allowed['script']}'{loads}; base-uri 'none'; form-action 'none'"
    )

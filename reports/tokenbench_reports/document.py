"""What the text reports say, before it is laid out: a label, a verdict in words, tables and notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.comparison.tables import MARK, cells_table, main_title, pairs_table, tasks_table
from tokenbench.comparison.turns import describe_turns, turns_table
from tokenbench.comparison.where_table import where_table
from tokenbench.comparison.wording import UNKNOWN, count_of, join_names
from tokenbench.errors import printable
from tokenbench.tables import Column, Entry, Table, TableRow
from tokenbench_reports.beside import on_this_hardware, published
from tokenbench_reports.equality import calibrated_tables, unequal_work
from tokenbench_reports.headline import Headline, make_headline
from tokenbench_reports.notes import make_notes


@dataclass(frozen=True)
class Section:
    """The part of a report on one model, or on all models together."""

    model: str
    """The name of the model."""
    headline: Headline
    """What was found, and what supports it."""
    verdict: list[str]
    """The verdicts, one sentence each."""
    tables: list[Table]
    """The tables that the verdicts rest on."""


@dataclass(frozen=True)
class Document:
    """A whole report, before it is laid out."""

    title: str
    """Its title."""
    label: str
    """A warning that must not be overlooked; empty if there is none."""
    sections: list[Section]
    """One section for each model, and one for all models together."""
    warnings: list[str]
    """Sentences that a reader must see."""
    notes: list[str] = field(default_factory=list)
    """Sentences on how the numbers were made."""


@dataclass(frozen=True)
class Frame:
    """What stands around the results of every report."""

    title: str
    """Its title."""
    label: str
    """A warning that must not be overlooked; empty if there is none."""
    warnings: list[str]
    """Sentences that a reader must see."""
    notes: list[str]
    """Sentences on how the numbers were made."""


@dataclass(frozen=True)
class Opening:
    """What every report says first."""

    label: str
    """A warning that must not be overlooked; empty if there is none."""
    headlines: list[Headline]
    """One for each model, and one for all models together."""
    warnings: list[str]
    """Sentences that a reader must see."""


def make_frame(comparison: Comparison, run: Mapping[str, object]) -> Frame:
    """Say what stands around the results, without any of them."""
    title = "Visual-token pruning compared on " + join_names(comparison.models)
    shown: Frame = _make_printable(Frame(title, _label(run), _warnings(comparison, run), make_notes(comparison, run)))
    return shown


def make_opening(comparison: Comparison, run: Mapping[str, object]) -> Opening:
    """Say what comes first, without the tables that it rests on."""
    headlines = [make_headline(comparison, model) for model in comparison.models]
    headlines += [_headline_of_all(comparison, comparison.together)] if comparison.together else []
    shown: Opening = _make_printable(Opening(_label(run), headlines, _warnings(comparison, run)))
    return shown


def make_document(comparison: Comparison, run: Mapping[str, object]) -> Document:
    """Put a comparison into words and tables."""
    sections = [_section(comparison, model, run) for model in comparison.models]
    sections += [overall] if (overall := together(comparison)) else []
    frame = make_frame(comparison, run)
    if frame.label:  # one sentence says that it is no result
        sections = [replace(section, headline=replace(section.headline, label="")) for section in sections]
    return Document(frame.title, frame.label, _make_printable(sections), frame.warnings, frame.notes)


def _make_printable(value: Any) -> Any:
    """The same with every text on one line, without signs that a terminal would obey: names and reasons come from others."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_make_printable, value))
    if isinstance(value, Frame | Opening | Section | Headline | Table | Column | TableRow | Entry):
        return replace(value, **{part.name: _make_printable(getattr(value, part.name)) for part in fields(value)})
    return value


def _label(run: Mapping[str, object]) -> str:
    spec = run.get("spec")
    limit = spec.get("limit") if isinstance(spec, Mapping) else None
    return f"Only {count_of(int(limit), 'sample')} per task: not a result" if limit else ""


def _warnings(comparison: Comparison, run: Mapping[str, object]) -> list[str]:
    notes = run.get("notes")
    extra = [str(note) for note in notes] if isinstance(notes, list | tuple) else []
    first = [*unequal_work(comparison, run), *extra, *_failures(run)]
    return [*first, *_other_precision(run), *describe_turns(comparison), *comparison.warnings]


def _other_precision(run: Mapping[str, object]) -> list[str]:
    """A sentence on strategies that rounding alone changes, if their released code decides in another precision."""
    spec, released = run.get("spec"), run.get("released_dtypes")
    if not (isinstance(spec, Mapping) and isinstance(released, Mapping) and "dtype" in spec):
        return []
    others: dict[str, list[str]] = {}
    for strategy, dtype in released.items():
        if dtype != spec["dtype"]:
            others.setdefault(str(dtype), []).append(str(strategy))
    return [
        f"The released code of {join_names(names)} decides in {dtype}, and this run is in {spec['dtype']}. Rounding alone changes which "
        f"tokens {'it keeps' if len(names) == 1 else 'they keep'}: tokenbench show {names[0]} says by how much."
        for dtype, names in others.items()
    ]


def _failures(run: Mapping[str, object]) -> list[str]:
    """A sentence for every strategy and budget that has no numbers."""
    failures = run.get("failures")
    if not isinstance(failures, list):
        return []
    reasons = {(f["model"], f["strategy"], f["budget"]): (f["kind"], f["reason"]) for f in failures}
    return [
        f"{model}: {strategy} at {budget} {'is infeasible' if kind == 'infeasible' else 'failed'} and has no numbers: {reason}"
        for (model, strategy, budget), (kind, reason) in reasons.items()
    ]


def _section(comparison: Comparison, model: str, run: Mapping[str, object]) -> Section:
    rankings = rank_strategies(comparison, model)
    tables = [cells_table(comparison, model)]
    tables += _between_strategies(comparison, model)
    tables.append(tasks_table(comparison, model))
    tables += [by_turn] if (by_turn := turns_table(comparison, model)) else []
    tables += [where] if (where := where_table(comparison, model)).rows else []
    tables += calibrated_tables(comparison, model, run)
    tables += on_this_hardware(comparison, model, run) + published(comparison, model, run)
    return Section(model, make_headline(comparison, model), _verdict(comparison, model, rankings), tables)


def _between_strategies(comparison: Comparison, model: str) -> list[Table]:
    """The table of family F2; none where there is no pair in it."""
    table = pairs_table(comparison, model)
    return [table] if table.rows else []


def together(comparison: Comparison) -> Section | None:
    """The mean over all models and tasks; None for a single model."""
    whole = comparison.together
    if whole is None:
        return None
    [model] = whole.models
    rankings = rank_strategies(whole, model)
    tables = [cells_table(whole, model, main_title(whole, model, len(comparison.tasks), len(comparison.models)))]
    tables += _between_strategies(whole, model)
    return Section(model, _headline_of_all(comparison, whole), _verdict(whole, model, rankings), tables)


def _headline_of_all(comparison: Comparison, whole: Comparison) -> Headline:
    """The headline of the mean over all models, which says what was averaged."""
    headline = make_headline(whole, whole.models[0])
    averaged = (
        f"Accuracy kept is averaged over {join_names(comparison.models)} and their tasks, with families F1 and F2 of its own. "
        "Intervals and tests cover new images for these models only: they do not generalise to other models."
    )
    return replace(headline, scope=f"{headline.scope} {averaged}")


def _verdict(comparison: Comparison, model: str, rankings: list[Ranking]) -> list[str]:
    """The conclusions in the fixed words: against vanilla, then between the strategies."""
    rows = comparison.pairs
    rows = rows[(rows["model"] == model) & (rows["family"] == "F1")]
    sentences = []
    for verdict, group in rows.groupby("verdict", sort=False):
        by_strategy = group.groupby("a", sort=False)["budget"].agg(list)
        names = [f"{name} at {join_names(budgets)}" for name, budgets in by_strategy.items()]
        sentences.append(f"Against vanilla, {verdict}: {'; '.join(names)}.")
    return sentences + [_between(ranking) for ranking in rankings if ranking.compared]


def _between(ranking: Ranking) -> str:
    at, top = f"Between strategies at {ranking.budget}", ranking.top
    cost = f" Their realised tokens differ ({MARK} below)." if ranking.unequal else ""
    cost = f" Whether they cost the same is {UNKNOWN}." if ranking.unpriced else cost
    behind = [name for name in ranking.strategies if name not in top]
    if ranking.winner:
        return f"{at}, {ranking.winner} is better than every other ({join_names(behind)}).{cost}"
    if not behind:
        return (
            f"{at}, {join_names(top)} are not distinguishable from the highest, {top[0]}: no best can be named.{cost}"
        )
    worse = f"{join_names(behind)} {'is' if len(behind) == 1 else 'are'} worse than {top[0]}"
    return f"{at}, the top group is {join_names(top)}: no best can be named; {worse}.{cost}"

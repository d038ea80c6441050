"""What the text reports say, before it is laid out: a label, a verdict in words, tables and notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import UNEQUAL_COST, Ranking, rank_strategies
from tokenbench.comparison.tables import MARK, cells_table, main_title, pairs_table, tasks_table
from tokenbench.comparison.wording import count_of, join_names, number
from tokenbench.errors import printable
from tokenbench.tables import Column, Entry, Table, TableRow
from tokenbench_reports.beside import on_this_hardware, published
from tokenbench_reports.equality import calibrated_tables, equality_notes
from tokenbench_reports.headline import Headline, make_headline


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
    shown: Frame = _make_printable(Frame(title, _label(run), _warnings(comparison, run), _notes(comparison, run)))
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
    return [*extra, *_failures(run), *comparison.warnings]


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
    behind = [name for name in ranking.strategies if name not in top]
    if ranking.winner:
        return f"{at}, {ranking.winner} is better than every other ({join_names(behind)}).{cost}"
    if not behind:
        return (
            f"{at}, {join_names(top)} are not distinguishable from the highest, {top[0]}: no best can be named.{cost}"
        )
    worse = f"{join_names(behind)} {'is' if len(behind) == 1 else 'are'} worse than {top[0]}"
    return f"{at}, the top group is {join_names(top)}: no best can be named; {worse}.{cost}"


def _notes(comparison: Comparison, run: Mapping[str, object]) -> list[str]:
    margin, alpha = f"{comparison.margin:g}", f"{100 * comparison.alpha:g} %"
    questions, images = count_of(comparison.samples, "question"), count_of(comparison.clusters, "image")
    notes = [
        f"{questions} on {images}. The image is the unit of analysis; one that occurs in several tasks counts once.",
        "Accuracy kept is 100 × score / vanilla's score, averaged over the tasks. Both scores are measured on the same images, and the "
        "interval takes that into account. It is the interval of family F1, so that the verdict beside it can be read off it: a "
        "strategy is worse exactly where its interval ends below 100. The budget is the one that was requested; visual tokens are those "
        "that ran, as the mean over the decoder layers. FLOPs (encoder and prefill) and KV cache are counted shares of vanilla's; FLOPs are not latency.",
        *equality_notes(run),
        "Skill is how far a strategy gets from a trivial baseline (0 %) to vanilla (100 %) at the same budget; the baselines are random "
        "tokens, and the image shrunk to as many tokens. Below 0 the baseline is better. Skill and evidence have no interval.",
        f"Against vanilla: family F1 per model, max-T over all strategies and budgets, error {alpha}. The margin is {margin} "
        f"{'point' if comparison.margin == 1 else 'points'} of accuracy kept, to be fixed before a run; non-inferiority within it means "
        f'that the whole interval lies above {100 - comparison.margin:g}. "Not decided" means that neither a loss nor its absence was shown.',
        f"Between strategies: family F2 per model, max-T over all pairs {'at equal budget' if comparison.left_out == 0 else 'with a trivial baseline'}, error {alpha}. Every verdict is read off the "
        "simultaneous interval beside it; p is adjusted for the family in a single step. Bold and rank follow these verdicts.",
        "Intervals allow for images that lose all their answers even where no such image was seen. With few images, or few that differ, "
        "they are therefore wider than the observed spread.",
        f"{MARK} marks pairs whose realised tokens differ by more than {100 * UNEQUAL_COST:g} %; such a comparison is not at "
        "equal cost.",
        "MDE is the minimal detectable effect: the smallest true difference that this comparison detects with a power of 80 %. Strategies "
        "that are not distinguishable have not been shown to be equal.",
        "Tests on single tasks are exploratory (family F3, false discovery rate); they and their intervals are in pairs.csv.",
        "These intervals cover image sampling (and seeds, where a strategy ran with several). They do not cover other "
        "tasks, other models, prompts, the choice of budget or data contamination.",
        f"Random signs: {comparison.resamples:,} per family, ten times as many where a statistic comes close to its critical value, "
        f"seed {comparison.seed}.",
    ]
    notes[1:1] = _looks(comparison)
    if hard := _margin_power(comparison) + _samples_needed(comparison):
        notes.insert(3, hard.strip())
    return notes + [text for text in (_facts(run, "versions"), _facts(run, "hardware")) if text]


def _margin_power(comparison: Comparison) -> str:
    """How far the data are from being able to show a loss within the margin at all."""
    shown = comparison.pairs["smallest_margin"].dropna()
    if shown.empty or 100 * shown.min() <= comparison.margin:
        return ""
    return (
        f"With these images, even a strategy without any loss cannot be shown to be non-inferior within "
        f"{comparison.margin:g}: the smallest margin that they support is {number(100 * shown.min(), 2)} points."
    )


def _samples_needed(comparison: Comparison) -> str:
    """How many samples would decide what is open; of the pairs that are, the fewest and the most."""
    needed = comparison.pairs["samples_needed"].dropna()
    if needed.empty:
        return ""
    span = dict.fromkeys(f"{number:,.0f}" for number in (needed.min(), needed.max()))
    return (
        f" To decide what is not decided here would take about {' to '.join(span)} samples, with tasks as large in proportion as "
        f"here: with that many, a strategy without any loss is shown to be non-inferior within {comparison.margin:g} with a power of 80 %."
    )


def _looks(comparison: Comparison) -> list[str]:
    """What it costs that a run may be extended; how often it was looked at stands among the run's own notes."""
    looks = comparison.looks
    if looks is None or looks.declared:
        return []
    spent = 100 * comparison.alpha * len(looks) / (len(looks) + 1)
    return [
        f"The run holds only the first samples of each task and may be extended at any time, so that error is left for later looks: up to "
        f"look {len(looks)}, {spent:.3g} % of the {100 * comparison.alpha:g} % is spent (look j may bring it to {100 * comparison.alpha:g} % × j / (j + 1)). Intervals "
        "hold over all looks, those to come included, and are wider than those of a run of the whole suite."
    ]


def _facts(run: Mapping[str, object], key: str) -> str:
    facts = run.get(key)
    if isinstance(facts, Mapping):
        return f"{key.capitalize()}: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "."
    return f"{key.capitalize()}: {facts}." if facts else ""

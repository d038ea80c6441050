"""The table that papers of the field print: methods by budget, a column for every task, their average, the accuracy kept."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.comparison.wording import NOTHING, count_of, interval, number, percent
from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA, is_trivial
from tokenbench_reports.claims import PublishedScores, published_scores
from tokenbench_reports.tex import escape, prose

__all__ = ["field_table"]

FEW = 4
"""Tasks up to which the table fits into one column of a page of two."""
DAGGER = r"$^{\dagger}$"


def field_table(comparison: Comparison, model: str, about: Mapping[str, Any], label: str) -> Iterator[str]:
    """Yield the lines of one model's table.

    Args:
        comparison: What was measured.
        model: The model.
        about: The run's manifest.
        label: What a reader has to know of a run that is no result; empty if there is nothing.
    """
    summary = comparison.summary[comparison.summary["model"] == model]
    cells = {(row["strategy"], row["budget"], row["task"]): row for row in summary.to_dict("records")}
    tasks = [task for task in dict.fromkeys(summary["task"]) if task != MEAN]
    published = published_scores(comparison, model, about)
    tops = {ranking.budget: set(ranking.top) for ranking in rank_strategies(comparison, model) if ranking.compared}
    kind, size = ("table", r"\small") if len(tasks) <= FEW else ("table*", r"\scriptsize")
    yield from (rf"\begin{{{kind}}}", r"\centering", size, r"\setlength{\tabcolsep}{4pt}")
    yield rf"\caption{{{_caption(comparison, model, published, label)}}}"
    yield from (rf"\begin{{tabular}}{{l{'r' * (len(tasks) + 2)}}}", r"\toprule")
    yield _line(["Method", *map(escape, tasks), "Average", "Accuracy kept"])
    vanilla = next((strategy, budget) for strategy, budget, _ in cells if strategy == VANILLA)
    tokens = float(cells[(*vanilla, MEAN)]["visual_tokens"])
    for budget, group in groupby([vanilla, *_order(cells)], key=itemgetter(1)):
        heading = _heading("" if budget == vanilla[1] else budget, tokens)
        yield from (r"\midrule", rf"\multicolumn{{{len(tasks) + 3}}}{{c}}{{\textit{{{escape(heading)}}}}} \\")
        for strategy, _ in group:
            scores = [escape(_score(cells.get((strategy, budget, task)))) for task in (*tasks, MEAN)]
            ends = [escape(strategy), escape(_kept(cells[strategy, budget, MEAN]))]
            name, kept = [rf"\textbf{{{text}}}" for text in ends] if strategy in tops.get(budget, ()) else ends
            yield _line([name, *scores, kept])
            yield from (_published(one, tasks) for one in published if _belongs(one, strategy, budget))
    yield from (r"\bottomrule", r"\end{tabular}", rf"\end{{{kind}}}", "")


def _order(cells: Mapping[tuple[str, str, str], Any]) -> list[tuple[str, str]]:
    """Strategies and budgets: from the largest budget, the methods by accuracy kept, then the trivial baselines."""

    def place(cell: tuple[str, str]) -> tuple[float, str, bool, float, str]:
        strategy, budget = cell
        row = cells[strategy, budget, MEAN]
        value = row["retention"] if row["retention"] == row["retention"] else row["score"]
        return -budget_size(budget), budget, is_trivial(strategy), -value, strategy

    return sorted(((s, b) for s, b, task in cells if task == MEAN and s != VANILLA), key=place)


def _heading(budget: str, tokens: float) -> str:
    """What stands above the methods of a budget, and above vanilla if it is empty; ``tokens`` are those of vanilla."""
    whole = tokens == round(tokens) if tokens == tokens else False
    if not budget:
        return f"All {tokens:.0f} visual tokens" if whole else "All visual tokens"
    if not whole or budget_size(budget) == float("inf"):
        return f"Budget {budget}"
    read = Budget.read(budget)
    share = read.tokens / tokens if read.tokens is not None else float(read.keep or 0)
    return f"Budget {budget}: {share * tokens:.0f} of {tokens:.0f} visual tokens ({100 * share:.1f} %)"


def _score(cell: Mapping[Any, Any] | None) -> str:
    return NOTHING if cell is None else percent(cell["score"])


def _kept(cell: Mapping[Any, Any]) -> str:
    if cell["strategy"] == VANILLA:
        return "100.0" if cell["retention"] == cell["retention"] else NOTHING
    return interval(cell["retention"], cell["retention_low"], cell["retention_high"])


def _belongs(one: PublishedScores, strategy: str, budget: str) -> bool:
    return one.strategy == strategy and (strategy == VANILLA or one.budget == budget)


def _published(one: PublishedScores, tasks: Sequence[str]) -> str:
    scores = [escape(number(one.scores[task]) if task in one.scores else NOTHING) for task in tasks]
    name = rf"\quad published{DAGGER}, {escape(one.source.partition(', Table')[0])}"
    return _line([name, *scores, escape(NOTHING), escape(NOTHING)])


def _line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"


def _caption(comparison: Comparison, model: str, published: Sequence[PublishedScores], label: str) -> str:
    said = (
        f"Scores in per cent of {model} by task and budget, {count_of(comparison.samples, 'question')} on "
        f"{count_of(comparison.clusters, 'image')}; their average; and the accuracy kept, in per cent of vanilla's with "
        "simultaneous 95 % intervals. Bold: not distinguishable from the highest at this budget."
    )
    papers = "Published, as printed in papers, and measured by their authors with other code; scores that are not in per cent are left out."
    if any(one.corrected for one in published):
        papers += " Published numbers that are printed in a wrong column are corrected."
    parts = [prose(said), f"{DAGGER} {prose(papers)}" if published else "", prose(f"{label}.") if label else ""]
    return " ".join(filter(None, parts))

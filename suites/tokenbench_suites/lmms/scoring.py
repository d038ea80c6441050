"""How a task's answers become numbers: one from 0 to 1 for each sample, and the official ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tokenbench.contract.suite import UnitRule
from tokenbench.errors import UsageError
from tokenbench_suites.lmms.captions import Caption, Consensus
from tokenbench_suites.lmms.laws import Item, Law, combine
from tokenbench_suites.lmms.numbers import as_number, flatten

if TYPE_CHECKING:
    from tokenbench_suites.lmms.library import Library

__all__ = ["KNOWN", "Metric", "Scorer", "Source", "columns_of"]

Source = Literal["noted", "alone", "consensus"]
KNOWN = "(known)"
"""In place of a column: the stratum that the catalogue says."""
STATES = 8
"""In how many states of the random generators an answer is scored, if the scorer draws."""


@dataclass(frozen=True)
class Metric:
    """How one metric of a task becomes a number for each sample."""

    name: str
    """Its name in lmms-eval."""
    part: str = ""
    """The metric that has the numbers of single samples, if it is another one, such as the accuracy for a metric that counts pairs."""
    source: Source = "noted"
    """Where the number of an answer comes from: the task notes it with the answer (`noted`); it is the task's aggregate of this answer
    alone (`alone`); or it is CIDEr, given the references of all rows (`consensus`)."""
    top: float = 1.0
    """The number of a right answer. That of a wrong one is 0."""
    higher_is_better: bool = True
    """Whether the score is the number divided by `top`, or what it lacks to 1."""
    law: Law | None = None
    """How the official number follows; None if lmms-eval itself averages the numbers."""
    instead_of: str = ""
    """The first metric of the task, if it is computed for all answers at once."""

    def score(self, value: float) -> float:
        """The score of an answer with this number."""
        share = value / self.top
        return share if self.higher_is_better else 1 - share


class Scorer:
    """Scores the answers to a task, and holds its official numbers against the scores.

    Args:
        library: The task.
        metrics: The metrics that score samples, by name. Of those that a task notes for an answer, the first counts.
        draws: Whether the task draws at random where it cannot read an answer.
    """

    def __init__(self, library: Library, metrics: Mapping[str, Metric], draws: bool = False) -> None:
        self._library, self.metrics, self.draws = library, metrics, draws
        self._values: dict[tuple[str, str], float | None] = {}
        self._whole: dict[str, Consensus] = {}

    @property
    def graded(self) -> bool:
        """Whether scores say how good an answer is, and not whether it is right."""
        return any(metric.source == "consensus" for metric in self.metrics.values())

    @property
    def remarks(self) -> list[str]:
        """What a reader of the scores should know."""
        of = list(self.metrics.values())
        said = {
            f"Scores are CIDEr divided by 10, given the references of all {len(self._library.rows):,} rows, and not of those alone that were "
            "asked; accuracy kept is the share of vanilla's CIDEr. The official numbers lack METEOR, which is a program in Java.": self.graded,
            "An answer that cannot be read is wrong; lmms-eval draws a letter for it at random.": self.draws,
            "An answer that no rule can read is wrong; the benchmark's authors ask a judge about it.": self._library.entry.rules,
            "An empty answer is wrong; lmms-eval leaves it out.": any(one.law and one.law.skips_empty for one in of),
            "Scores are what the error rate lacks to 1.": not all(one.higher_is_better for one in of),
        }
        replaced = [
            f"Scores are '{one.name}', since '{one.instead_of}' is computed for all answers at once; official.csv holds both."
            for one in of
            if one.instead_of
        ]
        return [text for text, true in said.items() if true] + replaced

    def results(self, i: int, answer: str) -> dict[str, dict[str, Any]]:
        """What the task notes for an answer to row i. A letter that it draws for an answer that it cannot read is a wrong one."""
        if not self.draws:
            return self._library.results(i, answer)
        tries = [self._library.results(i, answer, state) for state in range(STATES)]
        return min(tries, key=lambda results: self._score(i, first(results)))

    def score(self, i: int, answer: str) -> float:
        """The score of an answer to row i.

        Raises:
            UsageError: It is not a number from 0 to 1.
        """
        return self._score(i, first(self.results(i, answer)))

    def stratum(self, i: int) -> str:
        """The stratum of row i; empty if the official number has none."""
        columns = {metric.law.stratum for metric in self.metrics.values() if metric.law}
        (column,) = columns if len(columns) == 1 else ("",)
        return columns_of(self._library, i)[column] if column else ""

    def official(self, answers: Mapping[int, str], units: Mapping[int, str], rule: UnitRule) -> dict[str, float]:
        """The aggregated metrics of lmms-eval for answers by row.

        They come from a fresh task, since some tasks keep sums between calls. A metric is left out if it needs Java, or cannot
        be computed for these samples alone.

        Args:
            answers: The answers.
            units: The unit of each of these rows.
            rule: How the scores of a unit's samples become one.

        Raises:
            UsageError: The scores of the samples do not give the official number.
        """
        results = {i: self.results(i, answers[i]) for i in sorted(answers)}
        filters = list(dict.fromkeys(name for noted in results.values() for name in noted))
        task = self._library.fresh()
        numbers: dict[str, float] = {}
        for name in filters:
            for metric in self._library.metrics:
                records = [noted[name][metric] for noted in results.values() if metric in noted.get(name, {})]
                number = self._aggregate(metric, records, task) if records else None
                numbers |= flatten(f"{metric},{name}" if len(filters) > 1 else metric, number)
                if name == filters[0] and metric in self.metrics:
                    self._check(self.metrics[metric], as_number(number), answers, units, rule)
        return numbers

    def _aggregate(self, metric: str, records: Sequence[Any], task: Any) -> Any:
        """A metric; None if it cannot be computed here, or for these samples alone."""
        with suppress(Exception):  # the task's own code may raise anything; some counts on its whole data
            return self._library.aggregate(metric, records, task)
        return None

    def consensus(self, metric: str, rows: Iterable[int]) -> Consensus:
        """CIDEr, given the references of these rows."""
        notes = (first(self._library.results(i, ""))[metric] for i in rows)
        return Consensus(caption.references for note in notes if (caption := Caption.of(note)))

    def value(self, metric: Metric, record: Any, consensus: Consensus | None = None) -> float | None:
        """The number of one answer under a metric; None if there is none.

        Args:
            metric: The metric.
            record: What the task notes for the answer.
            consensus: CIDEr; by default, given the references of all rows.
        """
        name = metric.part or metric.name
        if metric.source == "noted":
            return self._library.number(name, record)
        if metric.source == "consensus":
            caption = Caption.of(record)
            return (consensus or self._whole_consensus(name)).score(caption) if caption else None
        key = name, repr(record)
        if key not in self._values:
            self._values[key] = as_number(self._library.aggregate(name, [record]))
        return self._values[key]

    def _whole_consensus(self, name: str) -> Consensus:
        if name not in self._whole:
            self._whole[name] = self.consensus(name, range(len(self._library.rows)))
        return self._whole[name]

    def _value_of(self, metric: Metric, noted: Mapping[str, Any], consensus: Consensus | None = None) -> float | None:
        return self.value(metric, noted[metric.part or metric.name], consensus)

    def _metric_of(self, noted: Mapping[str, Any]) -> Metric | None:
        return next((metric for name, metric in self.metrics.items() if name in noted), None)

    def _score(self, i: int, noted: Mapping[str, Any]) -> float:
        metric = self._metric_of(noted)
        value = self._value_of(metric, noted) if metric else None
        score = metric.score(value) if metric and value is not None else None
        if score is None or not -1e-9 <= score <= 1 + 1e-9:
            said = f"'{metric.name}' is {value}" if metric else f"it has no {' or '.join(self.metrics)}"
            raise UsageError(
                f"task '{self._library.name}', row {i}: the answer has no score from 0 to 1, since {said}",
                "redefine the task with another metric, in a folder for --tasks-dir",
            )
        return min(1.0, max(0.0, score))

    def _check(
        self,
        metric: Metric,
        official: float | None,
        answers: Mapping[int, str],
        units: Mapping[int, str],
        rule: UnitRule,
    ) -> None:
        """Raise UsageError if the scores of the samples do not give the official number."""
        if metric.law is None or official is None:
            return
        grouped: dict[str, list[tuple[int, float]]] = {}
        asked = self.consensus(metric.name, answers) if metric.source == "consensus" else None
        for i, answer in answers.items():
            noted = first(self.results(i, answer))
            if self._metric_of(noted) is metric:
                share = (self._value_of(metric, noted, asked) or 0.0) / metric.top
                grouped.setdefault(units[i], []).append((i, share))
        items = [self._item(group, answers, rule) for group in grouped.values()]
        if not metric.law.allows(items, official):
            raise UsageError(
                f"task '{self._library.name}': the scores of its samples give {metric.law.number(items):.6g} for '{metric.name}', "
                f"but lmms-eval reports {official:.6g}",
                "do not use this task's scores, and please report it",
            )

    def _item(self, group: Sequence[tuple[int, float]], answers: Mapping[int, str], rule: UnitRule) -> Item:
        shares, empty = [share for _, share in group], not any(answers[i].strip() for i, _ in group)
        return Item(combine(shares, rule), columns_of(self._library, group[0][0]), empty)


def columns_of(library: Library, i: int) -> dict[str, str]:
    """What row i says that may name its stratum: its columns, and what the catalogue makes of them."""
    row = library.rows.plain[i]
    return {**{name: str(value) for name, value in row.items()}, KNOWN: library.entry.stratum_of(row)}


def first(results: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the first filter notes, by which samples are scored."""
    return next(iter(results.values()))

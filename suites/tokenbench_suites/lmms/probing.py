"""Finds out, before a model is loaded, how the answers to a task are scored, or that they cannot be.

The task's own code scores answers that are right, wrong and unreadable to some of its real rows. The task is run only if its official
number follows from one number for each sample. Nothing in this module is about a particular task.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tokenbench.errors import TokenBenchError, UsageError, brief
from tokenbench_suites.lmms.answers import UNREADABLE, possible_answers
from tokenbench_suites.lmms.captions import TOP, is_consensus
from tokenbench_suites.lmms.contained import contain, offline
from tokenbench_suites.lmms.laws import Draw, Item, combine, find_law
from tokenbench_suites.lmms.library import Library
from tokenbench_suites.lmms.misfit import report_misfit
from tokenbench_suites.lmms.numbers import as_number
from tokenbench_suites.lmms.scoring import KNOWN, Metric, Scorer, Source, columns_of
from tokenbench_suites.lmms.trials import choose_units, draw_sets, find_companions

__all__ = ["examine"]

SPREAD = 100
"""On how many rows it is looked which metrics the task notes."""
STATES = 4
"""In how many states of the random generators an answer is scored, to see whether the task draws."""
PATIENCE = 90.0
"""Seconds after which the examination is given up."""
Values = dict[tuple[int, str], float]


def examine(library: Library, units: Sequence[Sequence[int]]) -> Scorer:
    """Find how the answers to a task are scored.

    The official number is that of the catalogue, or else the first metric that every row has and in which higher is better.

    Args:
        library: The task with its rows.
        units: The rows of each unit, in the order in which they are asked.

    Raises:
        UsageError: There is no number for each sample from which the official one follows.
    """
    return _Examination(library, units).scorer()


class _Examination:
    def __init__(self, library: Library, units: Sequence[Sequence[int]]) -> None:
        self._library, self._entry = library, library.entry
        self._rule, self._headline, self._part = self._entry.unit_rule, self._entry.headline, self._entry.part
        chosen = choose_units(units, self._known)
        self._units = [*chosen, *find_companions(units, chosen, library.rows.values, library.rows.simple)]
        step = max(1, len(units) // SPREAD)
        self._spread = [unit[0] for unit in units[::step]]
        self._answers: dict[int, list[str]] = {}
        self._until = time.monotonic() + PATIENCE

    def scorer(self) -> Scorer:
        with contain(), offline():
            for i in (i for unit in self._units for i in unit):
                self._answers[i] = possible_answers(self._library, i)
                self._try_all(i)
            scorer = Scorer(self._library, self._metrics())
            scorer.draws = self._does_draw(scorer)
            return scorer

    def _known(self, i: int) -> str:
        return self._entry.stratum_of(self._library.rows.plain[i])

    def _metrics(self) -> dict[str, Metric]:
        """The metrics that score samples; in place of a number of all answers at once, another one of the task."""
        names = self._names()
        try:
            return {name: self._metric(name) for name in names}
        except UsageError:
            others = [name for name in self._common() if name not in names and self._library.metrics[name]]
            if self._headline or len(names) > 1 or not self._tells(names[0]):
                raise
            for other in others:
                with suppress(UsageError):
                    return {other: replace(self._metric(other), instead_of=names[0])}
            raise

    def _tells(self, name: str) -> bool:
        """Whether a metric of all answers at once tells right answers from any."""
        right, mixed = draw_sets(self._units, self._answers)[:2]
        try:
            return (self._official(name, right) or 0.0) > (self._official(name, mixed) or 0.0)
        except Exception:  # the task's own code may raise anything
            return False

    def _common(self) -> list[str]:
        """The metrics that all rows have, in the task's order."""
        noted = [self._noted(i, UNREADABLE[0]).keys() for i in (*self._spread, *self._answers)]
        return [name for name in self._library.metrics if all(name in names for names in noted)]

    def _try_all(self, i: int) -> None:
        """Raise an error if the task cannot score some answer to a row."""
        failed: dict[str, Exception] = {}
        for answer in self._answers[i]:
            try:
                self._noted(i, answer)
            except TokenBenchError:
                raise
            except Exception as error:  # the task's own code may raise anything
                failed[answer] = error
        if len(failed) == len(self._answers[i]):
            with report_misfit(self._library.name, i):
                raise next(iter(failed.values()))
        for answer, reason in failed.items():
            raise self._refusal(f"its scorer fails for the answer '{answer[:40]}' to row {i}: {brief(reason)}")

    def _names(self) -> list[str]:
        """The metrics that score samples: one that every row has, or else the first of each row."""
        if self._headline:
            return [self._headline]
        higher = self._library.metrics
        if common := self._common():
            captions = [name for name in common if is_consensus(name)]  # what papers report, though it is noted last
            return [next((name for name in (*captions, *common) if higher[name]), common[0])]
        noted = [self._noted(i, UNREADABLE[0]).keys() for i in (*self._spread, *self._answers)]
        firsts = {next((name for name in higher if name in names), "") for names in noted}
        if "" in firsts:
            raise self._refusal(
                f"its scorer returns none of its metrics ({', '.join(higher) or 'there are none'}) for some answers"
            )
        return [name for name in higher if name in firsts]

    def _metric(self, name: str) -> Metric:
        """Find how a metric becomes a number for each sample."""
        better = self._library.metrics[name]
        if self._library.is_mean(name) and better:
            return Metric(name)
        units = [unit for unit in self._units if all(name in self._noted(i, UNREADABLE[0]) for i in unit)]
        rows = [i for unit in units for i in unit]
        if is_consensus(name) and (metric := self._consensus(name, units)):
            return metric
        reasons, draws = [], None
        sources: tuple[Source, ...] = ("noted", "alone")
        for source in sources:
            values = self._values(self._part or name, rows, source)
            if isinstance(values, str):
                reasons.append(values)
                continue
            top = self._top(values, rows, source)
            if reason := self._unusable(values, rows, top, better):
                reasons.append(reason)
                continue
            draws = draws or self._draws(name, units)
            shares = {key: value / top for key, value in values.items()}
            items = [Draw(self._items(answers, units, shares), official) for answers, official in draws]
            if law := find_law(items, self._columns(rows)):
                return Metric(name, self._part or name, source, top, better, law)
            reasons.append(f"'{name}' is not a mean of numbers for single samples, units or groups of them")
        raise self._refusal(reasons[-1])

    def _consensus(self, name: str, units: Sequence[Sequence[int]]) -> Metric | None:
        """CIDEr, if the official number is the mean over the captions of every set of rows; else None."""
        scorer, metric = Scorer(self._library, {}), Metric(name, name, "consensus", TOP)
        draws = []
        for answers, official in self._draws(name, units):
            consensus = scorer.consensus(name, answers)
            values = {
                key: metric.score(scorer.value(metric, self._noted(*key)[name], consensus) or 0.0)
                for key in answers.items()
            }
            draws.append(Draw(self._items(answers, units, values), official))
        law = find_law(draws)
        return replace(metric, law=law) if law else None

    def _values(self, name: str, rows: Sequence[int], source: Source) -> Values | str:
        """The number of every answer under a metric: the one that the task notes, or the aggregate of this answer alone.

        If some answer has none, the result says why.
        """
        values: Values = {}
        scorer, metric = Scorer(self._library, {}), Metric(name, name, source)
        began, number = time.monotonic(), sum(len(self._answers[i]) for i in rows)
        for i in rows:
            for answer in self._answers[i]:
                self._hurry()
                if len(values) == 1 and number * (time.monotonic() - began) > PATIENCE:
                    return f"'{name}' takes {time.monotonic() - began:.1f} seconds for one answer, since it is computed for all at once"
                try:
                    value = scorer.value(metric, self._noted(i, answer)[name])
                except Exception as error:  # the task's own code may raise anything
                    return f"'{name}' cannot be computed for one answer alone ({brief(error)})"
                if value is None:
                    return f"'{name}' has no number for one answer alone"
                values[i, answer] = value
        return values

    def _top(self, values: Values, rows: Sequence[int], source: Source) -> float:
        """The number of a right answer."""
        best = [max(values[i, answer] for answer in self._answers[i]) for i in rows]
        top = max(best)
        if source == "alone" and top > 0 and 2 * sum(value == top for value in best) >= len(best):
            return top
        return 1.0 if top <= 1 else 100.0

    def _unusable(self, values: Values, rows: Sequence[int], top: float, higher_is_better: bool) -> str:
        """Why these numbers cannot be scores; empty if they can."""
        spans = [[values[i, answer] for answer in self._answers[i]] for i in rows]
        if 2 * sum(max(span) > min(span) for span in spans) < len(spans):
            return "its scorer does not tell right answers from wrong ones without a judge, a server or all answers at once"
        lowest, highest = min(map(min, spans)), max(map(max, spans))
        if lowest < 0 or highest > top * (1 + 1e-9):
            return f"its numbers for single answers range from {lowest:.4g} to {highest:.4g}"
        if not higher_is_better and top > 1:
            return "its numbers are better if they are lower, and have no upper bound"
        return ""

    def _draws(self, name: str, units: Sequence[Sequence[int]]) -> list[tuple[Mapping[int, str], float]]:
        """Sets of answers with their official numbers, where they have one."""
        sets = draw_sets(units, self._answers)
        with suppress(Exception):  # the task's own code may raise anything; below, it is said
            self._library.keeps_sums |= self._official(name, sets[0]) != self._official(name, sets[0])
        draws: list[tuple[Mapping[int, str], float]] = []
        reason = "it is no number"
        for answers in sets:
            self._hurry()
            try:
                number = self._official(name, answers)
            except Exception as error:  # the task's own code may raise anything
                number, reason = None, brief(error)
            if number is not None:
                draws.append((answers, number))
        if not draws:
            raise self._refusal(f"'{name}' can only be computed for all samples at once ({reason})")
        return draws

    def _official(self, name: str, answers: Mapping[int, str]) -> float | None:
        return as_number(self._library.aggregate(name, [self._noted(i, answer)[name] for i, answer in answers.items()]))

    def _items(self, answers: Mapping[int, str], units: Sequence[Sequence[int]], shares: Values) -> list[Item]:
        return [
            Item(
                combine([shares[i, answers[i]] for i in unit], self._rule),
                columns_of(self._library, unit[0]),
                not any(answers[i].strip() for i in unit),
            )
            for unit in units
            if unit[0] in answers
        ]

    def _columns(self, rows: Sequence[int]) -> list[str]:
        """The columns that may name strata, the likeliest first: they have few values."""
        plain = [self._library.rows.plain[i] for i in rows]
        counts = {
            name: len({str(row[name]) for row in plain})
            for name, value in plain[0].items()
            if isinstance(value, str | int)
        }
        few = sorted((name for name, count in counts.items() if 1 < count < len(rows)), key=counts.__getitem__)
        return [KNOWN, *few] if self._entry.stratum else few

    def _does_draw(self, scorer: Scorer) -> bool:
        """Whether the task draws at random: in another state of the generators, an answer has another score."""
        for i, answers in self._answers.items():
            for answer in (*answers[:1], *UNREADABLE):
                notes = [self._library.results(i, answer, state) for state in range(STATES)]
                if any(repr(other) != repr(notes[0]) for other in notes[1:]):
                    return True
        return False

    def _noted(self, i: int, answer: str) -> Mapping[str, Any]:
        self._hurry()
        return next(iter(self._library.results(i, answer).values()))

    def _hurry(self) -> None:
        if time.monotonic() > self._until:
            raise self._refusal(f"its scorer takes more than {PATIENCE:.0f} seconds for {len(self._answers)} samples")

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(
            f"task '{self._library.name}' cannot be scored for each sample: {reason}",
            "redefine it with a metric that is a mean over samples, in a folder for --tasks-dir",
        )

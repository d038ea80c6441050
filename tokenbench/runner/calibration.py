"""Finds the dials of strategies that decide their own counts, so that their mean work is that of a budget.

Every task has samples that are held out. They are run for their costs, never for their answers, and no result counts them. The value
that is found is a part of the cell's identity and stands in run.json, so that a resumed run does not look for it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tokenbench.contract.budget import count
from tokenbench.contract.suite import Sample, Task
from tokenbench.cost.matching import work_of
from tokenbench.engine import EncoderRequests, Pruner, RowPlan, RowTrace
from tokenbench.errors import InfeasibleError, StrategyError, UsageError
from tokenbench.runner.asking import ask_batch
from tokenbench.runner.showing import load_batch
from tokenbench.runner.work import Work
from tokenbench.store.calibrated import Calibration

__all__ = ["calibrate"]

STEPS = 20
"""Halvings of a dial's range, after which it is known to a millionth of the range."""
CLOSE = 1e-3
"""A mean within this share of the budget's is near enough."""
FAR = 0.01
"""A mean that is off by more than this share of the budget's is said to be."""
UNITS = {"tokens": "visual tokens per layer", "flops": "FLOPs of the decoder's prefill"}
Measured = tuple[float, float]
"""The mean work that a strategy does, and the mean work that its budget stands for."""


def calibrate(
    works: Mapping[str, Work], asked: int, keep_loaded: bool, say: Callable[[str], object] = lambda text: None
) -> dict[str, Work]:
    """Calibrate all cells that need a value and have none yet.

    Args:
        works: The work of every model, by its name.
        asked: How many samples of each task were asked to be held out.
        keep_loaded: Whether the weights of models stay loaded.
        say: Takes sentences on what is calibrated, and on what was found.

    Returns:
        The works with what was found.

    Raises:
        UsageError: A task has too few samples to hold any out.
    """
    if asked and not any(work.dials for work in works.values()):
        say(
            "the first samples of each task are held out and counted in no result, as --held-out asks, although no strategy is calibrated"
        )
    calibrated = {}
    for name, work in works.items():
        if any(map(work.lacking, work.tasks)):
            found = _calibrate(work, asked, say)
            if not keep_loaded:
                work.model.release()
            work = work.calibrate_with({one.base: one for one in found})
        calibrated[name] = work
    return calibrated


def _calibrate(work: Work, asked: int, say: Callable[[str], object]) -> list[Calibration]:
    """Return what is found for every cell of one model that has no value yet."""
    found: list[Calibration] = []
    for name, task in work.tasks.items():
        searches = {arm: _Search(work, arm, name) for arm in work.lacking(name)}
        if not searches:
            continue
        if not work.held_out[name]:
            raise UsageError(
                f"task '{name}' has too few samples to hold any out for the calibration of {work.arms[min(searches)].named.name}",
                "leave that strategy out, or run it with nominal budgets",
            )
        held, total = len(work.held_out[name]), len(task.samples())
        few = (
            f"{held} of the {asked} asked for: at most a quarter of a task's {total:,} samples" if held < asked else ""
        )
        say(f"calibrating on {held} held-out samples of {name} ({'; '.join(filter(None, [work.model.name, few]))})")
        with work.model.pruner() as pruner:
            rows = _HeldOut(work, pruner, task)
            while due := {arm: search.next for arm, search in searches.items() if search.next is not None}:
                for arm, measured in rows.measure(due).items():
                    searches[arm].learn(measured)
        found += [search.result() for search in searches.values()]
        for one in found[-len(searches) :]:
            say(_describe(one))
    return found


class _HeldOut:
    """The held-out samples of one task, loaded once."""

    def __init__(self, work: Work, pruner: Pruner, task: Task) -> None:
        self._work, self._pruner = work, pruner
        samples: Sequence[Sample] = work.held_out[task.name]
        starts = range(0, len(samples), work.batch_size)
        batches = [[(task, sample) for sample in samples[at : at + work.batch_size]] for at in starts]
        self._loaded = [load_batch(work.model, batch) for batch in batches]

    def measure(self, due: Mapping[int, float]) -> dict[int, Measured | StrategyError | InfeasibleError]:
        """Measure the work of several arms, each with its dial at a value, in one pass over the samples."""
        work, arms = self._work, list(due)
        try:
            plans = [work.plans[0], *(work.turn(arm, due[arm]) for arm in arms)]
        except StrategyError as error:
            return dict.fromkeys(arms, error)
        requests = EncoderRequests.of(stage for plan in plans for stage in plan.typical)
        turned = replace(work, plans=plans, requests=requests, calibrated={})
        traces: dict[int, list[RowTrace]] = {arm: [] for arm in arms}
        failures: dict[int, StrategyError | InfeasibleError] = {}
        for questions, loaded, _ in self._loaded:
            wanted = [at for at, arm in enumerate(arms, start=1) if arm not in failures]
            if loaded is None or not wanted:
                continue
            for _, outcome in ask_batch(turned, self._pruner, questions, loaded, wanted, set(), most_tokens=1):
                arm = arms[outcome.plan - 1]
                traces[arm] += outcome.rows
                if outcome.error is not None:
                    failures[arm] = outcome.error
        return {arm: failures.get(arm) or self._mean(work.plans[arm], traces[arm]) for arm in arms}

    def _mean(self, plan: RowPlan, traces: Sequence[RowTrace]) -> Measured | StrategyError:
        """Return the mean work of rows, and that of the plan's budget on the same rows."""
        mode, size = self._work.match, self._work.size.decoder if self._work.size else None
        rows = [row for row in traces if row.visual]
        if not rows:
            return StrategyError("the model can be asked none of the samples that are held out for calibration")
        done = [work_of(mode, row.tokens_per_layer, row.text, size) for row in rows]
        wanted = [[count(plan.budget.keep, row.visual, row.visual)] * row.depth for row in rows]
        target = [work_of(mode, tokens, row.text, size) for tokens, row in zip(wanted, rows, strict=True)]
        return sum(done) / len(rows), sum(target) / len(rows)


class _Search:
    """The search for one cell's value: first both ends of the dial's range, then halves of what is left of it."""

    def __init__(self, work: Work, arm: int, task: str) -> None:
        cell, self._dial = work.cells[arm, task], work.dials[arm]
        self._about = {"base": cell.id, **{name: value for name, value in cell.names.items() if name != "id"}}
        self._about |= {
            "parameter": self._dial.parameter,
            "unit": UNITS[work.match],
            "held_out": len(work.held_out[task]),
        }
        # From the end at which least is kept to that at which most is.
        self._least, self._most = sorted((self._dial.low, self._dial.high), reverse=not self._dial.rising)
        self._means: dict[float, float] = {}
        self._target = 0.0
        self._error: StrategyError | InfeasibleError | None = None
        self.next: float | None = self._least
        """The value to measure next; None when the search is over."""

    def learn(self, measured: Measured | StrategyError | InfeasibleError) -> None:
        """Take what was measured at `next`, and choose the next value."""
        assert self.next is not None
        value, self.next = self.next, None
        if isinstance(measured, StrategyError | InfeasibleError):
            self._error = measured
            return
        self._means[value], self._target = measured
        if len(self._means) == 1:
            self.next = self._most
            return
        if len(self._means) == 2:
            self._error = self._check_ends()
        elif self._means[value] < self._target:
            self._least = value
        else:
            self._most = value
        near = min(abs(mean / self._target - 1) for mean in self._means.values()) <= CLOSE
        if not (near or self._error or len(self._means) == STEPS + 2):
            self.next = (self._least + self._most) / 2

    def _check_ends(self) -> StrategyError | InfeasibleError | None:
        """Return what is wrong with the ends of the range, if anything is."""
        least, most = self._means[self._least], self._means[self._most]
        ends = f"{self._dial.parameter} from {self._least:g} to {self._most:g}"
        if least > most:
            return StrategyError(
                f"its dial is declared to keep more with {ends}, but keeps less ({_amount(least)} and {_amount(most)} {self._about['unit']})"
            )
        if not least * (1 - CLOSE) <= self._target <= most * (1 + CLOSE):
            return InfeasibleError(
                f"budget {self._about['budget']} stands for {_amount(self._target)} {self._about['unit']}, and with {ends} it reaches "
                f"{_amount(least)} to {_amount(most)} (means over {self._about['held_out']} held-out samples)"
            )
        return None

    def result(self) -> Calibration:
        """Return the value whose mean is nearest to the budget's, or why there is none."""
        best = min(self._means, key=lambda one: abs(self._means[one] - self._target), default=None)
        reached = 0.0 if best is None else self._means[best]
        kind = "" if self._error is None else "infeasible" if isinstance(self._error, InfeasibleError) else "failed"
        value, reason = (None, str(self._error)) if self._error else (best, "")
        return Calibration(**self._about, value=value, target=self._target, reached=reached, kind=kind, reason=reason)  # type: ignore[arg-type]


def _describe(one: Calibration) -> str:
    """Say in a sentence what was found."""
    where = f"{one.strategy} at {one.budget} on {one.task}"
    if one.value is None:
        return f"{where}: {one.reason}"
    off = one.reached / one.target - 1
    apart = (
        f" (the nearest found is {100 * abs(off):.1f} % {'above' if off > 0 else 'below'} it)" if abs(off) > FAR else ""
    )
    return f"{where}: {one.parameter}={one.value:.4g} takes {_amount(one.reached)} {one.unit}; the budget is {_amount(one.target)}{apart}"


def _amount(value: float) -> str:
    return f"{value:.1f}" if value < 1e5 else f"{value:.4g}"

"""The verdict on a comparison: the one place that decides it, and the fixed words of every report.

A verdict is read off the simultaneous interval that stands beside it, so the two never disagree. A difference that was
not shown is "not distinguishable" or "not decided"; no report ever says "equal" or "no loss".
"""

from dataclasses import dataclass
from enum import Enum
from math import isnan

from tokenbench.tables import Tone

__all__ = ["Kind", "Verdict", "judge_against_vanilla", "judge_pair"]


class Kind(Enum):
    """What was shown; the value is the wording, with the margin where it has one."""

    BETTER = "better"
    EQUIVALENT = "equivalent within {margin:g}"
    NON_INFERIOR = "non-inferior within {margin:g}"
    WORSE_BUT_NON_INFERIOR = "worse, but non-inferior within {margin:g}"
    WORSE = "worse"
    LOSES_MORE = "loses more than {margin:g}"
    NOT_DECIDED = "not decided"
    NOT_DISTINGUISHABLE = "not distinguishable"
    TOO_FEW = "too few images"
    UNDEFINED = "accuracy kept is not defined"
    SEEDS_CONTRADICT = "no verdict: its seeds contradict their declared scope"


@dataclass(frozen=True)
class Verdict:
    """What a comparison has shown.

    Whoever shows a verdict asks it for its text, tone and symbol, and never reads the text again.
    """

    kind: Kind
    """What was shown."""
    margin: float | None = None
    """Points of accuracy kept, declared before the run; None for kinds without one."""

    @property
    def text(self) -> str:
        """The fixed words for a reader."""
        return self.kind.value.format(margin=self.margin)

    def __str__(self) -> str:
        return self.text

    @property
    def tone(self) -> Tone:
        """Whether it speaks for the first cell, against it, or leaves the question open."""
        if self.lossless:
            return "good"
        return "bad" if self.sign < 0 else "neutral"

    @property
    def symbol(self) -> str:
        """A glyph that says the tone without colour."""
        if self.tone == "good":
            return "▲" if self.sign > 0 else "✓"
        if self.tone == "bad":
            return "▼"
        return "?" if self.kind is Kind.NOT_DECIDED else "·"

    @property
    def sign(self) -> int:
        """1 if the first cell was shown to be better, -1 if worse, 0 if no order was shown."""
        if self.kind is Kind.BETTER:
            return 1
        return -1 if self.kind in (Kind.WORSE, Kind.WORSE_BUT_NON_INFERIOR, Kind.LOSES_MORE) else 0

    @property
    def lossless(self) -> bool:
        """Whether a loss of the margin, or any loss, was ruled out."""
        return self.kind in (Kind.BETTER, Kind.EQUIVALENT, Kind.NON_INFERIOR, Kind.WORSE_BUT_NON_INFERIOR)

    @property
    def answer(self) -> str:
        """The answer to the question whether more than the margin is lost: yes, no, open, or why there is none."""
        if self.lossless or self.kind is Kind.LOSES_MORE:
            return "no" if self.lossless else "yes"
        withheld = {Kind.TOO_FEW: "too few images", Kind.UNDEFINED: "not defined", Kind.SEEDS_CONTRADICT: "no verdict"}
        return withheld.get(self.kind, "open")

    @property
    def final(self) -> bool:
        """Whether more samples could not say anything better or worse that a reader acts on."""
        return self.lossless or self.kind is Kind.LOSES_MORE

    @property
    def opposite(self) -> "Verdict":
        """The verdict on the second cell against the first; for kinds without a margin."""
        return Verdict({Kind.BETTER: Kind.WORSE, Kind.WORSE: Kind.BETTER}.get(self.kind, self.kind), self.margin)


def judge_against_vanilla(low: float, high: float, margin: float) -> Verdict:
    """Return the verdict on a strategy against vanilla.

    Args:
        low: Lower limit of its retention minus 100.
        high: Upper limit of its retention minus 100.
        margin: Loss in points that was declared, before the run, to be of no importance.
    """
    if isnan(low) or isnan(high):
        return Verdict(Kind.TOO_FEW)
    if high < -margin:
        return Verdict(Kind.LOSES_MORE, margin)
    not_inferior = low > -margin
    if high < 0:
        return Verdict(Kind.WORSE_BUT_NON_INFERIOR, margin) if not_inferior else Verdict(Kind.WORSE)
    if low > 0:
        return Verdict(Kind.BETTER)
    if not not_inferior:
        return Verdict(Kind.NOT_DECIDED)
    return Verdict(Kind.EQUIVALENT if high < margin else Kind.NON_INFERIOR, margin)


def judge_pair(low: float, high: float) -> Verdict:
    """Return the verdict on one strategy against another, or on one task.

    Args:
        low: Lower limit of the difference.
        high: Upper limit of the difference.
    """
    if isnan(low) or isnan(high):
        return Verdict(Kind.TOO_FEW)
    if high < 0 or low > 0:
        return Verdict(Kind.BETTER if low > 0 else Kind.WORSE)
    return Verdict(Kind.NOT_DISTINGUISHABLE)

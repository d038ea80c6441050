"""The headline of a report: what was found for a model in one sentence with sizes, and what supports it.

The cases of ``findings`` each have one sentence. Nothing is called best, and nothing is said to lead, beat or lose,
unless a verdict says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan

from tokenbench.comparison import Comparison
from tokenbench.comparison.measures import NEAR_ZERO
from tokenbench.comparison.ranking import UNEQUAL_COST
from tokenbench.comparison.wording import UNKNOWN, count_of, limit, number, percent
from tokenbench.errors import printable
from tokenbench_reports.claims import find_reversal, published_means
from tokenbench_reports.findings import Case, Finding, find, vanilla_of
from tokenbench_reports.sentences import Part, Sentence, list_names, name_of, sentence, text_of
from tokenbench_reports.support import count_pairs, support

__all__ = ["Headline", "make_headline"]

NO_BUDGET = "none"
"""How tables write the budget of a strategy that takes none."""

ENOUGH_IMAGES = 100
"""With fewer images a run shows how things work, but is no result."""
IN_WORDS = {
    "random": "random tokens",
    "uniform": "a uniform grid of tokens",
    "pooling": "pooled tokens",
    "downsample": "a smaller image",
    "fewer-frames": "fewer frames",
    "blind": "no image at all",
}
"""What the trivial baselines do, for readers who do not know their names."""


@dataclass(frozen=True)
class Headline:
    """What was found for one model."""

    model: str
    """Its name."""
    label: str
    """What must stand before the headline; empty if there is nothing."""
    parts: Sentence
    """The headline."""
    support: tuple[Sentence, ...]
    """What it rests on and where it ends: intervals, cost, other budgets, the loss against vanilla."""
    pairs: str
    """How many pairs differ at the budget, and which gaps would be missed; empty if there is no pair."""
    scope: str
    """How many questions and images were asked, and what that says nothing about."""
    warnings: tuple[str, ...]
    """What would be misread without a word about it."""
    budget: str
    """The budget that the headline is about; empty if there is none."""
    case: Case | None
    """The kind of finding; None if accuracy kept is not defined, or vanilla ran alone."""
    winner: str | None
    """The method that is best by the verdicts; None if there is none."""
    leaders: tuple[str, ...]
    """The methods that may be best at the budget, by accuracy kept; empty if none beats the trivial baselines."""

    @property
    def text(self) -> str:
        """The headline as text."""
        return text_of(self.parts)

    @property
    def support_text(self) -> str:
        """The support as one paragraph."""
        return " ".join(map(text_of, self.support))


def make_headline(comparison: Comparison, model: str, budget: str | None = None) -> Headline:
    """Say what was found for a model, from the verdicts alone.

    Args:
        comparison: What was measured.
        model: The model.
        budget: The budget that the headline is about, if something was found there; by default, the largest of those
            with the most methods.
    """
    findings = sorted(find(comparison, model), key=lambda one: budget is not None and one.budget != budget)
    vanilla = vanilla_of(comparison, model)
    images = int(vanilla["clusters"])
    first = findings[0] if findings else None
    case = first.case if first else None
    leads = case in (Case.BEST, Case.LEAD, Case.OPEN, Case.ONE)
    return Headline(
        model=model,
        label="" if images >= ENOUGH_IMAGES else "Too few images for a result",
        parts=_say(first) if first else _without_findings(vanilla["score"], vanilla["retention"]),
        support=tuple(support(comparison, model, findings)),
        pairs=count_pairs(first) if first else "",
        scope=f"{count_of(int(vanilla['n']), 'question')} about {count_of(images, 'image')} on {printable(model)}; "
        "nothing follows for other models, tasks or prompts.",
        warnings=tuple(_warnings(comparison, model, first)) if first else (),
        budget=first.budget if first else "",
        case=case,
        winner=first.winner if first and case is Case.BEST else None,
        leaders=tuple(first.leaders) if first and leads else (),
    )


def _say(found: Finding) -> Sentence:
    """The sentence of the case."""
    sentences = {
        Case.BEST: _best,
        Case.LEAD: _lead,
        Case.OPEN: _open,
        Case.FLOOR: _floor,
        Case.ONE: _one,
        Case.MANY: _many,
        Case.UNTESTED: _untested,
        Case.TRIVIAL: _trivial,
    }
    return sentences[found.case](found)


def _without_findings(score: float, retention: float) -> Sentence:
    if isnan(retention):
        bound = f"the unpruned model's score ({percent(score)} %) is not shown to be above {percent(NEAR_ZERO, 0)} %"
        return sentence(f"There is no accuracy kept to compare: {bound}")
    return sentence(f"Only the unpruned model ran: it scores {percent(score)} %")


def _best(found: Finding) -> Sentence:
    winner, second = found.methods[:2]
    tokens = found.cells[winner]["realised_tokens"] / found.cells[second]["realised_tokens"] - 1
    cost = f", for {percent(tokens, 0)} % more tokens" if tokens > UNEQUAL_COST else ""
    cost = f", at {UNKNOWN} cost" if isnan(tokens) else cost
    return sentence(
        *(name_of(winner), f" is best: {_at(found)} it keeps {_kept(found, winner)}, "),
        *(f"{_points(found, winner, second)} more than ", name_of(second), cost),
    )


def _lead(found: Finding) -> Sentence:
    first, *others = found.leaders
    if not others:
        return sentence(name_of(first), f" leads: {_at(found)} it keeps {_kept(found, first)}")
    if len(others) == 1:
        return sentence(
            list_names(found.leaders), " lead: ", _two(found, first, others[0]), ", and cannot be told apart"
        )
    many = f"{len(found.leaders)} of {len(found.methods)} methods lead {_at(found)}: "
    kept = f" keeps {_kept(found, first)}, and "
    return sentence(many, name_of(first), kept, list_names(others), " cannot be told apart from it")


def _open(found: Finding) -> Sentence:
    first, *others = found.methods
    if len(others) == 1:
        return sentence(list_names(found.methods), " cannot be told apart: ", _two(found, first, others[0]))
    return sentence(
        *(f"No method is shown to be best: {_at(found)} ", name_of(first), f" keeps {_kept(found, first)}, "),
        f"and none of the other {len(others)} methods can be told apart from it",
    )


def _two(found: Finding, a: str, b: str) -> str:
    return f"{_at(found)} they keep {percent(found.cells[a]['retention'])} % and {_kept(found, b)}"


def _floor(found: Finding) -> Sentence:
    floor = found.unbeaten[0]
    if len(found.methods) > 1:
        return sentence("No method is shown to beat ", _floor_name(floor), f" {_at(found)}")
    [only] = found.methods
    kept = f" {_at(found)}: it keeps {_kept(found, only)}"
    return sentence(name_of(only), " is not shown to beat ", _floor_name(floor), kept)


def _one(found: Finding) -> Sentence:
    [only] = found.methods
    kept = sentence(name_of(only), f" keeps {_kept(found, only)} {_at(found)}")
    if not found.floors:
        return kept
    floor = found.floors[0]
    return sentence(kept, f", {_points(found, only, floor)} more than ", _floor_name(floor))


def _many(found: Finding) -> Sentence:
    first, floor = found.methods[0], found.floors[0] if found.floors else None
    many = (
        f"{len(found.methods)} methods are too many to compare with each other: {_at(found)} the highest estimate is "
    )
    said = sentence(many, f"{_kept(found, first)}, of ", name_of(first))
    if floor is None or not found.beats(first, floor):
        return said
    return sentence(said, f", {_points(found, first, floor)} more than ", _floor_name(floor))


def _untested(found: Finding) -> Sentence:
    first = found.methods[0]
    which = f"Nothing can be told apart {_at(found)}, where no pair has an interval: the highest estimate is "
    return sentence(which, f"{_kept(found, first)}, of ", name_of(first))


def _trivial(found: Finding) -> Sentence:
    first = found.floors[0]
    kept = f", with {_kept(found, first)}"
    return sentence(f"Only trivial baselines ran: the highest {_at(found)} is ", name_of(first), kept)


def _warnings(comparison: Comparison, model: str, found: Finding) -> Iterator[str]:
    """Where a verdict is right and of no importance, or is not what papers found."""
    if found.case is Case.BEST and found.difference(*found.methods[:2]).at_noise_floor:
        yield (
            f"{text_of(list_names(found.methods[:2]))} differ {_at(found)} on no more answers than two runs of the "
            "unpruned model do: the difference is at the noise floor."
        )
    if not found.methods:
        return
    first, *others = found.methods
    behind = [name for name in others if found.beats(first, name)]
    if reversal := find_reversal(published_means(comparison, model), found.budget, first, behind):
        above, below = reversal
        yield (
            f"A paper reports the opposite order: on {above.backbone} {_at(found)}, {printable(above.strategy)} keeps "
            f"{number(above.kept)} % of the accuracy and {printable(below.strategy)} {number(below.kept)} % ({above.source}). "
            "See the published numbers."
        )


def _floor_name(strategy: str) -> Part:
    return name_of(strategy, IN_WORDS.get(strategy, ""))


def _kept(found: Finding, strategy: str) -> str:
    return f"{percent(found.cells[strategy]['retention'])} % of the model's accuracy"


def _points(found: Finding, a: str, b: str) -> str:
    """The size of a difference that a verdict has shown to be above zero, and which is never rounded to zero."""
    return f"{limit(found.difference(a, b).value, [0.0])} points"


def _at(found: Finding) -> str:
    return f"at budget {printable(found.budget)}" if found.budget != NO_BUDGET else "without a budget"

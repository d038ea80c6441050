"""What supports a headline and where it ends: intervals, cost, other budgets, and the loss against vanilla, in this order."""

from collections.abc import Iterator, Sequence
from math import isnan

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import UNEQUAL_COST
from tokenbench.comparison.verdicts import Kind
from tokenbench.comparison.wording import count_of, join_names, limit, marks_of, percent, span
from tokenbench.contract.cells import is_trivial
from tokenbench.errors import printable
from tokenbench_reports.findings import Case, Cell, Finding, vanilla_of
from tokenbench_reports.sentences import Sentence, list_names, name_of, sentence

__all__ = ["count_pairs", "support"]

SHOWN = 3
"""Sentences about other budgets that are printed; the tables hold all of them."""


def support(comparison: Comparison, model: str, findings: Sequence[Finding]) -> Iterator[Sentence]:
    """The sentences that stand under a headline.

    Args:
        comparison: What was compared.
        model: The model.
        findings: What ``find`` found for it; the headline is about the first.
    """
    if not findings or findings[0].case in (Case.TRIVIAL, Case.UNTESTED):
        return
    first = findings[0]
    yield from _intervals(first, comparison)
    yield from _cost(first, vanilla_of(comparison, model))
    yield from _weak(first)
    yield from _elsewhere(findings)
    yield from _loss(comparison, model)


def _intervals(found: Finding, comparison: Comparison) -> Iterator[Sentence]:
    """The interval of what the highest method keeps, and that of its difference to what the headline holds it against."""
    first = found.methods[0]
    rival = _rival(found)
    marks = marks_of(comparison.margin)
    kept = [name for name in (first, rival) if name and not isnan(found.cells[name]["retention_low"])]
    if first not in kept:
        return
    own = {name: _span(found.cells[name], marks) for name in kept}
    level = f"{100 - 100 * comparison.alpha:g} %"
    if rival is None:
        yield sentence(f"The {level} interval of ", name_of(first), f" is {own[first]} %.")
        return
    difference = found.difference(first, rival)
    if isnan(difference.low):
        return
    points = f"{span(difference.low, difference.high, marks=[0.0])} points"
    if found.case in (Case.BEST, Case.ONE, Case.MANY):
        yield sentence(f"The {level} intervals are {own[first]} % and {points}.")
        return
    both = sentence(f"The {level} interval of the difference between ", name_of(first), " and ", name_of(rival))
    keeps = f" ({percent(found.cells[first]['retention'])} and {percent(found.cells[rival]['retention'])} %)"
    yield sentence(both, keeps if found.case is Case.FLOOR else "", f" is {points}.")


def _rival(found: Finding) -> str | None:
    """Whom the headline holds the highest method against; None for nobody."""
    if found.case is Case.FLOOR:
        return found.unbeaten[0]
    if found.case in (Case.ONE, Case.MANY):
        return found.floors[0] if found.floors else None
    return found.leaders[1] if found.case is not Case.BEST and len(found.leaders) > 1 else found.methods[1]


def _span(cell: Cell, marks: list[float]) -> str:
    return span(cell["retention_low"], cell["retention_high"], marks=marks)


def _cost(found: Finding, vanilla: Cell) -> Iterator[Sentence]:
    """What the highest method costs, and which method keeps most where the KV cache is short."""
    first = found.methods[0]
    flops, cache = (found.cells[first][name] / vanilla[name] for name in ("flops", "cache_bytes"))
    parts = [] if isnan(flops) else [f"computes {percent(flops, 0)} % of the FLOPs"]
    parts += [] if isnan(cache) else [f"stores {percent(cache, 0)} % of the KV cache"]
    if not parts or found.case is Case.FLOOR:
        return
    frugal = _frugal(found)
    if frugal is None:
        yield sentence(name_of(first), f" {join_names(parts)}.")
        return
    share, kept = found.cells[frugal]["cache_bytes"] / vanilla["cache_bytes"], found.cells[frugal]["retention"]
    small = f" stores {percent(share, 0)} % and keeps {percent(kept)} % of the accuracy."
    yield sentence(name_of(first), f" {join_names(parts)}; ", name_of(frugal), small)


def _frugal(found: Finding) -> str | None:
    """Of the methods that store least and beat the trivial baselines, the one that keeps most; None if it is the highest."""
    able = [name for name in found.methods if all(found.beats(name, floor) for floor in found.floors)]
    sizes = {name: found.cells[name]["cache_bytes"] for name in able}
    if not sizes or any(map(isnan, sizes.values())):
        return None
    least = min(sizes.values()) * (1 + UNEQUAL_COST)
    chosen = next(name for name in able if sizes[name] <= least)
    first = found.methods[0]
    return None if found.cells[first]["cache_bytes"] <= least else chosen


def _weak(found: Finding) -> Iterator[Sentence]:
    """Leaders that are not shown to beat every trivial baseline, where others are."""
    if found.case not in (Case.LEAD, Case.OPEN):
        return
    for floor in found.floors:
        if weak := [name for name in found.leaders if not found.beats(name, floor)]:
            verb = " is" if len(weak) == 1 else " are"
            yield sentence(list_names(weak), f"{verb} not shown to beat ", name_of(floor), ".")
            return


def _elsewhere(findings: Sequence[Finding]) -> Iterator[Sentence]:
    """Where the headline does not hold, or that it holds at every budget."""
    first, *others = findings
    if not others:
        return
    differing = [found for found in others if not _same(first, found)]
    if not differing and first.case is not Case.ONE:
        yield _everywhere(first)
        return
    shown = differing if first.case is not Case.ONE else differing or others[-1:]
    for found in shown[:SHOWN]:
        yield _at_budget(found)
    if len(shown) > SHOWN:
        rest = [printable(found.budget) for found in shown[SHOWN:]]
        yield sentence(f"At {join_names(rest)} the leaders differ, too.")


def _same(a: Finding, b: Finding) -> bool:
    if a.case is not b.case:
        return False
    if a.case is Case.FLOOR:
        return a.unbeaten[0] == b.unbeaten[0]
    return set(a.leaders) == set(b.leaders)


def _everywhere(first: Finding) -> Sentence:
    if first.case is Case.BEST:
        return sentence(name_of(first.methods[0]), " is best at every budget.")
    return sentence("The same holds at every budget.")


def _at_budget(found: Finding) -> Sentence:
    """The finding at another budget, in a short sentence."""
    at, first = f"At {printable(found.budget)}, ", found.methods[0] if found.methods else ""
    if found.case is Case.UNTESTED:
        return sentence(at, "no pair has an interval.")
    kept = f"{percent(found.cells[first]['retention'])} %"
    rival = _rival(found)
    if found.case is Case.FLOOR:
        return sentence(at, "no method is shown to beat ", name_of(found.unbeaten[0]), ".")
    if rival and found.case in (Case.BEST, Case.ONE):
        more = f"{limit(found.difference(first, rival).value, [0.0])} points more than "
        does = f" is best and keeps {kept}, " if found.case is Case.BEST else f" keeps {kept}, "
        return sentence(at, name_of(first), does, more, name_of(rival), ".")
    if found.case in (Case.ONE, Case.MANY) or len(found.leaders) == 1:
        return sentence(at, name_of(first), f" keeps {kept}.")
    return sentence(at, name_of(first), f" ({kept}) cannot be told apart from ", list_names(found.leaders[1:]), ".")


def _loss(comparison: Comparison, model: str) -> Iterator[Sentence]:
    """What the verdicts against vanilla say about the margin, over all methods and budgets."""
    pairs = comparison.pairs
    rows = pairs[(pairs["model"] == model) & (pairs["family"] == "F1") & ~pairs["a"].map(is_trivial)]
    if rows.empty:
        return
    points = f"{comparison.margin:g} point{'' if comparison.margin == 1 else 's'}"
    within = f"{points} of the unpruned model"
    good = rows[[verdict.lossless for verdict in rows["verdict"]]]
    budgets = {str(name): list(dict.fromkeys(own["budget"])) for name, own in good.groupby("a", sort=False)}
    one, everywhere = rows["a"].nunique() == 1, rows["budget"].nunique() > 1
    if budgets:
        yield sentence(*_named(budgets), f" stay{'s' if len(budgets) == 1 else ''} within {within}.")
    elif all(verdict.kind is Kind.LOSES_MORE for verdict in rows["verdict"]):
        who = sentence(name_of(rows["a"].iloc[0]) if one else "Every method")
        yield sentence(who, f" loses more than {points}{' at every budget' if everywhere else ''}.")
    else:
        who = sentence(name_of(rows["a"].iloc[0]), " is not") if one else sentence("No method is")
        yield sentence(who, f" shown to stay within {within}.")


def count_pairs(found: Finding) -> str:
    """How many pairs differ, and how large a true difference must be not to be missed too often; empty without pairs."""
    if not found.pairs:
        return ""
    at, total = f"At {printable(found.budget)}, ", len(found.pairs)
    differing = sum(pair["verdict"].sign != 0 for pair in found.pairs.values())
    counted = f"{at}{differing} of {count_of(total, 'pair')} differ{'s' if total == 1 else ''}"
    if differing == total:
        return f"{counted}."
    detectable = [pair["mde"] for pair in found.pairs.values() if pair["verdict"].sign == 0 and not isnan(pair["mde"])]
    gaps = ""
    if detectable:
        sizes = dict.fromkeys(percent(size) for size in (min(detectable), max(detectable)))
        gaps = f", and gaps below {' to '.join(sizes)} points are missed more than one time in five"
    return f"{counted}. What cannot be told apart is not shown to be equal{gaps}."


def _named(budgets: dict[str, list[str]]) -> Iterator["str | Sentence"]:
    """``fastv at 1/3 and dart at 1/3 and 2/9``, the first few."""
    names = list(budgets)
    shown = names if len(names) <= SHOWN else names[: SHOWN - 1]
    for at, name in enumerate(shown):
        last = at == len(names) - 1
        joint = "" if not at else ", and " if last else ", "
        yield sentence(joint, name_of(name), f" at {join_names(map(printable, budgets[name]))}")
    if len(shown) < len(names):
        yield f", and {len(names) - len(shown)} more methods"

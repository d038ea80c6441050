"""The fixed words of every report, and the one place that decides which applies.

A difference that was not shown is "not distinguishable" or "not decided"; no report ever says "equal" or "no loss".
"""

BETTER = "better"
WORSE = "worse"
NOT_DISTINGUISHABLE = "not distinguishable"
NOT_DECIDED = "not decided"


def non_inferior(margin: float) -> str:
    """The words for: a loss of ``margin`` points or more is ruled out."""
    return f"non-inferior within {margin:g}"


def equivalent(margin: float) -> str:
    """The words for: a loss or gain of ``margin`` points or more is ruled out."""
    return f"equivalent within {margin:g}"


def loses_more(margin: float) -> str:
    """The words for: the loss is larger than ``margin`` points."""
    return f"loses more than {margin:g}"


def direction(difference: float, p: float, alpha: float) -> str:
    """Better, worse or not distinguishable, by the p value adjusted in its family."""
    if not p <= alpha:
        return NOT_DISTINGUISHABLE
    return BETTER if difference > 0 else WORSE


def against_vanilla(word: str, low: float, high: float, not_inferior: bool, margin: float) -> str:
    """The verdict on a strategy's retention.

    Args:
        word: its direction.
        low: simultaneous lower limit of retention minus 100.
        high: upper limit.
        not_inferior: whether a loss of ``margin`` is ruled out.
        margin: declared before the run.
    """
    if high < -margin:
        return loses_more(margin)
    if word == WORSE and not_inferior:
        return f"{WORSE}, but {non_inferior(margin)}"
    if word != NOT_DISTINGUISHABLE:
        return word
    if not_inferior and high < margin:
        return equivalent(margin)
    return non_inferior(margin) if not_inferior else NOT_DECIDED

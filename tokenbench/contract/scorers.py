"""Scorers for suites: how right an answer is, from 0 to 1. Each is a pure function that a task's `score` can call.

They compare texts without regard to case, punctuation, articles and spaces, if they do not say otherwise.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["anls", "box_overlap", "choice", "contains", "exact", "find_box", "find_number", "numeric", "vqa_accuracy"]

ARTICLES = ("a", "an", "the")
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
MARKED = re.compile(r"\s*\(?([A-Z])[.:)]", re.IGNORECASE)
LETTER = re.compile(
    r"\s*(?:(?:the\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*)?\(?([A-Z])\)?(?:[.:,)\s]|$)", re.IGNORECASE
)


def exact(answer: str, targets: Sequence[str]) -> float:
    """Return 1 if the answer equals one of the targets.

    Args:
        answer: What the model wrote.
        targets: The right answers, any of which counts.
    """
    return float(_words(answer) in map(_words, targets))


def contains(answer: str, targets: Sequence[str]) -> float:
    """Return 1 if the words of a target stand side by side in the answer.

    Args:
        answer: What the model wrote.
        targets: The right answers, any of which counts.
    """
    said = _words(answer)
    return float(any(_stands_in(_words(target), said) for target in targets))


def choice(answer: str, target: str, options: Sequence[str]) -> float:
    """Return 1 if the answer names the right option: by its letter at the beginning, or by its text and that of no other option.

    Args:
        answer: What the model wrote.
        target: The letter of the right option, or its text.
        options: The options, in the order of their letters.

    Raises:
        ValueError: The target is neither a letter nor the text of an option.
    """
    return float(_option(answer, options) == place_of(target, options))


def numeric(answer: str, target: str, tolerance: float = 0.05) -> float:
    """Return 1 if the first number in the answer is close to the target. Commas between digits are no part of a number.

    Args:
        answer: What the model wrote.
        target: The right number.
        tolerance: The largest error that counts as right, relative to the target; if the target is 0, it is absolute.

    Raises:
        ValueError: There is no number in the target.
    """
    right, said = find_number(target), find_number(answer)
    if right is None:
        raise ValueError(f"'{target}' is not a number")
    return float(said is not None and abs(said - right) <= tolerance * (abs(right) or 1) * (1 + 1e-9))


def anls(answer: str, targets: Sequence[str], threshold: float = 0.5) -> float:
    """Return the normalised Levenshtein similarity to the nearest target, 0 if it is below the threshold.

    It ignores case and outer spaces only (Biten et al., Scene Text Visual Question Answering, ICCV 2019).

    Args:
        answer: What the model wrote.
        targets: The right answers, any of which counts.
        threshold: The similarity from which an answer is not wrong.
    """
    said = " ".join(answer.lower().split())
    best = max(_similarity(said, " ".join(target.lower().split())) for target in targets)
    return best if best >= threshold else 0.0


def vqa_accuracy(answer: str, targets: Sequence[str]) -> float:
    """Return the soft accuracy of VQA: how many of three people say the same, in the mean over all choices of all people but one.

    Ten answers are usual (Antol et al., VQA, ICCV 2015). With fewer than four, it is 1 if anybody says the same.

    Args:
        answer: What the model wrote.
        targets: What people said, one answer each.
    """
    said = Counter(" ".join(_words(target)) for target in targets)[" ".join(_words(answer))]
    if len(targets) < 4:
        return float(said > 0)
    with_one_less, others = said * min(1.0, (said - 1) / 3), (len(targets) - said) * min(1.0, said / 3)
    return (with_one_less + others) / len(targets)


def box_overlap(answer: str, target: str, threshold: float = 0.5) -> float:
    """Return 1 if the first box in the answer overlaps the target well enough, by intersection over union.

    Args:
        answer: What the model wrote, with four numbers x0, y0, x1, y1.
        target: The right box, in the same coordinates.
        threshold: The overlap from which the answer is right. With 0, the result is the overlap itself.

    Raises:
        ValueError: There is no box in the target.
    """
    right, said = find_box(target), find_box(answer)
    if right is None:
        raise ValueError(f"'{target}' has no four numbers x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    overlap = _overlap(right, said) if said else 0.0
    return float(overlap >= threshold) if threshold else overlap


def find_number(text: str) -> float | None:
    """Return the first number in a text; None if there is none. A percent sign changes nothing."""
    found = NUMBER.search(text)
    return float(found[0].replace(",", "")) if found else None


def find_box(text: str) -> tuple[float, float, float, float] | None:
    """Return the first four numbers of a text, if they are a box with an area; else None."""
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(re.sub(r",(?=\s*[-\d.])", " ", text))[:4]]
    if len(numbers) < 4:
        return None
    x0, y0, x1, y1 = numbers
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def place_of(target: str, options: Sequence[str]) -> int:
    """Return the place of the option that a target names by its letter or its text.

    Raises:
        ValueError: It names none.
    """
    texts = [_words(option) for option in options]
    if _words(target) in texts:
        return texts.index(_words(target))
    letter = target.strip().strip("().").upper()
    if len(letter) == 1 and letter in string.ascii_uppercase[: len(options)]:
        return string.ascii_uppercase.index(letter)
    raise ValueError(f"'{target}' is neither one of the {len(options)} options nor the letter of one")


def _option(answer: str, options: Sequence[str]) -> int | None:
    """The place of the option that an answer names; None if that is not clear."""
    texts, letters = [_words(option) for option in options], string.ascii_uppercase[: len(options)]
    marked = MARKED.match(answer)
    if marked and marked[1].upper() in letters:
        return letters.index(marked[1].upper())
    if _words(answer) in texts:
        return texts.index(_words(answer))
    found = LETTER.match(answer)
    if found and found[1].upper() in letters and not (found[1] == "a" and answer.strip() != "a"):
        return letters.index(found[1].upper())
    named = [place for place, text in enumerate(texts) if _stands_in(text, _words(answer))]
    return named[0] if len(named) == 1 else None


def _words(text: str) -> list[str]:
    return [
        word for word in re.sub(r"[^\w\s]", " ", text.lower()).split() if word not in ARTICLES
    ] or text.lower().split()


def _stands_in(part: Sequence[str], whole: Sequence[str]) -> bool:
    starts = range(len(whole) - len(part) + 1)
    return bool(part) and any(list(whole[k : k + len(part)]) == list(part) for k in starts)


def _similarity(one: str, other: str) -> float:
    """1 minus the least number of changed, added and removed characters, relative to the longer text."""
    row = list(range(len(other) + 1))
    for i, sign in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, against in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (sign != against))
    return 1 - row[-1] / max(len(one), len(other), 1)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)

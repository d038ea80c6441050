"""NaturalBench: two questions about each of two pictures; the rows of a group follow each other, question by question.

The right answers are yes, no, no and yes, or A, B, B and A. Of these words, the one that stands first in an answer counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SUFFIX = {
    "yes_no": "Please answer Yes or No.",
    "multiple_choice": "Please output the letter corresponding to the correct option.",
}
WORDS = {"yes_no": ("yes", "no"), "multiple_choice": ("A", "B")}
METRICS = ("G_Acc", "Q_Acc", "I_Acc", "Acc")


def shown(doc: dict[str, Any]) -> list[Any]:
    """The picture."""
    return [doc["Image"].convert("RGB")]


def asked(doc: dict[str, Any]) -> str:
    """The question, and how to answer it."""
    return f"{doc['Question']} {SUFFIX[doc['Question_Type']]}"


def target(doc: dict[str, Any]) -> str:
    """The right answer, which follows from the place in the group."""
    return WORDS[doc["Question_Type"]][int(doc["Index"]) % 4 in (1, 2)]


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, dict[str, Any]]:
    """Note whether an answer is right, with its place in the group, for every metric."""
    found = re.search(rf"\b({'|'.join(WORDS[doc['Question_Type']])})\b", results[0], re.IGNORECASE)
    right = found is not None and found[1].lower() == target(doc).lower()
    place = int(doc["Index"])
    noted = {"score": float(right), "group": place // 4, "question": place // 2, "image": place % 2}
    return dict.fromkeys(METRICS, noted)


def accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of answers that are right."""
    return float(sum(result["score"] for result in results) / len(results))


def group_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of groups with right answers alone."""
    return _whole(results, "group")


def question_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of questions that are right about both pictures."""
    return _whole(results, "question")


def image_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of pictures about which both questions are right."""
    return _whole(results, "group", "image")


def _whole(results: Sequence[dict[str, Any]], *names: str) -> float:
    parts: dict[tuple[int, ...], list[float]] = {}
    for result in results:
        parts.setdefault(tuple(result[name] for name in names), []).append(result["score"])
    return sum(map(min, parts.values())) / len(parts)

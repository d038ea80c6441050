"""HallusionBench by rules: an answer that holds "yes" says yes, and any other answer says no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

METRICS = ("aAcc", "qAcc", "fAcc")
SET = ("category", "subcategory", "set_id")


def shown(doc: dict[str, Any]) -> list[Any]:
    """The figure."""
    return [doc["image"].convert("RGB")]


def target(doc: dict[str, Any]) -> str:
    """The right answer in words."""
    return "yes" if str(doc["gt_answer"]) == "1" else "no"


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, dict[str, Any]]:
    """Note whether an answer is right, for every metric."""
    right = ("yes" in results[0].lower()) == (str(doc["gt_answer"]) == "1")
    names = [str(doc[name]) for name in SET]
    noted = {
        "score": float(right),
        "question": [*names, str(doc["question_id"])],
        "figure": [*names, str(doc["figure_id"])],
    }
    return dict.fromkeys(METRICS, noted)


def all_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of answers that are right."""
    return float(sum(result["score"] for result in results) / len(results))


def question_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of questions that are right about all their figures."""
    return _whole(results, "question")


def figure_accuracy(results: Sequence[dict[str, Any]]) -> float:
    """The share of figures about which all questions are right."""
    return _whole(results, "figure")


def _whole(results: Sequence[dict[str, Any]], what: str) -> float:
    groups: dict[tuple[str, ...], list[float]] = {}
    for result in results:
        groups.setdefault(tuple(result[what]), []).append(result["score"])
    return sum(map(min, groups.values())) / len(groups)

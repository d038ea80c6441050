"""What the open questions about videos have in common: prompt and scores.

A row has the columns video (or video_name), question and answer.
"""

from __future__ import annotations

import re
from typing import Any


def shown(doc: dict[str, Any]) -> list[str]:
    """The name of the clip."""
    return [str(doc.get("video") or doc["video_name"])]


def prompt(doc: dict[str, Any]) -> str:
    """The question, with the wish for a short answer."""
    question = str(doc["question"]).strip().rstrip("?").capitalize()
    return f"{question}? Answer the question using a single word or phrase."


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Score an answer.

    Returns:
        `contains` is 1 if the target's words stand side by side in the answer; `exact_match` is 1 if the answer has no
        other words.
    """
    answer, target = words(results[0]), words(str(doc["answer"]))
    starts = range(len(answer) - len(target) + 1)
    found = bool(target) and any(answer[k : k + len(target)] == target for k in starts)
    return {"contains": float(found), "exact_match": float(answer == target)}


def words(text: str) -> list[str]:
    """Lower case, without punctuation and articles."""
    return [word for word in re.sub(r"[^\w\s]", " ", text.lower()).split() if word not in ("a", "an", "the")]

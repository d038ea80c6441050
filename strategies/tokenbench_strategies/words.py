"""The embeddings of what the user asked."""

from __future__ import annotations

import re

from torch import Tensor

from tokenbench import View

__all__ = ["key_words", "read_words", "whole_question"]

# Words that name nothing which could be seen. Some prepositions of place are none of them, as in the released code.
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "their",
        "there",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "and",
        "or",
        "to",
        "for",
        "with",
        "at",
        "question",
        "answer",
    ]
)


def read_words(view: View) -> tuple[Tensor, Tensor | None]:
    """[..., m, C] input embeddings of the user's words, or of all text after the image where nobody passed them.

    The stage must ask for `phrases` and for `text` at depth 0. The second tensor [..., m] is False at padding, which is 0; it
    is None if there is none.
    """
    if view.phrases is None:
        return view.text[0].float(), view.words
    return view.phrases.float(), view.phrase_words


def whole_question(question: str) -> list[str]:
    """The question as one phrase."""
    return [question]


def key_words(question: str) -> list[str]:
    """The words of a question without function words and punctuation, or the question itself if no word is left."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", question)
    return [word for word in words if word.lower() not in _FUNCTION_WORDS] or [question]

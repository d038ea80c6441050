"""The embeddings of what the user asked."""

from __future__ import annotations

import re

from torch import Tensor

from tokenbench import View

__all__ = ["embed_key_words", "embed_question", "key_words"]

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


def embed_question(view: View) -> Tensor:
    """[m, C] input embeddings of the user's words, or of all text after the image where nobody passed them.

    The stage must ask for `question` and for `text` at depth 0.
    """
    if not view.question:
        return view.text[0].float()
    return view.embed([view.question]).float()


def embed_key_words(view: View) -> Tensor:
    """[m, C] input embeddings of the key words, each tokenised by itself, or what `embed_question` returns without words."""
    return view.embed(key_words(view.question)).float() if view.question else embed_question(view)


def key_words(question: str) -> list[str]:
    """The words of a question without function words and punctuation, or the question itself if no word is left."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", question)
    return [word for word in words if word.lower() not in _FUNCTION_WORDS] or [question]

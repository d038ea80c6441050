"""The text of a prompt: a model's chat template, or its adapter, around a question and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tokenbench.contract.suite import HERE
from tokenbench.errors import SampleError

if TYPE_CHECKING:
    from threading import Lock

    from tokenbench.contract.backbone import Backbone

__all__ = ["name_writer", "own_words", "tokenize", "write_prompt"]


def write_prompt(processor: Any, backbone: Backbone, question: str, kinds: Sequence[str]) -> str:
    """Write the prompt for a question. Images and clips stand where the question says, or before it.

    Args:
        processor: The model's processor.
        backbone: The adapter, which writes prompts for processors without a chat template.
        question: The text, perhaps with places of what is shown (see `HERE`).
        kinds: What is shown, in order: `image` or `video` each.

    Raises:
        SampleError: The question has places, but not as many as there are images and clips.
    """
    content = _interleave(question, kinds)
    if getattr(processor, "chat_template", None) is not None:
        chat = [{"role": "user", "content": content}]
        return str(processor.apply_chat_template(chat, add_generation_prompt=True))
    if HERE not in question:
        return backbone.prompt(processor, question, kinds)
    text = "".join(part.get("text") or str(getattr(processor, f"{part['type']}_token")) for part in content)
    return backbone.prompt(processor, text, [])


def name_writer(processor: Any, backbone: Backbone) -> str:
    """Return the name and hash of what writes the prompts: a chat template or an adapter."""
    template = getattr(processor, "chat_template", None)
    if template is None:
        return f"adapter {type(backbone).__name__}"
    return f"chat template {sha256(str(template).encode()).hexdigest()[:12]}"


def _interleave(question: str, kinds: Sequence[str]) -> list[dict[str, str]]:
    """Return the parts of a prompt, in order: texts, and what is shown, by its kind."""
    if HERE not in question:
        return [*({"type": kind} for kind in kinds), {"type": "text", "text": question}]
    texts = question.split(HERE)
    if len(texts) != len(kinds) + 1:
        raise SampleError(
            f"its question has places for {len(texts) - 1} images or clips, and {len(kinds)} are shown",
            "give the question one place for each of them, or none",
        )
    parts = [{"type": "text", "text": texts[0]}]
    for kind, text in zip(kinds, texts[1:], strict=True):
        parts += [{"type": kind}, {"type": "text", "text": text}]
    return [part for part in parts if part.get("text") != ""]


def own_words(question: str) -> str:
    """Return a question without the places of what is shown."""
    return " ".join(question.replace(HERE, " ").split()) if HERE in question else question


def tokenize(processor: Any, lock: Lock, text: str) -> list[int]:
    """Return the ids of a text, without special tokens. The lock is that of the processor, whose tokenizer changes while it works."""
    with lock:
        ids: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids

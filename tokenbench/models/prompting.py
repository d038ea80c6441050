"""The text of a prompt: a model's chat template, or its adapter, around a question and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenbench.contract.suite import HERE
from tokenbench.errors import SampleError
from tokenbench.models.processing import kind_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from tokenbench.contract.backbone import Backbone
    from tokenbench.contract.suite import Video

__all__ = ["write_prompt"]


def write_prompt(processor: Any, backbone: Backbone, question: str, shown: Sequence[Image | Video]) -> str:
    """Write the prompt for a question. Images and clips stand where the question says, or before it.

    Args:
        processor: The model's processor.
        backbone: The adapter, which writes prompts for processors without a chat template.
        question: The text, perhaps with places of what is shown (see `HERE`).
        shown: The images and clips, in order.

    Raises:
        SampleError: The question has places, but not as many as there are images and clips.
    """
    kinds = [kind_of(item) for item in shown]
    content = _interleave(question, kinds)
    if getattr(processor, "chat_template", None) is not None:
        chat = [{"role": "user", "content": content}]
        return str(processor.apply_chat_template(chat, add_generation_prompt=True))
    if HERE not in question:
        return backbone.prompt(processor, question, kinds)
    text = "".join(part.get("text") or str(getattr(processor, f"{part['type']}_token")) for part in content)
    return backbone.prompt(processor, text, [])


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

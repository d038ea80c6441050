"""Docstrings as this code base writes them, for autodoc: lists of `name: what it is`, and indented examples."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

ITEM = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")


def setup(app: Any) -> dict[str, bool]:
    """Before napoleon, which reads the sections with headings."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    return {"parallel_read_safe": True}


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn each paragraph into what reStructuredText wants."""
    paragraphs = [list(part) for blank, part in groupby(lines, key=lambda line: not line.strip()) if not blank]
    lines[:] = [line for paragraph in paragraphs for line in (*_paragraph(paragraph), "")]


def _paragraph(lines: list[str]) -> list[str]:
    if lines[0].startswith("    "):
        return ["::", "", *lines]
    if not ITEM.fullmatch(lines[0]):
        return lines
    found: list[str] = []
    for line in lines:
        item = ITEM.fullmatch(line)
        found.append(f"* **{item[1]}**: {item[2]}" if item else f"  {line.strip()}")
    return found

"""Docstrings as this code base writes them, for autodoc: lists of `name: what it is`, and indented examples."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

ITEM = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")


def setup(app: Any) -> dict[str, bool]:
    """Before napoleon, which reads the sections with headings."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("sphinx-click-process-options", no_addresses)
    return {"parallel_read_safe": True}


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn each paragraph into what reStructuredText wants."""
    paragraphs = [list(part) for blank, part in groupby(lines, key=lambda line: not line.strip()) if not blank]
    lines[:] = [line for paragraph in paragraphs for line in (*_paragraph(paragraph), "")]
    if what == "property":
        lines[:0] = ["..", ""]  # a comment: napoleon would take what stands before a colon for the type


def no_addresses(app: Any, context: Any, lines: list[str]) -> None:
    """`ID@REVISION` is no mail address."""
    lines[:] = [re.sub(r"[\w<=/]+@[\w/]+", r"``\g<0>``", line) for line in lines]


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

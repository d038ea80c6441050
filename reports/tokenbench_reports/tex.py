"""Text for TeX, which prints it and never runs it."""

__all__ = ["escape", "prose"]

SIGNS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "−": "$-$", "≠": r"$\neq$", "×": r"$\times$", "±": r"$\pm$", "–": "--", "…": r"\ldots{}", "“": "``",
    "”": "''", "’": "'", "·": r"$\cdot$", "\n": " ", "\t": " ", "[": "{[}", "*": "{*}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
LONGEST = 60
"""Longer names would leave the page."""


def escape(text: str) -> str:
    """Text as TeX prints it; what pdflatex has no letter for is named by its code."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(SIGNS.get(sign) or (sign if " " <= sign <= "~" else f"{{[}}U+{ord(sign):04X}]") for sign in text)


def prose(text: str) -> str:
    """Sentences as TeX prints them."""
    return " ".join(escape(word) for word in text.split())

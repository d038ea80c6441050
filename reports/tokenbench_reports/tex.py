"""Text for TeX, which prints it and never runs it."""

__all__ = ["escape", "prose"]

SIGNS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "−": "$-$", "≠": r"$\neq$", "×": r"$\times$", "±": r"$\pm$", "–": "--", "…": r"\ldots{}", "“": "``",
    "”": "''", "’": "'", "·": r"$\cdot$", "\n": " ", "\t": " ", "[": "{[}", "*": "{*}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
WITHOUT_LETTER = frozenset("ÐÞ×ðþ÷ĄąĐđĘęĦħĮįĲĳĸĿŀŉŊŋŦŧŲųſ")
"""Signs among the accented Latin letters that LaTeX's default fonts (encoding OT1) lack."""
LONGEST = 60
"""Longer names would leave the page."""


def escape(text: str) -> str:
    """Text as TeX prints it. Latin letters stay, with their accents; what pdflatex has no letter for is named by its code."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(
        SIGNS.get(sign) or (sign if " " <= sign <= "~" or _is_latin(sign) else f"{{[}}U+{ord(sign):04X}]")
        for sign in text
    )


def prose(text: str) -> str:
    """Sentences as TeX prints them."""
    return " ".join(escape(word) for word in text.split())


def _is_latin(sign: str) -> bool:
    """Whether it is a letter of Latin-1 or Latin Extended-A that LaTeX prints from UTF-8 with its usual fonts."""
    return "À" <= sign <= "ſ" and sign not in WITHOUT_LETTER

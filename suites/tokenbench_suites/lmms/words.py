"""The words of a caption, by the rules of the Penn Treebank, as the tokenizer of the COCO caption evaluation finds them.

That tokenizer is a Java program, which would have to be started for every answer. Lower case is made of words that were already found,
and punctuation is left out afterwards; so is it there.
"""

from __future__ import annotations

import re

__all__ = ["find_words"]

PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": "...", "½": "1/2", "£": "#", "€": "$"}
)
ALWAYS = (
    r"mr|mrs|ms|dr|st|vs|jr|sr|prof|gen|capt|sen|rep|gov|sgt|lt|col|rev|hon|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|"
    r"nov|dec|mon|tues|tue|wed|thurs|thu|fri|ct|rd|ave|blvd|sq|ft|mt|calif|fla|va|mich|dept|est|al|cf|tel|assoc|assn|"
    r"bros|univ|inc|co|ltd|corp|etc|ph\\.d|esq|adj|adm|adv|asst|bldg|cmdr|comdr|cpl|det|ens|insp|lieut|maj|messrs|"
    r"mlle|mme|pfc|ph|pvt|supt|ariz|colo|conn|ga|ind|kan|kans|ky|md|minn|mo|mont|neb|nev|okla|penn|tenn|vt|wis|wisc|"
    r"wyo|v|cie|intl|natl|plc|sys|cos|bhd"
)
"""Abbreviations that keep their dot."""
CAPITALISED = "Tex|Mass|Pa|Ill|Ark|Del|La|Miss|Ore|Wash|TEX|MASS|PA|ILL|ARK|DEL|LA|MISS|ORE|WASH"
"""Abbreviations if they are written so; otherwise they are words."""
NUMBERED = "ca|no|fig|nos|pp|art|op"
"""Abbreviations before a number."""
DROPPED = {'"', "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
BRACKETS = str.maketrans({"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"})
APART = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))(?![\w])", re.IGNORECASE)
TWO = re.compile(
    r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b|(?<!\w)('t)(is|was)\b|\b(y')(all)\b",
    re.IGNORECASE,
)
TOKEN = re.compile(
    rf"""
      https?://\S+[\w/] | www\.\S+[\w/]                                # addresses
    | [\w.-]+@\w+(?:\.\w+)+
    | (?<![\w@\#])[@\#][^\W\d]\w+
    | <[a-z]+>
    | n't(?!\w) | '(?:s|m|d|re|ve|ll|t)(?!\w) | 'n'(?!\w) | '(?:em|cause)\b | '\d\ds\b | y'(?!\w)        # what APART and TWO made, and the like
    | (?<![\w'])(?:[A-Z]\.)+[A-Z](?![\w.'-]) | (?:[A-Z]\.){{2,}} | (?<![\w'])[A-Z]\.(?![A-Z])     # U.S, U.S., plan b.
    | (?<![\w-])(?:{ALWAYS}|(?-i:{CAPITALISED})|(?:{NUMBERED})(?=\.\s*\d))\.(?!\w)
    | \d+(?:[.,:/-]\d+)*(?:st|nd|rd|th|s)(?![\w-])
    | \d+:\d+ | \.\d+(?:\.\d+)* | (?<!\w)-\d+(?:[.,]\d+)* | \d+(?:[.,]\d+)+(?!\w) | \d+(?:[/-]\d+)+(?!\w)
    | (?-i:[A-Z]+(?:&[A-Z]+)+) | US\$ | [:;]-?[()]
    | (?:o|d|l|j|c|qu|y)'\w+ | ma'am | o'er
    | [^\W_]\w*(?:(?:[-/]|\.(?=[^\W\d]))\w+)*(?:\+\+)?
    | _+ | \*{{2,}} | [?!]+ | \.{{3,}} | -{{2,}} | [^\s\U00010000-\U0010ffff]
    """,
    re.VERBOSE | re.IGNORECASE,
)


def find_words(caption: str) -> list[str]:
    """Return the words of a caption, in lower case and without punctuation."""
    text = APART.sub(r" \1 ", TWO.sub(_split, caption.translate(PLAIN)))
    return [token for token in map(_write, TOKEN.findall(text)) if token not in DROPPED]


def _split(found: re.Match[str]) -> str:
    return " ".join(part for part in found.groups() if part)


def _write(token: str) -> str:
    """A token as it is written: brackets have names, and dots and dashes are always as many."""
    if token[:3] in ("...", "---"):
        return token[:3] if token[0] == "." else "--"
    return token.lower().translate(BRACKETS)

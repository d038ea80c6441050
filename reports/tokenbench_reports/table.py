"""Tables of text, as all reports but the page take them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: says what the numbers are.
        headers: names of the columns; the first ``keys`` identify a row.
        rows: cells; a row without cells separates groups.
        keys: number of identifying columns, set to the left; the last column is a verdict or also text.
        strong: positions of the rows to stand out.
        note: what the numbers rest on.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]
    keys: int = 1
    strong: frozenset[int] = frozenset()
    note: str = ""

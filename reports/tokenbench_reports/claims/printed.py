"""The published numbers, one a row of ``ledger.csv`` as printed, and as rows of the papers' tables.

``corrections.csv`` holds what belongs where a number is known to stand in another's column. The ledger itself is never
changed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from tokenbench.contract.cells import VANILLA

__all__ = ["MEAN_RETENTION", "SHIFTED", "Claim", "Printed", "group_rows", "ledger"]

MEAN_RETENTION = "mean_retention"
SHIFTED = "shifted"
"""The word in the note of a row whose numbers stand in other columns than their own."""


@dataclass(frozen=True)
class Claim:
    """One number as it was printed."""

    source: str
    """The paper that prints it."""
    method: str
    """The method, by the ledger's name."""
    backbone: str
    """The model, by the ledger's name."""
    budget: str
    """The budget, as the paper counts it."""
    task: str
    """The task, by the ledger's name."""
    value: float
    """The number as it is printed."""
    unit: str
    """Its unit."""
    note: str
    """What is wrong or unclear about it."""
    corrected: float | None = None
    """The number that belongs in its place if the printed one is another column's; None if it is right."""

    @property
    def id(self) -> str:
        """Eight hex digits of what names the number, by which `tokenbench verify` finds it."""
        place = "|".join((self.source, self.method, self.backbone, self.budget, self.task))
        return sha256(place.encode()).hexdigest()[:8]

    @property
    def right(self) -> float:
        """The number to compare with."""
        return self.value if self.corrected is None else self.corrected


@dataclass(frozen=True)
class Printed:
    """One row of a table in a paper."""

    source: str
    """The paper that prints it."""
    method: str
    """The method, by the ledger's name."""
    backbone: str
    """The model, by the ledger's name."""
    budget: str
    """The budget, as the paper counts it."""
    claims: Mapping[str, Claim]
    """The numbers by task, in the order printed."""
    vanilla: Mapping[str, float]
    """The source's own vanilla scores by task; empty if it prints none."""
    whole: float
    """The budget of the source's vanilla, of which ``budget`` is a part; NaN if the source prints none."""

    @property
    def scores(self) -> dict[str, Claim]:
        """The scores by task, where the source has a vanilla score."""
        return {task: claim for task, claim in self.claims.items() if claim.unit == "score" and task in self.vanilla}

    @property
    def cells(self) -> dict[str, float]:
        """Retention by task, in per cent, of numbers in their right columns."""
        return {task: 100 * claim.right / self.vanilla[task] for task, claim in self.scores.items()}

    @property
    def printed_cells(self) -> dict[str, float]:
        """Retention by task, in per cent, of the numbers as they stand in print."""
        return {task: 100 * claim.value / self.vanilla[task] for task, claim in self.scores.items()}

    @property
    def share(self) -> float:
        """The budget as a share of the visual tokens; NaN if it is none."""
        try:
            return float(self.budget) / self.whole
        except ValueError:
            return float("nan")

    @property
    def shifted(self) -> bool:
        """Whether numbers of the row stand in other columns than their own."""
        return SHIFTED in self.note or any(claim.corrected is not None for claim in self.claims.values())

    @property
    def put_right(self) -> bool:
        """Whether all its numbers are in the right columns by now: it is not shifted, or known how."""
        return not self.shifted or any(claim.corrected is not None for claim in self.claims.values())

    @property
    def note(self) -> str:
        """What the ledger says about the row."""
        return "; ".join(dict.fromkeys(claim.note for claim in self.claims.values() if claim.note))

    @property
    def name(self) -> str:
        """Which row it is."""
        return f"{self.source}: {self.method} on {self.backbone} at {self.budget}"

    def __str__(self) -> str:
        values = ", ".join(
            f"{task} {claim.value:g}" + ("" if claim.corrected is None else f" (corrected: {claim.right:g})")
            for task, claim in self.claims.items()
        )
        return f"{self.name}: {values}"


@cache
def ledger() -> tuple[Claim, ...]:
    """All published numbers, in the order of the ledger."""
    place = ("source", "method", "backbone", "budget", "task")
    right = {tuple(row[name] for name in place): float(row["right"]) for row in _rows("corrections.csv")}
    claims = []
    for row in _rows("ledger.csv"):
        value, corrected = float(row.pop("value")), right.pop(tuple(row[name] for name in place), None)
        claims.append(Claim(**row, value=value, corrected=corrected))
    assert not right, f"corrections without an entry in the ledger: {list(right)}"
    return tuple(claims)


def _rows(name: str) -> Iterator[dict[str, str]]:
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def group_rows(claims: Sequence[Claim]) -> list[Printed]:
    """The claims as rows of the papers' tables."""
    groups: dict[tuple[str, str, str, str], dict[str, Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.source, claim.method, claim.backbone, claim.budget), {})[claim.task] = claim
    vanilla = {
        (source, backbone): (row, budget)
        for (source, method, backbone, budget), row in groups.items()
        if method == VANILLA
    }
    printed = []
    for key, row in groups.items():
        reference, whole = vanilla.get((key[0], key[2]), ({}, "nan"))
        scores = {task: claim.right for task, claim in reference.items() if claim.unit == "score"}
        printed.append(Printed(*key, row, scores, float(whole)))
    return printed

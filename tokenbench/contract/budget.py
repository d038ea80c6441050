"""What a strategy may retain: the only arithmetic on token counts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Rational

from tokenbench.errors import UsageError

__all__ = ["Budget", "count"]

_NUMBER = re.compile(r"\d{1,9}|\d{1,9}/\d{1,9}|(\d{0,9}\.\d{1,9}|\d{1,9})%?", re.ASCII)


@dataclass(frozen=True)
class Budget:
    """A nominal budget, as a method's paper counts it: a number of visual tokens, or a share of them.

    Exactly one of `tokens` and `share` is set. Two budgets are equal if they retain the same and are written the same,
    since a run keeps differently written budgets apart; `same_as` compares only what they retain.
    """

    text: str
    """How the user wrote it, without the spaces around it: its name in run.json and in every table."""
    tokens: int | None = None
    """A number of visual tokens."""
    share: Fraction | None = None
    """A share of the sample's visual tokens."""
    visual: int = 0
    """The number of visual tokens of the sample that the budget is spent on; 0 while it is not known."""

    @classmethod
    def parse(cls, value: str | float) -> Budget:
        """Read a budget that a user may ask for.

        Args:
            value: A number of tokens (`192`), or a share of the visual tokens between 0 and 1 (`1/3`, `33.3%`, `0.334`,
                `.334`).

        Raises:
            UsageError: If it is anything else. A share of 1 is refused, since that is the strategy `vanilla`.
        """
        text = str(value).strip()
        hint = "write tokens (192) or a share between 0 and 1 (1/3, 33.3%, 0.334)"
        if not _NUMBER.fullmatch(text) or re.search("/0+$", text):
            raise UsageError(f"budget '{text:.60}' is neither a number of tokens nor a share", hint)
        number = Fraction(text[:-1]) / 100 if text.endswith("%") else Fraction(text)
        if number <= 0:
            raise UsageError(f"budget '{text}' keeps nothing: it must be above 0", hint)
        if text.isdigit():
            return cls(text, tokens=int(text))
        if number >= 1:
            raise UsageError(
                f"budget '{text}' is a share of {float(number):g}: a share must be below 1",
                "to keep every token, use the strategy 'vanilla'",
            )
        return cls(text, share=number)

    @classmethod
    def read(cls, text: str) -> Budget:
        """Read a budget as run.json and tables have it.

        Args:
            text: What `parse` reads, or `all` (the budget of vanilla), or `none` (of a strategy that takes no budget).

        Raises:
            UsageError: If it is anything else.
        """
        special = {str(budget): budget for budget in (cls.everything(), cls.none())}
        return special.get(text.strip()) or cls.parse(text)

    @classmethod
    def everything(cls) -> Budget:
        """The budget of vanilla, all tokens, which no user can ask for."""
        return cls("all", share=Fraction(1))

    @classmethod
    def none(cls) -> Budget:
        """The budget of a strategy that takes none."""
        return cls("none", tokens=0)

    def of(self, visual: int) -> Budget:
        """Return the same budget for a sample with `visual` visual tokens."""
        return replace(self, visual=visual)

    @property
    def fraction(self) -> float:
        """Its share of the sample's visual tokens, at most 1."""
        return float(self.share) if self.share is not None else min(1.0, (self.tokens or 0) / self.visual)

    @property
    def order(self) -> float:
        """A number to sort budgets by: shares first, then numbers of tokens, each by size.

        `all` and `none` are infinite.
        """
        numeric = self.tokens or (self.share is not None and self.share < 1)
        return float(self.keep) if numeric else math.inf

    def same_as(self, other: Budget) -> bool:
        """Whether both retain the same, however they are written (`1/3`, `2/6`)."""
        return (self.tokens, self.share) == (other.tokens, other.share)

    @property
    def keep(self) -> int | Fraction:
        """The budget as `Stage.keep` takes it."""
        keep = self.tokens if self.tokens is not None else self.share
        assert keep is not None
        return keep

    def scaled(self, factor: str) -> int | Fraction:
        """Multiply the budget by a published decimal factor, exactly.

        Args:
            factor: The factor as it is printed, such as `"1.72"`.

        Returns:
            A number of tokens, floored and at least 1, or a share.
        """
        scaled = Fraction(self.keep) * Fraction(factor)
        return scaled if self.share is not None else max(1, math.floor(scaled))

    def __str__(self) -> str:
        return self.text


def count(keep: int | float | Rational, original: int, alive: int) -> int:
    """Compute how many tokens a stage keeps.

    Args:
        keep: A number of tokens, or a share of the `original` count, which is floored.
        original: The number of visual tokens that the sample began with.
        alive: The number of them that are left.

    Returns:
        At least 1, unless `keep` is the integer 0, and at most `alive`.
    """
    if isinstance(keep, int) and keep == 0:
        return 0
    tokens = keep if isinstance(keep, int) else math.floor(Fraction(keep) * original + Fraction(1, 10**6))
    return max(1, min(int(tokens), alive))

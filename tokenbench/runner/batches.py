"""Questions, and the batches that ask them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenbench.contract.suite import Sample, Task

__all__ = ["Question", "QuestionBatch"]

Question = tuple[Task, Sample]


@dataclass(frozen=True)
class QuestionBatch:
    """Questions that are asked at once."""

    questions: Sequence[Question]
    """The questions, in the order of the rows."""
    arms: tuple[int, ...]
    """The numbers of the arms that are asked these questions."""

    @property
    def answers(self) -> int:
        """The number of answers."""
        return len(self.questions) * len(self.arms)

"""Questions, and the batches that ask them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenbench.contract.suite import Sample, Task
from tokenbench.store.left_out import Questions

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

    def has_fit(self, model: str, unfit: Questions) -> bool:
        """Whether the model can be asked any of these questions.

        Args:
            model: The name of the model.
            unfit: What models cannot be asked.
        """
        return any(
            (sample.key, sample.digest) not in unfit.get((model, task.name), ()) for task, sample in self.questions
        )

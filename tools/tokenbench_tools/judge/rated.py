"""A run by a judge's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import IDENTITY
from tokenbench.errors import UsageError, unknown
from tokenbench.store import files
from tokenbench.store.derived import DerivedRun
from tokenbench.store.resuming import unfinished
from tokenbench.store.run import Run
from tokenbench_tools.judge.question import Asked
from tokenbench_tools.judge.server import Judge
from tokenbench_tools.judge.verdicts import ProgressFactory, collect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JudgedRun", "rate"]

UNIT = [*IDENTITY, "unit"]


class JudgedRun(DerivedRun):
    """A run with a judge's scores in place of the task's own. Answers without a verdict are left out.

    Args:
        run: The run as it is stored.
        samples: Its answers with the judge's scores.
        unrated: How many of the distinct answers got no verdict.
        answers: How many distinct answers there are.
    """

    def __init__(self, run: Run, samples: pd.DataFrame, unrated: int, answers: int) -> None:
        super().__init__(run.folder, run._registry, run._definitions, run._data)
        self._judged, self._unrated, self._answers = samples, unrated, answers

    @property
    def unrated(self) -> str:
        """A sentence on the answers without a verdict; empty if there are none."""
        if not self._unrated:
            return ""
        return f"{self._unrated} of {self._answers} distinct answers got no verdict and count for no strategy."

    def all_samples(self) -> pd.DataFrame:
        """The samples of the run, with the judge's scores and its identity in the column `judge`."""
        return self._judged

    def about(self) -> dict[str, Any]:
        """The run's manifest, with notes on whose scores these are, and on the answers that have none."""
        about = super().about()
        judge = f"Scores are verdicts of the judge {self._judged['judge'].iloc[0]}, not the tasks' own."
        return {**about, "notes": [judge, *([self.unrated] if self.unrated else []), *about.get("notes", [])]}


def rate(
    run: Run,
    judge: Judge,
    tasks: Sequence[str],
    workers: int,
    progress: ProgressFactory,
    retry_failed: bool = False,
) -> tuple[JudgedRun, Path]:
    """Have the stored answers of a run rated.

    Args:
        run: The run.
        judge: The model that rates.
        tasks: The tasks to rate; all of them if it is empty.
        workers: How many calls are made at once.
        progress: Makes the progress bar from the number of calls.
        retry_failed: Whether answers that got no verdict before are rated again.

    Returns:
        The run by the judge's scores, and the folder with the verdicts.

    Raises:
        UsageError: If the run does not have one of the tasks.
        MachineError: If the server fails.
    """
    samples = run.whole()
    if not len(samples):
        raise unfinished(run)
    for task in tasks:
        if task not in set(samples["task"]):
            raise unknown("task of the run", task, set(samples["task"]))
    if tasks:
        samples = samples[samples["task"].isin(tasks)]
    if samples["answer"].isna().any():
        raise UsageError(
            f"{run.folder} holds scores whose answers are unknown, so that nothing can be rated",
            "import a log that holds the answers, or choose tasks with --tasks",
        )
    questions = run.questions()
    columns = zip(samples["task"], samples["sample"], samples["target"], samples["answer"], strict=True)
    rows = list(columns)
    if gone := next((f"{task}/{sample}" for task, sample, *_ in rows if (task, sample) not in questions), ""):
        raise UsageError(
            f"the installed suite has no sample '{gone}', which {run.folder} answered: the suite has changed",
            "install the versions that the run used",
        )
    asked = [Asked(questions[task, sample].question, target, answer) for task, sample, target, answer in rows]
    folder = files.make_folder(run.folder / "judge" / judge.identity, run.folder)
    files.sweep(folder, run.folder)
    verdicts = collect(judge, asked, folder, workers, progress, retry_failed)
    scores = [math.nan if (right := verdicts[one.key]) is None else right for one in asked]
    samples = samples.assign(score=scores, judge=judge.identity)
    files.write_atomically(folder / "samples.parquet", samples.to_parquet(), run.folder)
    # A unit counts as a whole, such as the two questions on one picture: without one of its verdicts it has no score.
    rated = samples[~samples["score"].isna().groupby([samples[name] for name in UNIT]).transform("any")]
    distinct = {one.key for one in asked}
    return JudgedRun(run, rated, sum(verdicts[key] is None for key in distinct), len(distinct)), folder

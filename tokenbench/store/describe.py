"""How a run shows itself at a prompt and in a notebook, without showing its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from tokenbench.errors import TokenBenchError, printable

if TYPE_CHECKING:
    from tokenbench.store.run import Run

__all__ = ["describe_frames", "describe_run", "frames_notes", "run_html"]


def describe_run(run: Run) -> str:
    """Return one line on what was run and how much is finished, or on why the directory cannot be read."""
    try:
        spec, cells = run.manifest["spec"], run.manifest["cells"]
        finished, failed = len(run._finished_cells()), len(run.failures())
    except TokenBenchError as error:
        return printable(f"{run.folder}, which cannot be read: {error}")
    limit = f", {spec['limit']:,} samples a task" if spec.get("limit") else ""
    what = (
        f"{run.folder}: suite {spec['suite']} on {', '.join(spec['models'])}, {', '.join(spec['strategies'])} at "
        f"{', '.join(spec['budgets'])}{limit}; {finished} of {len(cells)} cells finished"
    )
    what += f", {frames} of each clip" if (frames := describe_frames(run.manifest)) else ""
    return printable(what + (f", {failed} failed" if failed else ""))


def describe_frames(manifest: Mapping[str, Any]) -> str:
    """Return which frames of clips the models of a run see, in words; empty if no task shows clips whose frames can be chosen."""
    return next((text for task in manifest["tasks"].values() if (text := task.get("frames"))), "")


def frames_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return the note that a reader of a run's numbers sees about its clips; none if there are none."""
    return [f"Models see {frames} of each clip."] if (frames := describe_frames(manifest)) else []


def run_html(run: Run) -> str:
    """Return `describe_run` and the mean scores so far, as HTML. No verdict is shown, so that no look is spent."""
    from tokenbench.comparison.tables import scores_table
    from tokenbench.tables import to_html

    line = f"<p>Run {escape(describe_run(run))}</p>"
    try:
        return f"{line}\n{to_html(scores_table(run.scores()))}"
    except TokenBenchError:  # no cell is finished, or its file cannot be read
        return line

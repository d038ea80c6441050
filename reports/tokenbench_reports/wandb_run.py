"""The comparison as a run of Weights & Biases, offline. It needs wandb: ``pip install "tokenbench[wandb]"``."""

import logging
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.contract.report import Report
from tokenbench.errors import MachineError
from tokenbench.registry.installation import install
from tokenbench.store.report_files import MARK, make_empty
from tokenbench.store.run import Run


class WandbReport(Report):
    """``wandb/``: an offline run with the settings, both tables, and every cell's retention.

    ``wandb sync`` uploads it.
    """

    name: ClassVar[str] = "wandb"
    description: ClassVar[str] = "wandb/: an offline run of Weights & Biases, to upload with wandb sync"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the offline run; nothing is sent anywhere."""
        try:
            import wandb
        except ImportError:
            raise MachineError("the report format wandb needs wandb", install("wandb")) from None
        target = make_empty(folder, "wandb")
        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_service_wait=300,  # its own 30 seconds are short on a busy machine
        )
        about = run.about()
        complaints, logging.raiseExceptions = (
            logging.raiseExceptions,
            False,
        )  # of its log, on a full disk: not in place of the error
        try:
            there = wandb.init(
                project="tokenbench",
                name=run.folder.name,
                dir=str(folder),
                mode="offline",
                config=about["spec"],
                settings=quiet,
            )
            for name, table in (("summary", comparison.summary), ("pairs", comparison.pairs)):
                there.log({name: wandb.Table(dataframe=_simplify(table))})
            for row in comparison.summary[comparison.summary["task"] == MEAN].to_dict("records"):
                there.summary[f"retention/{row['model']}/{row['strategy']}/{row['budget']}"] = row["retention"]
            there.summary["notes"] = [*comparison.warnings, *about.get("notes", ())]
            there.finish()
        finally:  # as a context manager, the run would print the traceback of an error
            wandb.teardown()  # its service writes on after the run is finished
            logging.raiseExceptions = complaints
        out.write(f"offline run of Weights & Biases; upload it with: wandb sync {target}/offline-run-*\n")
        # There are links, too: to the latest run, and to the log of wandb's service.
        return sorted({path.resolve() for path in target.rglob("*") if path.is_file() and path.name != MARK})


def _simplify(table: pd.DataFrame) -> pd.DataFrame:
    """Texts, numbers and truth values; anything else as text."""
    return table.map(_value)


def _value(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (bool, int, float, str)) else str(value)

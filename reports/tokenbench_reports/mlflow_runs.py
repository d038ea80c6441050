"""The comparison in a database of MLflow. It needs mlflow: ``pip install "tokenbench[mlflow]"``."""

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.contract.cells import CELL
from tokenbench.contract.report import Report
from tokenbench.errors import MachineError, of_machine
from tokenbench.registry.installation import install
from tokenbench.store.report_files import MARK, make_empty, subfolder
from tokenbench.store.run import Run

LONGEST = 500
_OPEN: set[Path] = set()  # folders whose database this process made, and has open


class MlflowReport(Report):
    """``mlflow/``: a database with a run for every model, strategy and budget; ``mlflow ui`` shows it."""

    name: ClassVar[str] = "mlflow"
    description: ClassVar[str] = "mlflow/: a database of MLflow, a run a strategy and budget, to show with mlflow ui"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write the runs, in the place of those that are there; nothing is sent anywhere."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            import sqlalchemy  # noqa: F401  # the slim mlflow comes without it, and without its database
            from mlflow import MlflowClient
        except ImportError:
            raise MachineError("the report format mlflow needs mlflow", install("mlflow")) from None
        for name in ("alembic", "mlflow.store.db"):  # they tell of every table they make
            logging.getLogger(name).setLevel(logging.WARNING)
        target = subfolder(folder, "mlflow")
        if target.resolve() not in _OPEN:  # it may come from others: its experiment may keep its files anywhere
            _OPEN.add(make_empty(folder, "mlflow").resolve())
        try:
            client = MlflowClient(f"sqlite:///{target.resolve()}/mlflow.db")
            _log(client, _empty_experiment(client, target / "artifacts"), comparison.summary, run.about()["spec"])
        except Exception as error:  # mlflow and its database raise their own; what a full disk says lies at the bottom
            if trouble := of_machine(error):
                raise MachineError(f"{target} cannot be written: {trouble}", trouble.hint) from error
            raise
        out.write(f"MLflow: mlflow ui --backend-store-uri sqlite:///{target}/mlflow.db\n")
        return sorted(path for path in target.rglob("*") if path.is_file() and path.name != MARK)


def _log(client: Any, experiment: str, summary: pd.DataFrame, spec: Mapping[str, Any]) -> None:
    """Log a run for every model, strategy and budget."""
    for cell, rows in summary.groupby(list(CELL), sort=False):
        named = dict(zip(CELL, map(str, cell), strict=True))
        there = client.create_run(experiment, run_name=f"{named['strategy']} {named['budget']}").info.run_id
        for name, value in {**named, "suite": spec["suite"], "limit": spec["limit"]}.items():
            client.log_param(there, name, str(value)[:LONGEST])
        for name, number in _metrics(rows):
            client.log_metric(there, name, number)
        client.log_text(there, rows.to_csv(index=False), "summary.csv")
        client.set_terminated(there)


def _empty_experiment(client: Any, artifacts: Path) -> str:
    """The experiment, without the runs it has. The file stays: this process may have it open."""
    there = client.get_experiment_by_name("tokenbench")
    if there is None:
        return str(client.create_experiment("tokenbench", artifacts.resolve().as_uri()))
    for run in client.search_runs([there.experiment_id], max_results=50_000):
        client.delete_run(run.info.run_id)
    shutil.rmtree(artifacts, ignore_errors=True)
    return str(there.experiment_id)


def _metrics(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """The numbers of the mean over tasks by their column, those of a task behind its name."""
    for row in rows.to_dict("records"):
        prefix = "" if row["task"] == MEAN else f"{row['task']}/"
        for name, value in row.items():
            if _is_number(value):
                yield re.sub(r"[^\w\-. :/]", "_", f"{prefix}{name}", flags=re.ASCII)[:250], float(value)


def _is_number(value: Any) -> bool:
    value = value.item() if hasattr(value, "item") else value
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

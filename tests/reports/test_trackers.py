"""Weights & Biases and MLflow, for real and offline, where they are installed."""

from __future__ import annotations

import builtins
import io
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.made import made_run
from tests.systems import small_disk
from tokenbench import MachineError
from tokenbench.registry.installation import install
from tokenbench.testing.made_up import MadeUp, made_up
from tokenbench_reports.mlflow_runs import MlflowReport
from tokenbench_reports.wandb_run import WandbReport


@pytest.mark.slow
def test_wandb_holds_tables_and_retention(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    comparison, run = made_up(tmp_path / "run", MadeUp())
    out = io.StringIO()
    written = WandbReport().write(comparison, run, tmp_path, out)
    (path,) = [path for path in written if path.suffix == ".wandb"]
    assert "wandb sync" in out.getvalue()
    store = DataStore()
    store.open_for_scan(str(path))
    said = b""
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        said += record.SerializeToString()
    assert b"retention/made-up/careful/1/4" in said
    assert [path for path in written if path.name.startswith("summary_") and path.name.endswith(".table.json")]


@pytest.mark.slow
def test_mlflow_holds_a_run_for_every_strategy_and_budget(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    comparison, run = made_up(tmp_path / "run", MadeUp())
    MlflowReport().write(comparison, run, tmp_path, io.StringIO())
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("tokenbench")
    runs = {run.data.params["strategy"]: run.data for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"vanilla", "careful", "careless"}
    mean = comparison.summary.query("strategy == 'careful' and task == 'mean'")["retention"].item()
    assert runs["careful"].metrics["retention"] == pytest.approx(mean)
    assert "reading/score" in runs["careful"].metrics


@pytest.mark.parametrize(("report", "library"), [(WandbReport(), "wandb"), (MlflowReport(), "mlflow")])
def test_a_missing_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Any, library: str
) -> None:
    there = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return there(name, *args, **kwargs)

    comparison, run = made_up(tmp_path / "run", MadeUp())
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MachineError, match=f"needs {library}") as error:
        report.write(comparison, run, tmp_path, io.StringIO())
    assert error.value.hint == install(library)


TRACKERS = [
    pytest.param("wandb", "wandb", marks=pytest.mark.slow),
    pytest.param("mlflow", "sqlalchemy", marks=pytest.mark.slow),
]


def report(run: Path, name: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what a library leaves behind would meet the next test."""
    command = [sys.executable, "-m", "tokenbench", "report", str(run), "--format", name]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    (
        "name",
        "library",
        "free",
    ),  # KiB: for a few files, or for the beginning of a database; a run of wandb fits in there
    [("wandb", "wandb", 8), ("mlflow", "sqlalchemy", 8), ("mlflow", "sqlalchemy", 100)],
)
def test_a_full_disk_is_one_line(name: str, library: str, free: int, tmp_path: Path) -> None:
    pytest.importorskip(name)
    pytest.importorskip(library)
    with small_disk(tmp_path / "disk", "1m"):
        run = made_run(tmp_path / "disk" / "run")
        left = shutil.disk_usage(run).free
        (tmp_path / "disk" / "ballast").write_bytes(bytes(left - free * 1024))
        done = report(run, name)
    lines = done.stderr.splitlines()
    line = lines[-1]
    assert "Traceback" not in done.stderr
    assert name == "wandb" or len(lines) == 1  # the service of wandb, a process of its own, may crash beside it
    assert done.returncode == 4
    assert line.startswith(f"error: {run}/report/{name}")
    assert line.endswith("(free some space, and run the same command again)")


@pytest.mark.parametrize(("name", "library"), TRACKERS)
def test_no_server_is_asked(name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that the environment names: it may not answer."""
    pytest.importorskip(name)
    pytest.importorskip(library)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, address)
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        done = report(made_run(tmp_path / "run"), name)
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert done.returncode == 0
    assert "error" not in done.stderr.lower()

"""The main job: right records, resumed after kill -9 at any moment, and errors for people."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.systems import only_posix
from tokenbench import cli
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.runner.sources import source_of
from tokenbench.store import files
from tokenbench.store.directory import Store
from tokenbench.store.journals import Journals

TOY = Path(registry().get("backbones", "toy-llava").source)
SMALL = [
    "--strategies",
    "fastv,clse",
    "--budgets",
    "1/9",
    "--tasks",
    "attribute,counting",
    "--limit",
    "3",
    "--seeds",
    "0,1",
    "--batch-size",
    "4",
]
VOLATILE = "seconds"


def call(*arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["tokenbench", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)


def table(folder: Path) -> pd.DataFrame:
    frame = tokenbench.Run.open(folder).samples().drop(columns=VOLATILE)
    lists = {name: frame[name].map(list, na_action="ignore") for name in ("kept", "leaves", "tokens_per_layer")}
    return frame.assign(**lists)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert call("run", *SMALL, "-o", str(folder), "-q") == 0
    return folder


def test_every_cell_has_every_sample_once(finished: Path) -> None:
    frame = table(finished)
    cells = frame.groupby(["strategy", "budget", "seed", "task"])["sample"]
    assert cells.nunique().eq(3).all()
    assert cells.size().eq(3).all()
    assert set(frame["strategy"]) == {"vanilla", "fastv", "clse", "random", "downsample"}
    assert sorted(frame.loc[frame["strategy"] == "random", "seed"].unique()) == [0, 1]


def test_records_say_what_was_realised(finished: Path) -> None:
    frame = table(finished)
    vanilla, fastv = (frame[frame["strategy"] == name] for name in ("vanilla", "fastv"))
    assert vanilla["kept"].map(len).eq(144).all()
    assert vanilla["evidence_recall"].eq(1).all()
    assert fastv["kept"].map(len).eq(16).all()
    assert (fastv["realised_tokens"] > 16).all()  # layers before the stage keep everything
    assert frame["evidence_recall"].between(0, 1).all()
    assert frame["score"].isin([0, 1]).all()
    assert (fastv["flops"].to_numpy() < vanilla["flops"].to_numpy()).all()
    assert (fastv["cache_bytes"].to_numpy() < vanilla["cache_bytes"].to_numpy()).all()


def test_the_reports_are_written(finished: Path) -> None:
    summary = pd.read_csv(finished / "report" / "summary.csv")
    wanted = "model,strategy,budget,task,n,clusters,score,score_low,score_high,retention,retention_low,retention_high,realised_tokens,evidence_recall"
    assert set(wanted.split(",")) <= set(summary.columns)
    assert "mean" in set(summary["task"])
    pairs = pd.read_csv(finished / "report" / "pairs.csv")
    assert set(
        ["model", "budget", "task", "a", "b", "difference", "low", "high", "p", "p_unadjusted", "verdict"]
    ) <= set(pairs.columns)
    assert "### Where it hurts" in (finished / "report" / "summary.md").read_text()


def test_where_answers_change_follows_from_the_answers_and_the_scenes(finished: Path) -> None:
    where = pd.read_csv(finished / "report" / "where.csv")
    run = tokenbench.Run.open(finished)
    frame, questions, key = run.samples(), run.questions(), ["task", "sample"]
    vanilla = frame[frame["strategy"] == "vanilla"].set_index(key)[["answer", "score"]].add_prefix("all_")
    for strategy in ("fastv", "clse"):
        rows = frame[frame["strategy"] == strategy].join(vanilla, on=key)
        same = (rows["answer"].str.strip() == rows["all_answer"].str.strip()).mean()
        boxes = [questions[pair].evidence for pair in zip(rows["task"], rows["sample"], strict=True)]
        down = pd.Series([sum(box.y0 + box.y1 for box in own) / 2 / len(own) for own in boxes], rows.index)
        lower = (rows["score"] - rows["all_score"])[down > 2 / 3]
        own = where[where["strategy"] == strategy].set_index(["part", "measure"])["value"]
        assert own["all", "same answer"] == pytest.approx(same)
        assert (("lower", "change") in own) == (len(lower) > 0)
        assert own.get(("lower", "change"), 0) == pytest.approx(lower.mean() if len(lower) else 0)


def test_the_terminal_gets_forty_lines_of_a_real_run_and_all_of_it_on_request(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("report", str(finished)) == 0
    short = capsys.readouterr()
    lines = short.out.splitlines()
    assert len(lines) + len(short.err.splitlines()) <= 40
    assert max(map(len, lines)) <= 100
    assert str(finished / "report" / "report.html") in short.out.replace("\n", "")
    assert call("compare", str(finished), "--details") == 0
    assert "Notes" in capsys.readouterr().out
    assert "Notes" not in short.out


def test_batch_size_does_not_change_what_is_kept(finished: Path, tmp_path: Path, without_reports: None) -> None:
    arguments = [*SMALL[:-1], "1"]
    assert call("run", *arguments, "-o", str(tmp_path / "one"), "-q") == 0
    columns = ["strategy", "seed", "task", "sample", "kept", "answer"]
    pd.testing.assert_frame_equal(table(tmp_path / "one")[columns], table(finished)[columns])


def die(*_: Any, **__: Any) -> None:
    only_posix("a process kills itself without a word")
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(moment: int | str) -> None:
    """Patch the store so that this process dies (SIGKILL) at a moment of its first run."""
    append, finish = Journals.append, Store.finish
    calls = iter(range(10**6))

    def appended(self: Journals, records: Any) -> None:
        n = next(calls)
        if n == moment:
            die()
        append(self, records)
        if moment == "torn" and n == 3:
            path = max(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            os.truncate(path, path.stat().st_size - 20)
            die()

    def finishing(self: Store, *args: Any) -> None:
        if moment == "publish":
            files.os.replace = lambda *a: die()  # type: ignore[assignment]
        if moment == "journals":
            Journals.forget = die  # type: ignore[method-assign, assignment]
        finish(self, *args)
        if moment == "published":
            die()

    Journals.append, Store.finish = appended, finishing  # type: ignore[method-assign, assignment]


def victim(moment: int | str, arguments: Sequence[str]) -> None:
    kill_at(moment)
    call(*arguments)


def killed(moment: int | str, arguments: Sequence[str]) -> None:
    """Run in another process until it kills itself. Its parent never ran a model: torch's threads do not survive a fork."""
    only_posix("a process that has loaded everything is forked, and kills itself")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tokenbench.runner.execute", "transformers.models.llava", "tests.tokenbench.commands.test_running"]
    )
    process = context.Process(target=victim, args=(moment, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "moment",
    [
        "torn",
        "publish",
        *(pytest.param(moment, marks=pytest.mark.slow) for moment in (0, 1, 7, "published", "journals")),
    ],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_table(finished: Path, tmp_path: Path, moment: int | str) -> None:
    folder = tmp_path / "run"
    arguments = ("run", *SMALL, "-o", str(folder), "-q")

    killed(moment, arguments)
    assert call(*arguments) == 0
    pd.testing.assert_frame_equal(table(folder), table(finished))
    assert not list((folder / "journal").iterdir())
    ours, theirs = (pd.read_csv(f / "report" / "summary.csv") for f in (folder, finished))
    pd.testing.assert_frame_equal(ours, theirs)


def test_show_describes_a_strategy_and_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "clse") == 0
    out = capsys.readouterr().out
    assert "Cross-Layer Spectral Evolution" in out
    assert "score = product" in out
    assert call("show", "clsee") == 2


def test_show_describes_the_parts_of_a_composition(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "fastv@pdrop+tome") == 0
    out = capsys.readouterr().out
    assert all(heading in out for heading in ("fastv\n\n", "pdrop\n\n", "tome\n\n", "written STRATEGY+tome:"))
    assert call("show", "toy-llava") == 2
    assert "'toy-llava' is one of the backbones" in capsys.readouterr().err


def test_show_describes_suites_and_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "image") == call("show", "reading") == call("show", "csv") == 0
    out = capsys.readouterr().out
    assert "  reading  " in out
    assert "  suite: image" in out
    assert "Columns: image, question, answer;" in out


def test_a_finished_run_computes_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenbench.models.model import Model

    monkeypatch.setattr(Model, "prefill", lambda *a: pytest.fail("a finished run was computed again"))
    assert call("run", *SMALL, "-o", str(finished), "-q") == 0


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--suite", "imagee"], 2, "unknown suite 'imagee': did you mean image"),
        (["--strategies", "fastw"], 2, "unknown strategy 'fastw': did you mean fastv"),
        (["--strategies", ""], 2, "no strategy is given"),
        (["--strategies", "fastv:layer=30"], 2, "a stage before layer 30"),
        (["--models", "toy-lava"], 2, "unknown model 'toy-lava': did you mean toy-llava"),
        (["--models", "llava"], 2, "an architecture, not a model"),
        (["--models", f"{TOY}@main"], 2, "a folder has no revisions"),
        (["--models", "nobody/nothing"], 4, "hf download nobody/nothing"),
        (["--models", "llava-1.5-7b@abc123"], 4, "hf download llava-hf/llava-1.5-7b-hf --revision abc123"),
        (["--attention", "slow"], 2, "--attention"),
        (["--tasks", "readin"], 2, "did you mean reading"),
        (["--budgets", "0"], 2, "must be above 0"),
        (["--budgets", "1.0"], 2, "a share must be below 1"),
        (["--budgets", "150%"], 2, "a share must be below 1"),
        (["--budgets", "145"], 2, "more than the 144 visual tokens"),
        (["--budgets", "a few"], 2, "neither a number of tokens nor a share"),
        (["--limit", "-1"], 2, "--limit"),
        (["--seeds", "x"], 2, "--seeds takes whole numbers"),
        (["--nonsense"], 2, "No such option"),
        (["--plugin", "nowhere.py"], 2, "plug-in nowhere.py failed to load"),
        (["-o", __file__], 2, "is a file"),
        (["-o", f"{__file__}/run"], 4, "cannot write the run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    change: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    strategies = [] if "--strategies" in change else ["--strategies", "fastv"]
    assert call("run", *strategies, "--limit", "1", *change) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not list(tmp_path.iterdir())


def test_corrupt_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(TOY, model)
    (model / "model.safetensors").write_bytes(b"not weights")
    assert call("run", *SMALL, "--models", str(model), "-o", str(tmp_path / "run")) == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"model '{model}' cannot be loaded" in line
    assert not (tmp_path / "run").exists()


def test_other_settings_in_the_same_folder_are_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "run.json").read_bytes()
    assert call("run", *SMALL, "--limit", "2", "-o", str(finished)) == 2
    assert "limit: 3 -> 2" in capsys.readouterr().err
    assert (finished / "run.json").read_bytes() == before


def test_a_corrupt_manifest_is_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    assert call("report", str(tmp_path / "run")) == 4
    assert "run.json cannot be read" in capsys.readouterr().err


def test_a_dry_run_shows_the_cells_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", *SMALL, "-n", "-o", str(tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert "toy-llava  random  1/9  seed 1" in out
    assert "12 cells of 2 tasks, 36 answers" in out
    assert not (tmp_path / "run").exists()


def test_the_identity_of_a_cell_follows_what_changes_answers(finished: Path) -> None:
    cells = json.loads((finished / "run.json").read_text())["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) == 12


def test_the_parts_of_a_composition_are_part_of_its_identity() -> None:
    strategy = parse_strategy("fastv@pdrop+merge", registry()).strategy
    modules = [type(part).__module__.rpartition(".")[2] for part in strategy.parts]
    assert modules == ["composition", "fastv", "pdrop", "merge"]
    assert len({str(source_of(part)) for part in strategy.parts}) == 4

"""What is appended is what is read: any text, any number."""

from __future__ import annotations

import errno
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import CHANGES, READS, Dead, Killed, Points, watched
from tests.fuzz.made import IDS, SPEC, made_run, record
from tokenbench.errors import MachineError
from tokenbench.runner.records import _replace_surrogates
from tokenbench.store.directory import Store
from tokenbench.store.lock import run_lock
from tokenbench.store.run_json import SCHEMA_VERSION, add_look, read_manifest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
FLOATS = st.floats() | st.sampled_from([math.nan, math.inf, -0.0, 5e-324, 1e308])
CELL = IDS[0]


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    keys = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    return [
        {
            **record(0, right=True, tokens=4),
            "sample": key,
            "answer": draw(TEXT),
            "target": draw(TEXT),
            "cluster": draw(TEXT),
            "unit": draw(TEXT),
            "score": draw(st.floats(0, 1)),
            "flops": draw(FLOATS),
            "evidence_recall": draw(FLOATS),
            "seconds": draw(FLOATS),
            "kept": draw(st.lists(st.integers(0, 8), unique=True).map(sorted)),
            "lattice": draw(st.none() | st.just([1, 3, 3, 0])),
        }
        for key in keys
    ]


def same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@given(records())
def test_what_is_appended_is_what_is_read(written: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "run")
        store.start({"schema_version": SCHEMA_VERSION, "spec": SPEC, "cells": []})
        store.journals.append((CELL, one) for one in written)
        keys = [one["sample"] for one in written]
        assert store.answered_questions(CELL) == {(key, "") for key in keys}
        store.finish(CELL, dict.fromkeys(keys[::-1], ""), {})
        store.clean_up(CELL)
        read = Store.open(Path(folder) / "run").records_of(CELL).values()
    assert [one["sample"] for one in read] == keys[::-1]
    for one, other in zip(read, reversed(written), strict=True):
        assert all(same(one[name], other[name]) for name in other), (one, other)


@given(st.text(st.characters()))
def test_halves_of_letters_are_replaced_and_whole_ones_kept(text: str) -> None:
    whole = _replace_surrogates(text)
    whole.encode()
    if not any("\ud800" <= sign <= "\udfff" for sign in text):
        assert whole == text


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "x", "", "00AA11BB"])
def test_an_id_that_is_no_hash_is_refused_before_it_becomes_a_path(tmp_path: Path, name: str) -> None:
    run = made_run(tmp_path / "run")
    manifest = (run / "run.json").read_text()
    (run / "run.json").write_text(manifest.replace(IDS[1], name))
    with pytest.raises(MachineError, match=r"cells\.1\.id"):
        read_manifest(run)


def test_a_manifest_may_hold_more_than_is_known(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    manifest = (run / "run.json").read_text()
    (run / "run.json").write_text(manifest.replace('"notes"', '"later": {"x": [1]}, "notes"'))
    assert read_manifest(run)["later"] == {"x": [1]}


@pytest.mark.parametrize("line", ["[" * 100_000, "null", "5", "{}", '{"sample": []}', '{"sample": {}}', "\x00"])
def test_junk_in_a_journal_is_as_if_it_were_not_there(tmp_path: Path, line: str) -> None:
    store = Store(tmp_path / "run")
    store.make_folders()
    store.journals.append([(CELL, record(0, right=True, tokens=4))])
    (tmp_path / "run" / "journal" / f"{CELL}.other.1.jsonl").write_text(f"{line}\n")
    assert store.answered_questions(CELL) == {("s0", "")}


@pytest.mark.parametrize("change", [{"kept": "all"}, {"score": "high"}, {"answer": 5}, {"visual_tokens": 2**40}])
def test_a_record_that_no_run_wrote_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    store = Store(tmp_path / "run")
    store.make_folders()
    store.journals.append([(CELL, {**record(0, right=True, tokens=4), **change})])
    with pytest.raises(MachineError, match=r"the journal of cell .* is corrupt"):
        store.finish(CELL, {"s0": ""}, {})


def begin(folder: Path) -> None:
    """What a run does before its first answer."""
    store = Store(folder)
    store.check()
    store.make_folders()
    with run_lock(folder, 0):
        empty: dict[str, Any] = {"cells": [], "parts": {}, "tasks": {}, "models": {}, "plugin_files": []}
        store.start({"schema_version": SCHEMA_VERSION, "spec": SPEC, **empty})


def test_killed_at_any_point_before_the_first_answer_it_begins_again(tmp_path: Path) -> None:
    counted = Points(CHANGES)
    with watched(tmp_path / "run", counted):
        begin(tmp_path / "run")
    assert len(counted.seen) > 15
    for at in range(len(counted.seen)):
        folder = tmp_path / str(at) / "run"
        with watched(folder, Dead(CHANGES, at)), pytest.raises(Killed):
            begin(folder)
        begin(folder)
        assert sorted(path.name for path in folder.iterdir()) == [
            "cells",
            "journal",
            "lock",
            "logs",
            "report",
            "run.json",
            "run.lock",
        ]


@pytest.mark.parametrize(
    "ask",
    [
        Store.answered_questions,
        Store.final_questions,
        Store.count,
        Store.records_of,
        Store.failure,
        lambda store, cell: store.journals.records(cell),
        lambda store, cell: set(store.journals.questions(cell)),
        lambda store, cell: store.journals.count(cell),
        Store.summary,
    ],
)
@pytest.mark.parametrize("cell", IDS)
def test_no_error_of_the_disk_is_mistaken_for_what_a_run_holds(
    tmp_path: Path, ask: Callable[[Store, str], Any], cell: str
) -> None:
    """Of a finished cell, an unfinished one, and one that failed: the right answer or an error, wherever a call fails."""
    run = made_run(tmp_path / "run")
    store = Store.open(run)
    for other in IDS[1:]:
        (run / "cells" / f"{other}.parquet").unlink()
        store.journals.append([(other, record(0, right=True, tokens=4))])
    store.fail(
        IDS[2],
        {**dict.fromkeys(("model", "strategy", "budget", "task"), "x"), "seed": 0, "kind": "failed", "reason": "?"},
    )

    def asked() -> Any:
        try:
            return ask(store, cell)
        except (OSError, MachineError) as error:
            return type(error)

    counted = Points(READS)
    with watched(run, counted):
        right = asked()
    for at in range(len(counted.seen)):

        def fail(path: str) -> None:
            raise OSError(errno.EIO, "Input/output error", path)

        with watched(run, Points(READS, at, fail)):
            assert asked() in (right, OSError, MachineError), counted.seen[at]
    assert not store.broken_files()


def test_a_cell_grows_and_keeps_the_journal_of_what_is_not_published_yet(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.make_folders()
    store.journals.append((CELL, record(i, right=True, tokens=4)) for i in range(2))
    store.finish(CELL, {"s0": "", "s1": ""}, {})
    store.clean_up(CELL)
    assert not list((tmp_path / "run" / "journal").iterdir())
    store.journals.append([(CELL, record(2, right=False, tokens=4)), (CELL, record(0, right=False, tokens=4))])
    assert (
        store.count(CELL),
        store.count_answers(CELL, 4),
        store.count_answers(CELL, 3),
        store.count_answers(CELL, 2),
    ) == (2, 3, 3, 2)
    store.clean_up(CELL)
    assert store.answered_questions(CELL) == {(f"s{i}", "") for i in range(3)}
    store.finish(CELL, {"s0": "", "s1": "", "s2": ""}, {})
    store.clean_up(CELL)
    assert not list((tmp_path / "run" / "journal").iterdir())
    assert next(store.columns([CELL], ["score"]))["score"].to_pylist() == [1, 1, 0]  # what is final stays as it is


def test_an_answer_to_another_question_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.make_folders()
    store.journals.append([(CELL, {**record(0, right=True, tokens=4), "asked": "old"})])
    store.finish(CELL, {"s0": "old"}, {})
    store.journals.append([(CELL, {**record(0, right=False, tokens=4), "asked": "new"})])
    assert store.answered_questions(CELL) == {("s0", "old"), ("s0", "new")}
    store.finish(CELL, {"s0": "new"}, {})
    assert next(store.columns([CELL], ["score"]))["score"].to_pylist() == [0]


def test_a_failure_counts_until_all_that_was_asked_then_is_published(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.make_folders()
    names = {"model": "m", "strategy": "s", "budget": "1/2", "seed": 0, "task": "t"}
    store.journals.append((CELL, record(i, right=True, tokens=4)) for i in range(2))
    store.finish(CELL, {"s0": ""}, {})
    store.fail(CELL, {**names, "samples": 2, "kind": "failed", "reason": "it broke"})
    store.clean_up(CELL)
    assert store.failure(CELL)
    store.finish(CELL, {"s0": "", "s1": ""}, {})
    assert not store.failure(CELL)
    store.clean_up(CELL)
    assert not list((tmp_path / "run" / "cells").glob("*.failed.json"))


def test_looks_stay_when_run_json_is_written_again(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    store = Store.open(run)
    manifest = read_manifest(store.folder)
    add_look(store.folder, lambda looks: False, {"time": "now", "samples": {"attribute": 6}})
    add_look(store.folder, lambda looks: bool(looks), {"time": "later", "samples": {"attribute": 6}})
    store.start(manifest)
    assert [look["time"] for look in read_manifest(store.folder)["looks"]] == ["now"]

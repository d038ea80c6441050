"""Journals are read once, a record is there as soon as its line is whole, and whoever only counts counts the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.made import IDS, record
from tokenbench.store import journals
from tokenbench.store.journals import Journals

CELL, OTHER = IDS[:2]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every line that is parsed from now on."""
    found: list[bytes] = []
    loads = json.loads

    def counted(line: Any) -> Any:
        found.append(line)
        return loads(line)

    monkeypatch.setattr(journals.json, "loads", counted)
    return found


def asked(sample: int, digest: str = "d") -> dict[str, Any]:
    """A record with its keys in the order in which a run writes them."""
    one = record(sample, right=True, tokens=4)
    target = list(one).index("target") + 1
    return dict([*list(one.items())[:target], ("asked", digest), *list(one.items())[target:]])


def test_what_was_read_is_not_read_again(tmp_path: Path, parsed: list[bytes]) -> None:
    mine, theirs = Journals(tmp_path, tmp_path, "here.1"), Journals(tmp_path, tmp_path, "there.2")
    mine.append((cell, asked(i)) for i in range(3) for cell in (CELL, OTHER))
    assert mine.questions(CELL) == {("s0", "d"), ("s1", "d"), ("s2", "d")}
    assert len(parsed) == 3
    assert len(mine.questions(CELL)) == 3
    assert len(parsed) == 3
    theirs.append([(CELL, asked(2)), (CELL, asked(7))])
    assert ("s7", "d") in mine.questions(CELL)
    assert len(parsed) == 5
    assert len(mine.questions(OTHER)) == 3
    assert len(parsed) == 8
    mine.forget(CELL)
    assert not mine.questions(CELL)
    mine.append([(CELL, asked(9))])
    assert mine.questions(CELL) == {("s9", "d")}


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal, path = Journals(tmp_path, tmp_path, "here.1"), tmp_path / f"{CELL}.there.2.jsonl"
    line = json.dumps(asked(0)).encode()
    for end in (10, len(line) - 1, len(line)):
        path.write_bytes(line[:end])
        assert not journal.questions(CELL)
    path.write_bytes(line + b"\n")
    assert journal.questions(CELL) == {("s0", "d")}


def test_cells_whose_names_begin_alike_are_told_apart(tmp_path: Path) -> None:
    journal = Journals(tmp_path, tmp_path, "here.1")
    journal.append([(CELL, asked(0)), (f"{CELL}0", asked(1))])
    assert journal.questions(CELL) == {("s0", "d")}
    with journal.list_once():
        assert journal.count(f"{CELL}0") == 1
        assert journal.count(OTHER) == 0


NASTY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['", "seconds": 1}', '{"sample": "x", "asked": "y", "score": 1, "seconds": 1}', "}", '"', chr(92), "\n", "\u2028"]
)


@given(st.lists(st.tuples(NASTY, NASTY, NASTY), min_size=1, max_size=4), st.data())
def test_a_count_is_the_number_of_records_wherever_a_line_was_torn(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journals(folder, folder, "here.1")
    for sample, answer, digest in texts:
        journal.append([(CELL, {**asked(0, digest), "sample": sample, "answer": answer})])
    (path,) = journal.files(CELL)
    whole = path.read_bytes()
    assert journal.count(CELL) == len(journal.records(CELL)) == len({(sample, digest) for sample, _, digest in texts})
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    journal.append([(CELL, asked(5))])
    assert journal.count(CELL) == len(journal.records(CELL)) == len(Journals(folder, folder, "").questions(CELL))


def test_a_count_parses_nothing_that_is_as_a_run_writes_it(tmp_path: Path, parsed: list[bytes]) -> None:
    journal = Journals(tmp_path, tmp_path, "here.1")
    journal.append((CELL, {**asked(i), "flops": float("nan")}) for i in range(5))
    assert journal.count(CELL) == 5
    assert not parsed

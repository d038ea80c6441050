"""Files that are read in parts hold what pyarrow reads from them at once."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokenbench.store import record_file
from tokenbench.store.frames import condense, select_samples
from tokenbench.store.record_file import RECORD, DamagedError, pack, read_many, read_records

ROWS = (11, 1, 4)
COLUMNS = ("sample", "answer", "score", "kept", "visual_tokens")


def record(at, kept):
    texts = {"sample": f"s{at}", **dict.fromkeys(("cluster", "unit", "stratum", "answer", "target", "asked"), "x")}
    numbers = dict.fromkeys(
        ("realised_tokens", "flops", "cache_bytes", "evidence_recall", "seconds", "score", "text_tokens"), 1
    )
    return {**texts, **numbers, "kept": kept, "visual_tokens": 20, "lattice": [1, 4, 5, 0], "tokens_per_layer": [20]}


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(record_file, "PART", 3)
    monkeypatch.setattr(record_file, "BATCH", 5)
    made = [tmp_path / f"{at}.parquet" for at in range(len(ROWS))]
    for path, rows in zip(made, ROWS, strict=True):
        path.write_bytes(pack([record(at, list(range(at % 4))) for at in range(rows)], RECORD)[1])
    return made


def test_parts_make_up_the_whole_file(paths, tmp_path):
    for path, table in zip(paths, read_many(paths, tmp_path, RECORD, COLUMNS), strict=True):
        assert table.to_pylist() == pq.read_table(path, columns=list(COLUMNS)).to_pylist()
        assert read_records(path, tmp_path, RECORD).to_pylist() == pq.read_table(path).to_pylist()


def test_kept_tokens_are_counted_part_by_part(paths, tmp_path):
    tables = list(read_many(paths, tmp_path, RECORD, COLUMNS, ("sample",), condense))
    assert [table["kept"].to_pylist() for table in tables] == [[at % 4 for at in range(rows)] for rows in ROWS]
    assert [table["sample"].to_pylist() for table in tables] == [[f"s{at}" for at in range(rows)] for rows in ROWS]


def test_answers_become_numbers_that_tell_whether_they_are_the_same(tmp_path):
    path = tmp_path / "answers.parquet"
    texts = ["red", " red\n", "Red", "", "blue", "red"]
    path.write_bytes(pack([{**record(at, [1]), "answer": text} for at, text in enumerate(texts)], RECORD)[1])
    (table,) = read_many([path], tmp_path, RECORD, COLUMNS, (), condense)
    found = table["answer"].to_pylist()
    assert [[one == other for other in found] for one in found] == [
        [a.strip() == b.strip() for b in texts] for a in texts
    ]


def test_samples_are_selected_by_the_task_of_their_cell(paths, tmp_path):
    shrink = select_samples([{"task": "a"}, {"task": "b"}, {"task": "a"}], {("a", "s0"), ("a", "s9"), ("b", "s3")})
    tables = list(read_many(paths, tmp_path, RECORD, COLUMNS, shrink=shrink))
    assert [table["sample"].to_pylist() for table in tables] == [["s0", "s9"], [], ["s0"]]
    assert tables[0]["kept"].to_pylist() == [[], [0]]


@pytest.mark.parametrize("at", [0, 4, 10])
@pytest.mark.parametrize("kept", [[20], [-1]])
def test_a_wrong_token_in_any_part_names_the_file(paths, tmp_path, at, kept):
    records = [record(number, kept if number == at else [1]) for number in range(11)]
    paths[1].write_bytes(pack(records, RECORD)[1])
    with pytest.raises(DamagedError, match=r"1\.parquet cannot be read: .*a kept token is not among"):
        list(read_many(paths, tmp_path, RECORD, COLUMNS, (), condense))


def test_a_sample_that_occurs_twice_is_found_across_parts(paths, tmp_path):
    paths[0].write_bytes(pack([record(number % 9, [1]) for number in range(10)], RECORD)[1])
    with pytest.raises(DamagedError, match="a sample occurs twice"):
        list(read_many(paths, tmp_path, RECORD, COLUMNS))


def test_an_empty_file_is_an_empty_table(paths, tmp_path):
    pq.write_table(pa.Table.from_pylist([], schema=RECORD), paths[1])
    assert [len(table) for table in read_many(paths, tmp_path, RECORD, COLUMNS)] == [11, 0, 4]


UNKNOWN = {"kept": None, "visual_tokens": None, "tokens_per_layer": None}


def test_what_a_run_did_may_be_unknown(tmp_path):
    path = tmp_path / "imported.parquet"
    path.write_bytes(pack([record(0, [3]), {**record(1, []), **UNKNOWN}], RECORD)[1])
    assert read_records(path, tmp_path, RECORD)["kept"].to_pylist() == [[3], None]
    (table,) = read_many([path], tmp_path, RECORD, COLUMNS, (), condense)
    assert table["kept"].to_pylist() == [1, None]


def test_tokens_cannot_be_kept_of_an_unknown_number_and_an_answer_cannot_be_unknown(tmp_path):
    path = tmp_path / "wrong.parquet"
    for gap, why in (
        ({"visual_tokens": None}, "a kept token is not among"),
        ({"score": None}, "column score has gaps"),
    ):
        path.write_bytes(pack([record(0, [3]), {**record(1, [3]), **gap}], RECORD)[1])
        with pytest.raises(DamagedError, match=why):
            read_records(path, tmp_path, RECORD)


def test_there_is_a_layer_for_every_visual_token_or_for_none(tmp_path):
    path = tmp_path / "wrong.parquet"
    right = [3, *[-1] * 19]
    path.write_bytes(pack([record(0, [3]), {**record(1, [3]), "leaves": right}], RECORD)[1])
    assert read_records(path, tmp_path, RECORD)["leaves"].to_pylist() == [None, right]
    for wrong in ([3, -1], [-2, *[-1] * 19]):
        path.write_bytes(pack([record(0, [3]), {**record(1, [3]), "leaves": wrong}], RECORD)[1])
        with pytest.raises(DamagedError, match="a layer at which a visual token leaves"):
            read_records(path, tmp_path, RECORD)

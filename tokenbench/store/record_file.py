"""The Parquet file of a cell's records: read within limits, and checked before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenbench.errors import AGAIN, MachineError, brief
from tokenbench.store import files

__all__ = ["RECORD", "DamagedError", "count_records", "read_many", "read_records"]

MOST_ROWS, MOST_BYTES, MOST_TOKENS = 10**7, 2**34, 2**20
MOST_PACKED = 2**32  # bytes of the file itself
LATER = ("unit", "stratum", "asked", "lattice", "text_tokens", "seconds")  # which files of older versions lack
BATCH = 2**17  # rows that are checked at once
T = TypeVar("T")
LATTICE = 4  # frames, height, width, leading tokens


RECORD = pa.schema(
    [
        ("sample", pa.string()),
        ("cluster", pa.string()),
        ("unit", pa.string()),
        ("stratum", pa.string()),
        ("answer", pa.string()),
        ("target", pa.string()),
        ("asked", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.list_(pa.int32())),
        ("visual_tokens", pa.int32()),
        ("lattice", pa.list_(pa.int32())),
        ("tokens_per_layer", pa.list_(pa.int32())),
        ("realised_tokens", pa.float64()),
        ("text_tokens", pa.int32()),
        ("flops", pa.float64()),
        ("cache_bytes", pa.float64()),
        ("evidence_recall", pa.float64()),
        ("seconds", pa.float64()),
    ]
)


class DamagedError(MachineError):
    """What a file holds is not what a run wrote: to read it again does not help."""


def read_records(path: Path, root: Path, schema: pa.Schema) -> pa.Table:
    """The records in a file of the run in `root`.

    Raises DamagedError for a file that is damaged, or holds anything but records; MachineError if it cannot be read now.
    """
    return _understood(path, root, lambda content: _checked_alone(_parsed(content, schema)))


def count_records(path: Path, root: Path) -> int:
    """How many records a file says that it holds. Raises as `read_records` does."""
    return _understood(path, root, lambda content: int(pq.read_metadata(content).num_rows))


def read_many(
    paths: Iterable[Path], root: Path, schema: pa.Schema, columns: Collection[str], packed: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Some columns of the records in each of many files. packed: columns that come as numbers into a dictionary of their values.

    What the records hold is checked for many files at once, which costs a tenth. Raises as `read_records`
    does.
    """
    wanted = pa.schema([field for field in schema if field.name in columns])
    batch: list[tuple[Path, pa.Table]] = []
    rows = 0
    for path in paths:
        batch.append((path, _understood(path, root, lambda content: _parsed(content, wanted, packed))))
        rows += len(batch[-1][1])
        if rows >= BATCH:
            yield from _checked(batch)
            batch, rows = [], 0
    yield from _checked(batch)


def _understood(path: Path, root: Path, parse: Callable[[pa.BufferReader], T]) -> T:
    """What the content of a file is understood as. Raises as `read_records` does."""
    try:
        content = files.read(path, root, MOST_PACKED)
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}", f"nothing is lost: {AGAIN}") from None
    # From memory: whatever goes wrong from here on lies in what the file holds, not in the disk.
    with _naming(path):
        return parse(pa.BufferReader(content))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise MachineError(
            f"there is not enough memory for {path}", "free some; if there is plenty, delete the file and run again"
        ) from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:  # KeyError: a column to be packed is not there
        raise DamagedError(f"{path} cannot be read: {brief(error)}", "delete it and run again") from None


def _parsed(content: pa.BufferReader, schema: pa.Schema, packed: Collection[str] = ()) -> pa.Table:
    """The columns of the schema."""
    with pq.ParquetFile(content, read_dictionary=list(packed)) as file:
        about = file.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if about.num_rows > MOST_ROWS or size > MOST_BYTES:
            raise ValueError(f"{about.num_rows} rows of {size} bytes are too many")
        names = file.schema_arrow.names
        for field in schema:
            times = names.count(field.name)
            if times > 1 or (times == 0 and field.name not in LATER):
                raise ValueError(f"column {field.name} is there {times} times")
        table = file.read(columns=[field.name for field in schema if field.name in names], use_threads=False)
    table.validate(full=True)  # text that is no UTF-8, offsets that lead nowhere
    table = _typed(table, schema)
    if "sample" in table.column_names and len(pc.unique(table["sample"])) < len(table):
        raise ValueError("a sample occurs twice")
    return table


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with its columns in their types; those that are packed stay so."""
    there = dict(zip(table.column_names, table.columns, strict=True))
    fields = []
    for field in schema:
        if (column := there.get(field.name)) is None:
            continue
        packed = pa.types.is_dictionary(column.type)
        plain = column.type.value_type if packed else column.type
        if pa.types.is_string(plain) != pa.types.is_string(field.type):
            raise ValueError(f"column {field.name} is {column.type}, not {field.type}")
        if field.name not in LATER and column.null_count:
            raise ValueError(f"column {field.name} has gaps")
        fields.append(field.with_type(column.type) if packed else field)
    typed, wanted = table.select([field.name for field in fields]), pa.schema(fields)
    return typed if typed.schema.equals(wanted) else typed.cast(wanted)


def _checked(batch: Sequence[tuple[Path, pa.Table]]) -> Iterator[pa.Table]:
    tables = [table for _, table in batch]
    try:
        if tables:
            _check_values(pa.concat_tables(tables, promote_options="default"))
    except ValueError:
        for path, table in batch:  # which of them it is
            with _naming(path):
                _check_values(table)
        raise
    yield from tables


def _checked_alone(table: pa.Table) -> pa.Table:
    _check_values(table)
    return table


def _check_values(table: pa.Table) -> None:
    """Raise ValueError for what no run writes, as far as the columns of the table show it."""
    there = set(table.column_names)
    for rule, (columns, holds) in RULES.items():
        if there.issuperset(columns) and not holds(*(table[name] for name in columns)):
            raise ValueError(rule)


def _are_scores(score: pa.ChunkedArray) -> bool:
    return _all(_between(score, 0, 1))


def _are_counts(visual: pa.ChunkedArray) -> bool:
    return _all(_between(visual, 0, MOST_TOKENS))


def _are_kept(kept: pa.ChunkedArray, visual: pa.ChunkedArray) -> bool:
    """Whether every kept token is one of its sample's visual tokens."""
    ordinals = pc.list_flatten(kept)
    ends = pc.min_max(ordinals)
    if not len(ordinals):
        return True
    if ends["min"].as_py() is None or ordinals.null_count or ends["min"].as_py() < 0:
        return False
    if ends["max"].as_py() < pc.min(visual).as_py():
        return True  # the usual case, which needs no look at the single samples
    return _all(pc.less(ordinals, pc.take(visual, pc.list_parent_indices(kept))))


def _are_lattices(column: pa.ChunkedArray) -> bool:
    column = column.drop_null()
    if not _all(pc.equal(pc.list_value_length(column), LATTICE)):
        return False
    frames, height, width, lead = (pc.cast(pc.list_element(column, i), pa.float64()) for i in range(LATTICE))
    tokens = pc.multiply(frames, pc.add(lead, pc.multiply(height, width)))
    sizes = [_between(number, 1, MOST_TOKENS) for number in (frames, height, width, tokens)]
    return all(map(_all, [*sizes, _between(lead, 0, MOST_TOKENS)]))


def _between(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _all(values: pa.ChunkedArray) -> bool:
    """Of no values: true. A gap counts as false."""
    return bool(pc.all(pc.fill_null(values, False)).as_py() in (True, None))


RULES: dict[str, tuple[tuple[str, ...], Callable[..., bool]]] = {
    "a score is not from 0 to 1": (("score",), _are_scores),
    "a number of visual tokens is beyond all models": (("visual_tokens",), _are_counts),
    "a kept token is not among the visual tokens": (("kept", "visual_tokens"), _are_kept),
    "a lattice is none": (("lattice",), _are_lattices),
}
"""What is wrong where it does not hold, by the columns that it is about."""

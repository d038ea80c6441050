"""The Parquet file of a cell's records, which is read within limits and checked before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenbench.errors import AGAIN, MachineError, brief
from tokenbench.store import files

__all__ = ["RECORD", "DamagedError", "count_records", "pack", "read_many", "read_records"]

MOST_ROWS, MOST_BYTES, MOST_TOKENS = 10**7, 2**34, 2**20
MOST_PACKED = 2**32
"""The largest size of the file itself, in bytes."""
LATER = ("unit", "stratum", "asked", "lattice", "text_tokens", "seconds")
"""The columns that files of older versions lack."""
BATCH = 2**17
"""The number of rows that are checked at once."""
T = TypeVar("T")
LATTICE = 4
"""The numbers of a lattice: frames, height, width, leading tokens."""

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
    """The content of a file is not what a run wrote, so that reading it again does not help."""


def pack(records: Sequence[dict[str, Any]], schema: pa.Schema) -> tuple[pa.Table, bytes]:
    """Return records as a table, and as the content of a file."""
    table, sink = pa.Table.from_pylist(records, schema=schema), pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return table, sink.getvalue().to_pybytes()


def read_records(path: Path, root: Path, schema: pa.Schema) -> pa.Table:
    """Return the records in a file.

    Args:
        path: The file.
        root: The run directory.
        schema: The columns of the records.

    Raises:
        DamagedError: The file is damaged, or holds something other than records.
        MachineError: The file cannot be read now.
    """
    return _read(path, root, lambda content: _check(_parse(content, schema)))


def count_records(path: Path, root: Path) -> int:
    """Return the number of records that a file says it holds. Raises the errors of `read_records`."""
    return _read(path, root, lambda content: int(pq.read_metadata(content).num_rows))


def read_many(
    paths: Iterable[Path], root: Path, schema: pa.Schema, columns: Collection[str], packed: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield some columns of the records in each of many files.

    The records are checked for many files at once, which costs a tenth. Raises the errors of `read_records`.

    Args:
        paths: The files.
        root: The run directory.
        schema: The columns of the records.
        columns: The names of the columns to read.
        packed: The names of the columns to read as dictionary-encoded ones.
    """
    wanted = pa.schema([field for field in schema if field.name in columns])
    batch: list[tuple[Path, pa.Table]] = []
    rows = 0
    for path in paths:
        batch.append((path, _read(path, root, lambda content: _parse(content, wanted, packed))))
        rows += len(batch[-1][1])
        if rows >= BATCH:
            yield from _check_batch(batch)
            batch, rows = [], 0
    yield from _check_batch(batch)


def _read(path: Path, root: Path, parse: Callable[[pa.BufferReader], T]) -> T:
    """Read a file, and return what `parse` makes of its content. Raises the errors of `read_records`."""
    try:
        content = files.read(path, root, MOST_PACKED)
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}", f"nothing is lost: {AGAIN}") from None
    # The content is parsed from memory, so that any error from here on is one of the content, not of the disk.
    with _errors_of(path):
        return parse(pa.BufferReader(content))


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn errors in the content of a file into errors that name the file."""
    try:
        yield
    except MemoryError:
        raise MachineError(
            f"there is not enough memory for {path}", "free some; if there is plenty, delete the file and run again"
        ) from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:  # KeyError: a column to be packed is missing
        raise DamagedError(f"{path} cannot be read: {brief(error)}", "delete it and run again") from None


def _parse(content: pa.BufferReader, schema: pa.Schema, packed: Collection[str] = ()) -> pa.Table:
    """Return the columns of the schema that a file holds."""
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
    table.validate(full=True)  # invalid UTF-8, offsets out of range
    table = _cast(table, schema)
    if "sample" in table.column_names and len(pc.unique(table["sample"])) < len(table):
        raise ValueError("a sample occurs twice")
    return table


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast the columns to the types of the schema. Dictionary-encoded columns stay as they are."""
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
    columns, wanted = table.select([field.name for field in fields]), pa.schema(fields)
    return columns if columns.schema.equals(wanted) else columns.cast(wanted)


def _check_batch(batch: Sequence[tuple[Path, pa.Table]]) -> Iterator[pa.Table]:
    """Check the values of several tables at once, and yield the tables."""
    tables = [table for _, table in batch]
    try:
        if tables:
            _check_values(pa.concat_tables(tables, promote_options="default"))
    except ValueError:
        for path, table in batch:  # find out which of them it is
            with _errors_of(path):
                _check_values(table)
        raise
    yield from tables


def _check(table: pa.Table) -> pa.Table:
    _check_values(table)
    return table


def _check_values(table: pa.Table) -> None:
    """Raise ValueError for values that no run writes, as far as the columns of the table show it."""
    there = set(table.column_names)
    for rule, (columns, holds) in RULES.items():
        if there.issuperset(columns) and not holds(*(table[name] for name in columns)):
            raise ValueError(rule)


def _are_scores(score: pa.ChunkedArray) -> bool:
    return _all(_is_between(score, 0, 1))


def _are_counts(visual: pa.ChunkedArray) -> bool:
    return _all(_is_between(visual, 0, MOST_TOKENS))


def _are_kept(kept: pa.ChunkedArray, visual: pa.ChunkedArray) -> bool:
    """Return whether every kept token is one of its sample's visual tokens."""
    ordinals = pc.list_flatten(kept)
    ends = pc.min_max(ordinals)
    if not len(ordinals):
        return True
    if ends["min"].as_py() is None or ordinals.null_count or ends["min"].as_py() < 0:
        return False
    if ends["max"].as_py() < pc.min(visual).as_py():
        return True  # the usual case, in which single samples need not be checked
    return _all(pc.less(ordinals, pc.take(visual, pc.list_parent_indices(kept))))


def _are_lattices(column: pa.ChunkedArray) -> bool:
    column = column.drop_null()
    if not _all(pc.equal(pc.list_value_length(column), LATTICE)):
        return False
    frames, height, width, lead = (pc.cast(pc.list_element(column, i), pa.float64()) for i in range(LATTICE))
    tokens = pc.multiply(frames, pc.add(lead, pc.multiply(height, width)))
    sizes = [_is_between(number, 1, MOST_TOKENS) for number in (frames, height, width, tokens)]
    return all(map(_all, [*sizes, _is_between(lead, 0, MOST_TOKENS)]))


def _is_between(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _all(values: pa.ChunkedArray) -> bool:
    """Return whether all values are true. A missing value counts as false; without values, the result is true."""
    return bool(pc.all(pc.fill_null(values, False)).as_py() in (True, None))


RULES: dict[str, tuple[tuple[str, ...], Callable[..., bool]]] = {
    "a score is not from 0 to 1": (("score",), _are_scores),
    "a number of visual tokens is beyond all models": (("visual_tokens",), _are_counts),
    "a kept token is not among the visual tokens": (("kept", "visual_tokens"), _are_kept),
    "a lattice is none": (("lattice",), _are_lattices),
}
"""The error to report if a rule does not hold: the columns that the rule concerns, and the rule."""

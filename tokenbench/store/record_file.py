"""The Parquet file of a cell's records, which is read within limits and checked before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenbench.contract.cells import IDENTITY
from tokenbench.errors import AGAIN, MachineError, brief, unknown
from tokenbench.store import files
from tokenbench.store.record_rules import RULES

__all__ = ["RECORD", "DamagedError", "check_columns", "count_records", "pack", "read_many", "read_records", "to_bytes"]

MOST_ROWS, MOST_BYTES = 10**7, 2**34
MOST_PACKED = 2**32
"""The largest size of the file itself, in bytes."""
LATER = ("unit", "stratum", "turn", "asked", "leaves", "lattice", "text_tokens", "evidence_height", "seconds")
"""The columns that files of older versions lack."""
UNKNOWN = ("answer", "kept", "visual_tokens", "tokens_per_layer")
"""The columns that have gaps where it is not known what a run did or answered, such as in runs that are imported from the logs of other tools."""
WIDE = "kept"
"""The column that holds nearly all of a file's data."""
PART = 2**12
"""The number of rows of which this column is read at once. Larger parts take longer, since they leave the cache."""
BATCH = 2**14
"""The number of rows that are checked at once."""
Part = tuple[int, Path, pa.Table]
"""The position of a file among those to read, its path, and some of its records."""
Shrink = Callable[[int, pa.Table], pa.Table]

RECORD = pa.schema(
    [
        ("sample", pa.string()),
        ("cluster", pa.string()),
        ("unit", pa.string()),
        ("stratum", pa.string()),
        ("turn", pa.int32()),
        ("answer", pa.string()),
        ("target", pa.string()),
        ("asked", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.list_(pa.int32())),
        ("leaves", pa.list_(pa.int32())),
        ("visual_tokens", pa.int32()),
        ("lattice", pa.list_(pa.int32())),
        ("tokens_per_layer", pa.list_(pa.int32())),
        ("realised_tokens", pa.float64()),
        ("text_tokens", pa.int32()),
        ("flops", pa.float64()),
        ("cache_bytes", pa.float64()),
        ("evidence_recall", pa.float64()),
        ("evidence_height", pa.float64()),
        ("seconds", pa.float64()),
    ]
)


class DamagedError(MachineError):
    """The content of a file is not what a run wrote, so that reading it again does not help."""


def pack(records: Sequence[dict[str, Any]], schema: pa.Schema) -> tuple[pa.Table, bytes]:
    """Return records as a table, and as the content of a file."""
    table = pa.Table.from_pylist(records, schema=schema)
    return table, to_bytes(table)


def to_bytes(table: pa.Table) -> bytes:
    """Return a table of records as the content of a file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


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
    parts = list(_read_parts(path, root, schema))
    table = pa.concat_tables(parts)
    _check_batch([(0, path, table)])
    return table


def count_records(path: Path, root: Path) -> int:
    """Return the number of records that a file says it holds. Raises the errors of `read_records`."""
    content = _read(path, root)
    with _errors_of(path):
        return int(pq.read_metadata(content).num_rows)


def keep_whole(at: int, part: pa.Table) -> pa.Table:
    """Keep all of a part."""
    return part


def read_many(
    paths: Iterable[Path],
    root: Path,
    schema: pa.Schema,
    columns: Collection[str],
    packed: Collection[str] = (),
    shrink: Shrink = keep_whole,
) -> Iterator[pa.Table]:
    """Yield some columns of the records in each of many files.

    The records are checked for many files at once, which costs a tenth. Large files are read in parts, so that their kept tokens,
    which are nearly all of the memory, are never held as a whole. Raises the errors of `read_records`.

    Args:
        paths: The files.
        root: The run directory.
        schema: The columns of the records.
        columns: The names of the columns to read.
        packed: The names of the columns to read as dictionary-encoded ones.
        shrink: Returns what to keep of the records in a part of a file, given the file's position among the files and the part.
    """
    wanted = pa.schema([field for field in schema if field.name in columns])
    parts = ((at, path, part) for at, path in enumerate(paths) for part in _read_parts(path, root, wanted, packed))
    for _, own in groupby(_check_in_batches(parts), key=itemgetter(0)):
        yield pa.concat_tables([shrink(at, part) for at, _, part in own], promote_options="default")


def _read_parts(path: Path, root: Path, schema: pa.Schema, packed: Collection[str] = ()) -> Iterator[pa.Table]:
    """Yield the parts of a file, at least one. Raises the errors of `read_records`."""
    content = _read(path, root)
    with _errors_of(path):
        yield from _parse(content, schema, packed)


def _read(path: Path, root: Path) -> pa.BufferReader:
    """Return the content of a file. Any error from here on is one of the content, not of the disk."""
    try:
        return pa.BufferReader(files.read(path, root, MOST_PACKED))
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}", f"nothing is lost: {AGAIN}") from None


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


def _parse(content: pa.BufferReader, schema: pa.Schema, packed: Collection[str] = ()) -> Iterator[pa.Table]:
    """Yield the columns of the schema that a file holds, part by part."""
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
        there = [field.name for field in schema if field.name in names]
        in_parts = WIDE in there and about.num_rows > PART
        table = file.read(columns=[name for name in there if name != WIDE or not in_parts], use_threads=False)
        table.validate(full=True)  # invalid UTF-8, offsets out of range
        if "sample" in there and len(pc.unique(table["sample"])) < len(table):
            raise ValueError("a sample occurs twice")
        for part in _add_wide(table, file) if in_parts else [table]:
            yield _cast(part, schema)


def _add_wide(table: pa.Table, file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Yield the rows of the table, a part at a time, with the wide column that the file holds besides."""
    start = 0
    for batch in file.iter_batches(PART, columns=[WIDE], use_threads=False):
        batch.validate(full=True)
        yield table.slice(start, len(batch)).append_column(WIDE, batch[WIDE])
        start += len(batch)
    if start != len(table):
        raise ValueError(f"column {WIDE} has {start} rows, not {len(table)}")


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
        if field.name not in (*LATER, *UNKNOWN) and column.null_count:
            raise ValueError(f"column {field.name} has gaps")
        fields.append(field.with_type(column.type) if packed else field)
    columns, wanted = table.select([field.name for field in fields]), pa.schema(fields)
    return columns if columns.schema.equals(wanted) else columns.cast(wanted)


def _check_in_batches(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts once their values are checked, which is done for many of them at once."""
    batch: list[Part] = []
    for part in parts:
        batch.append(part)
        if sum(len(table) for _, _, table in batch) >= BATCH:
            yield from _check_batch(batch)
            batch = []
    yield from _check_batch(batch)


def _check_batch(batch: Sequence[Part]) -> Sequence[Part]:
    """Check the values of several parts at once, and return the parts."""
    tables = [table for _, _, table in batch]
    try:
        if tables:
            _check_values(pa.concat_tables(tables, promote_options="default"))
    except ValueError:
        for _, path, table in batch:  # find out which of them it is
            with _errors_of(path):
                _check_values(table)
        raise
    return batch


def _check_values(table: pa.Table) -> None:
    """Raise ValueError for values that no run writes, as far as the columns of the table show it."""
    there = set(table.column_names)
    for rule, (columns, holds) in RULES.items():
        if there.issuperset(columns) and not holds(*(table[name] for name in columns)):
            raise ValueError(rule)


def check_columns(columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that a caller wants of `Run.samples`; all that it offers if there are none.

    Raises:
        UsageError: A column is unknown.
    """
    known = [name for name in RECORD.names if name != "asked"]
    for name in columns or ():
        if name not in (*known, *IDENTITY, "asked"):
            raise unknown("column", str(name), known)
    return tuple(known if columns is None else columns)

"""The Parquet file of a cell's records: read within limits, and checked before anything is computed from it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenbench.store.foreign import ordinary

__all__ = ["read_records"]

MOST_ROWS, MOST_BYTES, MOST_TOKENS = 10**7, 2**34, 2**20
LATER = ("unit", "stratum", "asked", "lattice", "text_tokens", "seconds")  # which files of older versions lack
LATTICE = 4  # frames, height, width, leading tokens


def read_records(path: Path, root: Path, schema: pa.Schema) -> pa.Table:
    """The records in a file of the run in `root`.

    Raises OSError, ValueError or an ArrowException for a file that is damaged, or holds anything but records.
    """
    ordinary(path, root)
    with pq.ParquetFile(path) as file:
        about = file.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if about.num_rows > MOST_ROWS or size > MOST_BYTES:
            raise ValueError(f"{about.num_rows} rows of {size} bytes are too many")
        table = file.read()
    table.validate(full=True)  # text that is no UTF-8, offsets that lead nowhere
    table = _typed(table, schema)
    _check_values(table)
    return table


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with its known columns in their types."""
    for field in schema:
        times = table.column_names.count(field.name)
        if times > 1 or (times == 0 and field.name not in LATER):
            raise ValueError(f"column {field.name} is there {times} times")
        if times:
            at = table.column_names.index(field.name)
            if pa.types.is_string(table.field(at).type) != pa.types.is_string(field.type):
                raise ValueError(f"column {field.name} is {table.field(at).type}, not {field.type}")
            table = table.set_column(at, field, table.column(at).cast(field.type))
        if field.name not in LATER and table[field.name].null_count:
            raise ValueError(f"column {field.name} has gaps")
    return table


def _check_values(table: pa.Table) -> None:
    samples, score, visual, kept = (table[name] for name in ("sample", "score", "visual_tokens", "kept"))
    beyond = pc.greater_equal(pc.list_flatten(kept), pc.take(visual, pc.list_parent_indices(kept)))
    rules = {
        "a sample occurs twice": len(pc.unique(samples)) < len(samples),
        "a score is not from 0 to 1": not _all(pc.and_(pc.greater_equal(score, 0), pc.less_equal(score, 1))),
        "a number of visual tokens is beyond all models": not _all(_between(visual, 0, MOST_TOKENS)),
        "a kept token is none of the visual tokens": not _all(pc.greater_equal(pc.list_flatten(kept), 0))
        or _any(beyond),
        "a lattice is none": "lattice" in table.column_names and not _are_lattices(table["lattice"].drop_null()),
    }
    for rule, broken in rules.items():
        if broken:
            raise ValueError(rule)


def _are_lattices(column: pa.ChunkedArray) -> bool:
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


def _any(values: pa.ChunkedArray) -> bool:
    return bool(pc.any(values).as_py())

"""Records of many cells as one data frame, in no more memory than its columns need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import IDENTITY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["COMPARED", "NAMES", "chosen", "counted", "frame", "selected"]

COMPARED = (
    "sample", "cluster", "unit", "stratum", "score", "kept", "visual_tokens", "realised_tokens", "text_tokens", "flops",
    "cache_bytes", "evidence_recall",
)  # fmt: skip
"""Columns that a comparison reads."""
NAMES = ("sample", "cluster", "unit", "stratum")


def frame(cells: Sequence[Mapping[str, Any]], tables: Iterable[pa.Table], columns: Sequence[str]) -> pd.DataFrame:
    """The tables of these cells one below the other, with the cells' names as the first columns.

    Columns come in this order, those that no table has are left out.
    """
    import pandas as pd
    import pyarrow as pa

    parts = list(tables)
    whole = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
    lengths = [len(table) for table in parts]
    del parts
    named = {name: _repeated([cell[name] for cell in cells], lengths) for name in IDENTITY}
    rest = whole.select([name for name in columns if name in whole.column_names])
    del whole
    found: pd.DataFrame = pd.concat(
        [pd.DataFrame(named), rest.to_pandas(split_blocks=True, self_destruct=True)], axis=1
    )
    for name in found.columns[found.dtypes == "category"]:
        found[name] = found[name].cat.reorder_categories(sorted(found[name].cat.categories))  # they sort as text does
    return found


def chosen(cell: Mapping[str, Any], table: pa.Table, of: Collection[tuple[str, str]]) -> pa.Table:
    """The rows of a cell's table on these samples, named as (task, sample)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pa.array([sample for task, sample in of if task == cell["task"]], pa.string())
    return table.filter(pc.is_in(table["sample"], keys))


def counted(table: pa.Table) -> pa.Table:
    """The table with the number of kept tokens in place of the tokens."""
    import pyarrow.compute as pc

    at = table.column_names.index("kept")
    return table.set_column(at, "kept", pc.list_value_length(table["kept"]))


def selected(
    samples: pd.DataFrame, columns: Sequence[str] | None, of: Collection[tuple[str, str]] | None
) -> pd.DataFrame:
    """As `Run.samples` does, of a frame that is there."""
    import pandas as pd

    if of is not None:
        samples = samples[pd.MultiIndex.from_frame(samples[["task", "sample"]]).isin(of)]
    return samples if columns is None else samples[[*IDENTITY, *(name for name in columns if name in samples)]]


def _repeated(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    """Every value as often as its cell has samples; text as a category."""
    import numpy as np
    import pandas as pd

    if not all(isinstance(value, str) for value in values):
        return np.repeat(np.asarray(values), lengths)
    names = sorted(set(values))
    place = {name: at for at, name in enumerate(names)}
    codes = np.repeat(np.array([place[value] for value in values], dtype=np.int32), lengths)
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype="str"))

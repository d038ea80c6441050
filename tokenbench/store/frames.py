"""The records of many cells as one data frame, in no more memory than its columns need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, IDENTITY, VANILLA
from tokenbench.store.record_file import check_columns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tokenbench.store.left_out import LeftOut
    from tokenbench.store.record_file import Shrink

__all__ = [
    "COMPARED",
    "NAMES",
    "condense",
    "count_kept",
    "drop_failures",
    "frame",
    "hash_answer",
    "mark_agreement",
    "select",
    "select_samples",
]

COMPARED = (
    "sample", "cluster", "unit", "stratum", "turn", "answer", "score", "kept", "visual_tokens", "realised_tokens", "text_tokens", "flops",
    "cache_bytes", "evidence_recall", "evidence_height",
)  # fmt: skip
"""The columns that a comparison reads."""
NAMES = ("sample", "cluster", "unit", "stratum")
"""The columns of these that hold names."""


def frame(cells: Sequence[Mapping[str, Any]], tables: Iterable[pa.Table], columns: Sequence[str]) -> pd.DataFrame:
    """Concatenate the tables of cells into one frame.

    Args:
        cells: The names of each cell, which become the first columns.
        tables: The records of each cell, in the same order.
        columns: The columns to take from the tables, in the order of the frame. Columns that no table has are left out.
    """
    import pandas as pd
    import pyarrow as pa

    parts = list(tables)
    whole = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
    lengths = [len(table) for table in parts]
    del parts
    identity = {name: _repeat([cell[name] for cell in cells], lengths) for name in IDENTITY}
    rest = whole.select([name for name in columns if name in whole.column_names])
    del whole
    records: pd.DataFrame = pd.concat(
        [pd.DataFrame(identity), rest.to_pandas(split_blocks=True, self_destruct=True)], axis=1
    )
    for name in records.columns[records.dtypes == "category"]:  # so that they sort as text does
        records[name] = records[name].cat.reorder_categories(sorted(records[name].cat.categories))
    return records


def select_samples(cells: Sequence[Mapping[str, Any]], of: Collection[tuple[str, str]]) -> Shrink:
    """Return what reduces the records of each of these cells to those of some samples, named as (task, sample)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys: dict[str, list[str]] = {cell["task"]: [] for cell in cells}
    for task, sample in of:
        keys.setdefault(task, []).append(sample)
    wanted = {task: pa.array(own, pa.string()) for task, own in keys.items()}
    return lambda at, part: part.filter(pc.is_in(part["sample"], wanted[cells[at]["task"]]))


def condense(at: int, table: pa.Table) -> pa.Table:
    """Replace the indices of the kept tokens by their number, and answers by hashes, which only tell whether two are the same.

    Unknown answers have no hash.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    place = table.column_names.index("kept")
    table = table.set_column(place, "kept", pc.list_value_length(table["kept"]))
    answers = pc.utf8_trim_whitespace(table["answer"]).combine_chunks().dictionary_encode()
    hashes = pa.array([hash_answer(text) for text in answers.dictionary.to_pylist()], pa.int64())
    return table.set_column(table.column_names.index("answer"), "answer", hashes.take(answers.indices))


def count_kept(kept: pd.Series[Any]) -> pd.Series[float]:
    """Return how many tokens each sample kept; NaN where that is not known."""
    return kept.map(len, na_action="ignore").astype("float64")


def hash_answer(text: str) -> int:
    """Return a hash of an answer that is the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def mark_agreement(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples with a column `same`, 1 where the answer is vanilla's and else 0, in place of the answers.

    It is NaN where either answer is unknown.
    """
    import numpy as np
    import pandas as pd

    if "answer" not in samples:
        return samples
    numbers = samples.groupby(["model", "task", "sample"], sort=False, observed=True).ngroup().to_numpy()
    vanilla = np.flatnonzero(samples["strategy"] == VANILLA)
    theirs = np.full(numbers.max(initial=-1) + 1, -1)
    theirs[numbers[vanilla]] = vanilla
    place, answers = theirs[numbers], samples["answer"].to_numpy()
    known = samples["answer"].notna().to_numpy()
    same = np.where((place >= 0) & known & known[place], answers[place] == answers, np.nan)
    return samples.drop(columns="answer").assign(same=pd.Series(same, samples.index, dtype=np.float64))


def drop_failures(
    samples: pd.DataFrame, failures: Sequence[Mapping[str, Any]], left_out: Iterable[LeftOut]
) -> pd.DataFrame:
    """Drop the samples that cannot be compared.

    These are all samples of a task on which vanilla failed, all samples of a strategy and budget that failed on any other task,
    and the samples that a model cannot be asked.

    Args:
        samples: The samples, with the columns of `Run.samples`.
        failures: The failures, as `Run.failures` returns them.
        left_out: The samples that a model cannot be asked.
    """
    import pandas as pd

    if not len(samples):
        return samples
    task, arm = ["model", "task"], list(CELL)
    gone = {tuple(f[name] for name in task) for f in failures if f["strategy"] == VANILLA}
    lost = {tuple(f[name] for name in arm) for f in failures if tuple(f[name] for name in task) not in gone}
    for columns, names in ((task, gone), (arm, lost)):
        if names:
            samples = samples[~pd.MultiIndex.from_frame(samples[columns]).isin(names)]
    if unfit := [(one.model, one.task, one.sample) for one in left_out]:
        samples = samples[~pd.MultiIndex.from_frame(samples[["model", "task", "sample"]]).isin(unfit)]
    return samples


def select(
    samples: pd.DataFrame, columns: Sequence[str] | None, of: Collection[tuple[str, str]] | None
) -> pd.DataFrame:
    """Select columns and samples of a frame, with the arguments of `Run.samples`."""
    import pandas as pd

    if of is not None:
        samples = samples[pd.MultiIndex.from_frame(samples[["task", "sample"]]).isin(of)]
    return (
        samples
        if columns is None
        else samples[[*IDENTITY, *(name for name in check_columns(columns) if name in samples)]]
    )


def _repeat(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    """Repeat every value as often as its cell has samples. Text becomes a categorical."""
    import numpy as np
    import pandas as pd

    if not all(isinstance(value, str) for value in values):
        return np.repeat(np.asarray(values), lengths)
    names = sorted(set(values))
    place = {name: at for at, name in enumerate(names)}
    codes = np.repeat(np.array([place[value] for value in values], dtype=np.int32), lengths)
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype="str"))

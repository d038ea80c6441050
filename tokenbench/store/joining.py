"""Which cells of several runs are one, under which name each appears, and which samples all runs share.

The rules, each of which says in one sentence what it does:

* A strategy keeps its name if one run holds it, or if several answered alike. If they answered otherwise at any budget, all of its cells
  say which run they are from: ``clse#A`` and ``clse#B``. Vanilla of the first run keeps its name, since everything is compared with it.
* A task is left out if the runs hold other content under the same names of samples, score the same answer differently, share no
  sample of it, or if not every cell was asked it.
* What the runs were made with (versions, dtype, prompts, code) is said where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, IDENTITY, VANILLA, name_in
from tokenbench.errors import UsageError
from tokenbench.store.answers import describe_flips, name_holders, unlike_content, unlike_rules, unlike_scores
from tokenbench.store.conditions import (
    cells_by_name,
    conditions_of,
    describe_conditions,
    join_words,
    same_conditions,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["READ", "Join", "Source", "join", "letters"]

READ = ("sample", "cluster", "unit", "stratum", "target", "asked", "answer", "score", "realised_tokens")
"""The columns by which samples and cells are joined."""
SAMPLE = ["model", "task", "sample"]
Name = tuple[str, str, str, int, str]
"""Model, strategy, budget, seed and task of a cell."""


@dataclass(frozen=True)
class Source:
    """One of the runs."""

    mark: str
    """Its letter."""
    label: str
    """What sentences call it."""
    manifest: Mapping[str, Any]
    """The content of its run.json."""
    rows: pd.DataFrame
    """Its answers that can be compared, with the columns of `READ` that it has, in the order in which it took up the samples."""

    @cached_property
    def cells(self) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        """Its cells by name."""
        return cells_by_name(self.manifest)


@dataclass(frozen=True)
class Join:
    """How several runs become one."""

    cells: dict[tuple[int, Name], str]
    """For every cell that is taken, the position of its run and its own names: the strategy's name among all runs."""
    samples: dict[tuple[str, str], list[str]]
    """The samples of each model and task, in order."""
    once: list[str]
    """The strategies that several runs answered alike."""
    apart: bool
    """Whether any cells are held apart."""
    left_out: list[str]
    """A sentence for every task that is left out."""
    conditions: list[str]
    """A sentence for each condition in which the runs differ."""
    flips: list[str]
    """A sentence per model and run whose vanilla gave other answers."""
    sizes: list[int]
    """The number of samples of each run, of all models and tasks together."""
    holders: dict[tuple[str, str], int]
    """How many runs hold answers of each model and task."""

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(map(len, self.samples.values()))


def letters(count: int) -> list[str]:
    """Return A, B and so on to Z, then AA, AB and so on."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = [*alphabet, *(a + b for a in alphabet for b in alphabet)]
    if count > len(names):
        raise UsageError(f"{count} runs are too many to join", f"join up to {len(names)}")
    return names[:count]


def join(sources: Sequence[Source]) -> Join:
    """Find out how runs become one.

    Raises:
        UsageError: Nothing is left to compare; the message says why.
    """
    rows, marks = _stack(sources), [source.mark for source in sources]
    bad = unlike_content(rows, marks) | unlike_scores(rows, marks)
    bad |= unlike_rules([source.manifest for source in sources], marks)
    rows = rows[~rows["task"].isin(bad)]
    classes = {cell: _alike(cell, own, sources) for cell, own in rows.groupby(list(CELL), sort=False, observed=True)}
    cells = _name_cells(classes, rows, sources)
    samples, said = _shared(rows, cells, sources)
    left_out = [*bad.values(), *said]
    models = {model for model, _ in samples}
    held = [models & set(source.rows["model"].unique()) for source in sources]
    if all(sum(model in own for own in held) < 2 for model in models):
        raise _nothing_shared(sources, left_out)
    taken = {one: name for one, name in cells.items() if (one[1][0], one[1][4]) in samples}
    several = [cell[1] for cell, found in classes.items() if any(len(runs) > 1 for runs in found)]
    otherwise = {cell[1] for cell, found in classes.items() if len(found) > 1}
    return Join(
        taken,
        samples,
        [name for name in dict.fromkeys(map(str, several)) if name not in otherwise],
        any(name != cell[1] for (_, cell), name in taken.items()),
        left_out,
        describe_conditions([source.manifest for source in sources], marks),
        describe_flips(rows, samples, classes, marks),
        [len(source.rows[SAMPLE].drop_duplicates()) for source in sources],
        {
            key: int(own["run"].nunique())
            for key, own in rows.groupby(["model", "task"], observed=True)
            if key in samples
        },
    )


def _nothing_shared(sources: Sequence[Source], reasons: Sequence[str] = ()) -> UsageError:
    """Return the error for runs that cannot be joined."""
    return UsageError(
        f"{join_words(source.label for source in sources)} share no samples of any model, so that nothing can be compared"
        + (f": {' '.join(reasons)}" if reasons else ""),
        "run the same models, suite and tasks in all of them",
    )


def _stack(sources: Sequence[Source]) -> pd.DataFrame:
    """Return the rows of all runs with a column for the run's position. Columns that a run lacks are empty."""
    import pandas as pd

    parts = [
        source.rows.reindex(columns=[*IDENTITY, *READ]).assign(run=at, place=range(len(source.rows)))
        for at, source in enumerate(sources)
    ]
    rows: pd.DataFrame = pd.concat([part.astype({"asked": object}) for part in parts], ignore_index=True)
    turns = {source.manifest["spec"].get("turns", 1) for source in sources}
    # The digest of a later question holds the first question of its dialogue, and older runs have none.
    known = rows["asked"].where(~rows["asked"].isin(["", None])) if len(turns) == 1 else None
    return rows.assign(asked=known)


def _alike(cell: Any, rows: pd.DataFrame, sources: Sequence[Source]) -> list[list[int]]:
    """Return the runs of a strategy and budget, those together that answered alike."""
    classes: list[list[int]] = []
    by_run = {run: rows[rows["run"] == run] for run in sorted(map(int, rows["run"].unique()))}
    for run, own in by_run.items():
        for runs in classes:
            if all(_are_alike(by_run[other], own, sources[other], sources[run]) for other in runs):
                runs.append(run)
                break
        else:
            classes.append([run])
    return classes


def _are_alike(a: pd.DataFrame, b: pd.DataFrame, source: Source, other: Source) -> bool:
    """Whether two runs of a strategy and budget have the same answers, scores and tokens wherever both have any.

    An unknown answer may be any, so that scores and tokens alone decide.

    Where one run holds a task or seed that the other lacks, both must have been run with the same things as well.
    """
    key = ["seed", "task", "sample"]
    both = a.merge(b, on=key, suffixes=("", "_b"))
    tokens = (both["realised_tokens"] == both["realised_tokens_b"]) | both["realised_tokens"].isna()
    tokens |= both["realised_tokens_b"].isna()
    answers = (both["answer"] == both["answer_b"]) | both["answer"].isna() | both["answer_b"].isna()
    if not (answers & (both["score"] == both["score_b"]) & tokens).all():
        return False
    held = [{tuple(one) for one in own[list(IDENTITY)].drop_duplicates().itertuples(index=False)} for own in (a, b)]
    if held[0] == held[1] and len(both):
        return True
    conditions = [_conditions(own, names) for own, names in zip((source, other), held, strict=True)]
    return same_conditions(*conditions)


def _conditions(source: Source, names: set[tuple[Any, ...]]) -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    for name in names:
        if name in source.cells:
            found |= conditions_of(source.manifest, source.cells[name])
    return found


def _name_cells(
    classes: Mapping[Any, list[list[int]]], rows: pd.DataFrame, sources: Sequence[Source]
) -> dict[tuple[int, Name], str]:
    """Choose for every cell the run that it is taken from, and its name: the first run that holds it and knows its cost."""
    held = rows.groupby([*IDENTITY, "run"], sort=False, observed=True)["realised_tokens"].count().reset_index()
    costs: dict[tuple[int, Name], int] = {
        (int(run), (str(model), str(strategy), str(budget), int(seed), str(task))): int(count)
        for model, strategy, budget, seed, task, run, count in held.itertuples(index=False, name=None)
    }
    by_cell: dict[Any, dict[Name, list[int]]] = {}
    for run, name in costs:
        by_cell.setdefault(name[:3], {}).setdefault(name, []).append(run)
    apart = {(cell[0], cell[1]) for cell, groups in classes.items() if len(groups) > 1}
    found: dict[tuple[int, Name], str] = {}
    for cell, groups in classes.items():
        for at, runs in enumerate(groups):
            first = sources[runs[0]].mark
            plain = (cell[0], cell[1]) not in apart or (cell[1] == VANILLA and at == 0)
            for name, holders in by_cell[tuple(cell)].items():
                own = sorted((not costs[run, name], run) for run in holders if run in runs)
                if own:
                    found[own[0][1], name] = name[1] if plain else name_in(name[1], first)
    return found


def _shared(
    rows: pd.DataFrame, cells: Mapping[tuple[int, Name], str], sources: Sequence[Source]
) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """Return the samples that all runs of a model and task share, and a sentence for every task of which nothing is left."""
    asked: dict[str, dict[str, set[tuple[str, str, int]]]] = {}
    for (_, (model, _, budget, seed, task)), name in cells.items():
        asked.setdefault(model, {}).setdefault(task, set()).add((name, budget, seed))
    samples: dict[tuple[str, str], list[str]] = {}
    said: list[str] = []
    for key in rows[["model", "task"]].drop_duplicates().itertuples(index=False, name=None):
        model, task = map(str, key)
        own = rows[(rows["model"] == model) & (rows["task"] == task)]
        arms = set().union(*asked[model].values())
        if missing := sorted(name for name, _, _ in arms - asked[model][task]):
            said.append(
                f"Task '{task}' of {model} is left out: no run has answers of {join_words(dict.fromkeys(missing))}."
            )
            continue
        each = own.drop_duplicates(["run", "sample"]).sort_values(["run", "place"], kind="stable")
        counts = each.groupby("sample", sort=False)["run"].size()
        shared = [str(sample) for sample in counts[counts == each["run"].nunique()].index]
        if shared:
            samples[model, task] = shared
        else:
            said.append(
                f"Task '{task}' of {model} is left out: {name_holders(own, [source.mark for source in sources])} share no sample of it."
            )
    return samples, said

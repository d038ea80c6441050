"""What the answers of several runs to the same samples say of the runs: whether content and scorers are the same, and vanilla too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import VANILLA
from tokenbench.store.conditions import join_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe_flips", "name_holders", "unlike_content", "unlike_rules", "unlike_scores"]

CONTENT = ("cluster", "target", "unit", "stratum", "asked")
"""The columns that are the same in all runs of a sample."""


def unlike_content(rows: pd.DataFrame, marks: Sequence[str]) -> dict[str, str]:
    """Return a sentence for every task that holds other content under the same name of a sample."""
    key = ["task", "sample"]
    each = rows.drop_duplicates([*key, "run"])
    unlike = (each.groupby(key, observed=True)[list(CONTENT)].nunique() > 1).any(axis=1)
    return {
        str(task): f"Task '{task}' is left out: its sample {sample} has different content in "
        f"{name_holders(each[(each['task'] == task) & (each['sample'] == sample)], marks)}, since the suite or its data changed between them."
        for task, sample in unlike[unlike].index[::-1]
    }


def unlike_scores(rows: pd.DataFrame, marks: Sequence[str]) -> dict[str, str]:
    """Return a sentence for every task on which the same answer to the same question is scored differently. Unknown answers say nothing about it."""
    key = ["task", "sample", "answer"]
    each = rows[rows["answer"].notna()].drop_duplicates([*key, "run"])
    unlike = each.groupby(key, observed=True)["score"].nunique() > 1
    found = {}
    for task, sample, answer in unlike[unlike].index[::-1]:
        own = each[(each["task"] == task) & (each["sample"] == sample) & (each["answer"] == answer)]
        scores = ", ".join(f"{score:g} in {marks[run]}" for run, score in zip(own["run"], own["score"], strict=True))
        found[str(task)] = (
            f"Task '{task}' is left out: the runs score it differently (the same answer to sample {sample} scores {scores})."
        )
    return found


def unlike_rules(manifests: Sequence[Mapping[str, Any]], marks: Sequence[str]) -> dict[str, str]:
    """Return a sentence for every task whose units are scored by other rules in other runs."""
    rules: dict[str, dict[str, list[str]]] = {}
    for manifest, mark in zip(manifests, marks, strict=True):
        for task, about in manifest["tasks"].items():
            rules.setdefault(task, {}).setdefault(about["unit_rule"], []).append(mark)
    return {
        task: f"Task '{task}' is left out: its units are scored by different rules ("
        + ", ".join(f"{rule} in {join_words(own)}" for rule, own in by_rule.items())
        + ")."
        for task, by_rule in rules.items()
        if len(by_rule) > 1
    }


def name_holders(rows: pd.DataFrame, marks: Sequence[str]) -> str:
    """Return the runs that hold any of these rows, in words."""
    return join_words(marks[run] for run in sorted(rows["run"].unique()))


def describe_flips(
    rows: pd.DataFrame,
    samples: Mapping[tuple[str, str], Sequence[str]],
    classes: Mapping[Any, list[list[int]]],
    marks: Sequence[str],
) -> list[str]:
    """Return a sentence per model and other vanilla on how often its scores differ from the first one's."""
    vanilla = rows[rows["strategy"] == VANILLA]
    sentences = []
    for (model, _, _), groups in ((cell, groups) for cell, groups in classes.items() if cell[1] == VANILLA):
        own = vanilla[vanilla["model"] == model]
        shared = {(task, one) for (name, task), keys in samples.items() if name == model for one in keys}
        first, *others = (runs[0] for runs in groups)
        for other in others or [run for run in groups[0][1:2]]:
            a, b = (own[own["run"] == run] for run in (first, other))
            both = a.merge(b, on=["task", "sample"], suffixes=("", "_b"))
            both = (
                both[[pair in shared for pair in zip(both["task"], both["sample"], strict=True)]] if len(both) else both
            )
            higher, lower = int((both["score"] > both["score_b"]).sum()), int((both["score"] < both["score_b"]).sum())
            names = [marks[run] for run in (first, other)]
            if len(both):
                sentences.append(
                    f"A/A check, {model}: vanilla's scores differ between {names[0]} and {names[1]} on {higher + lower:,} of {len(both):,} samples "
                    f"({100 * (higher + lower) / len(both):.1f} %; higher in {names[0]} : in {names[1]} = {higher}:{lower}). Pairs that differ on no more "
                    "are at the noise floor."
                )
    return sentences

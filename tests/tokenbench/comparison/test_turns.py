"""Accuracy kept by turn, against second derivations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tokenbench.comparison import add_turns, compare
from tokenbench.comparison.turns import compare_turns, describe_turns, turns_table
from tokenbench.statistics import Scale, TaskSums, contrasts, subtract_contrasts
from tokenbench.tables import text_table

READS = {"vanilla": False, "reader": True, "blind": False}
COST = ("kept", "visual_tokens", "realised_tokens", "flops", "cache_bytes", "evidence_recall")


def run(spoils: dict[tuple[str, int], float], images: int = 60, turns: int = 2, seed: int = 0) -> pd.DataFrame:
    """Two tasks; `spoils` maps (strategy, turn) to the share of vanilla's right answers that it spoils. A third of the images
    have one question."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in ("ocr", "count"):
        for image in range(images):
            for turn in range(1, 2 if image % 3 == 0 else turns + 1):
                right = float(rng.uniform() < 0.8)
                for strategy in READS:
                    kept = float(rng.uniform() >= spoils.get((strategy, turn), 0.0))
                    budget = "all" if strategy == "vanilla" else "1/9"
                    rows.append(("toy", strategy, budget, 0, task, f"{image}-{turn}", f"i{image}", turn, right * kept))
    names = ["model", "strategy", "budget", "seed", "task", "sample", "cluster", "turn", "score"]
    return pd.DataFrame(rows, columns=names).assign(**dict.fromkeys(COST, 1.0))


def kept(samples: pd.DataFrame, strategy: str, later: bool) -> float:
    """Mean over the tasks of the score over vanilla's, by pandas alone."""
    rows = samples[(samples["turn"] > 1) == later]
    mean = rows.groupby(["strategy", "task"])["score"].mean()
    return float((mean[strategy] / mean["vanilla"]).mean())


def test_turns_are_compared_on_the_images_that_have_both() -> None:
    samples = run({("reader", 2): 0.5, ("blind", 1): 0.2, ("blind", 2): 0.2})
    both = samples[samples["cluster"].map(lambda name: int(name[1:]) % 3 > 0)]
    found = compare_turns(samples, READS).set_index("strategy")
    assert found["turn"].eq("2").all()
    assert found["n"].eq(80).all()
    assert found["clusters"].eq(40).all()
    for name in ("reader", "blind"):
        first, later = (kept(both, name, end) for end in (False, True))
        row = found.loc[name]
        assert row[["retention_first", "retention", "difference"]].tolist() == pytest.approx(
            [first, later, later - first]
        )
        assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert found.loc["reader", "difference_high"] < 0
    assert found.loc["blind", "difference_low"] < 0 < found.loc["blind", "difference_high"]
    assert found["reads_question"].to_dict() == READS
    vanilla = found.loc["vanilla"]
    assert vanilla[["retention_first", "retention", "difference"]].tolist() == [1, 1, 0]


def test_without_turns_there_is_nothing_to_compare() -> None:
    samples = run({}, turns=1)
    assert compare_turns(samples, READS).empty
    assert compare_turns(samples.drop(columns="turn"), READS).empty


def test_more_turns_are_compared_one_by_one_and_together() -> None:
    samples = run({("reader", 3): 0.4}, turns=3)
    found = compare_turns(samples, READS)
    assert found["turn"].unique().tolist() == ["2", "3", "2+"]
    rows = found[found["strategy"] == "reader"].set_index("turn")
    both = samples[samples["cluster"].map(lambda name: int(name[1:]) % 3 > 0)]
    assert rows.loc["2+", "retention"] == pytest.approx(kept(both, "reader", later=True))
    assert rows.loc["2", "retention"] == 1
    assert rows.loc["3", "retention"] == pytest.approx(kept(both[both["turn"] != 2], "reader", later=True))


@pytest.mark.parametrize("scale", [Scale.RETENTION, Scale.RETENTION_OF_MEAN])
def test_the_influence_of_an_image_on_a_change_is_the_derivative_by_its_weight(scale: Scale) -> None:
    """Both turns hold the same images, so that the weight of an image counts in both."""
    rng = np.random.default_rng(1)
    tasks = [
        TaskSums(
            np.arange(12), sizes := rng.integers(1, 4, 12).astype(float), rng.uniform(0.3, 1, (12, 2)) * sizes[:, None]
        )
        for _ in range(4)
    ]

    def value(weights: np.ndarray) -> float:
        turns = []
        for part in (tasks[:2], tasks[2:]):
            scores = [(weights @ one.sums) / (weights @ one.sizes) for one in part]
            if scale is Scale.RETENTION:
                turns.append(100 * np.mean([score[1] / score[0] for score in scores]))
            else:
                turns.append(100 * sum(score[1] for score in scores) / sum(score[0] for score in scores))
        return float(turns[1] - turns[0])

    cell = np.array([0, 1])
    changed = subtract_contrasts(*(contrasts(part, cell, [(1, 0)], scale, 12) for part in (tasks[:2], tasks[2:])))
    assert changed.value[0] == pytest.approx(value(np.ones(12)))
    step = 1e-6
    slopes = [(value(np.ones(12) + step * unit) - value(np.ones(12) - step * unit)) / (2 * step) for unit in np.eye(12)]
    np.testing.assert_allclose(changed.influence[:, 0], slopes, atol=1e-6)
    assert changed.shift.sum(axis=0) == pytest.approx(1)


@pytest.mark.slow
def test_intervals_of_a_change_that_is_none_cover_it() -> None:
    spoils = {("reader", 1): 0.3, ("reader", 2): 0.3}
    rows = [compare_turns(run(spoils, seed=seed), READS).set_index("strategy").loc["reader"] for seed in range(120)]
    covered = np.mean([row["difference_low"] <= 0 <= row["difference_high"] for row in rows])
    assert 0.93 <= covered <= 1.0, covered


def test_the_report_names_who_falls_and_who_is_blind() -> None:
    samples = run({("reader", 2): 0.5, ("blind", 1): 0.2, ("blind", 2): 0.2})
    comparison = add_turns(compare(samples, resamples=199), samples, READS)
    (said,) = describe_turns(comparison)
    assert said.startswith("On toy, accuracy kept falls after the first turn: reader at 1/9 (")
    assert "blind" not in said
    table = turns_table(comparison, "toy")
    assert table is not None
    lines = text_table(table).splitlines()
    assert any("blind" in line and "blind to the question" in line for line in lines)
    assert any("reader" in line and "by the question" in line for line in lines)
    assert describe_turns(compare(samples, resamples=199)) == []
    assert turns_table(compare(samples, resamples=199), "toy") is None


def test_where_accuracy_kept_is_not_defined_the_table_shows_scores() -> None:
    samples = run({("blind", 1): 0.5})
    samples.loc[(samples["strategy"] == "vanilla") | (samples["turn"] > 1), "score"] = 0.0
    table = turns_table(add_turns(compare(samples, resamples=199), samples, READS), "toy")
    assert table is not None
    assert table.title == "Score by turn"
    both = samples[samples["cluster"].map(lambda name: int(name[1:]) % 3 > 0) & (samples["turn"] == 1)]
    means = 100 * both.groupby(["strategy", "task"])["score"].mean().groupby("strategy").mean()
    shown = {row.entries[0].text: [entry.text for entry in row.entries[3:]] for row in table.rows}
    assert shown == {
        "vanilla": ["0.0", "0.0", "0.0"],
        "reader": [f"{means['reader']:.1f}", "0.0", f"−{means['reader']:.1f}"],
        "blind": [f"{means['blind']:.1f}", "0.0", f"−{means['blind']:.1f}"],
    }
    assert "—" not in text_table(table)

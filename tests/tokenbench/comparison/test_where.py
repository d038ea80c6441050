"""Where strategies lose: by hand, by a second derivation in pandas, and never by the answers that a part is about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.tokenbench.comparison.test_comparison import row, run
from tokenbench.comparison import compare
from tokenbench.comparison.where import ALL, CHANGE, LOST, MENDED, SAME, locate_losses
from tokenbench.comparison.where_table import where_table

BY_HAND = """
question image vanilla mine down same height recall
a        p     1       1    1    1    0.1    1.0
b        p     1       0    1    0    0.1    0.5
c        q     1       0    0    0    0.5    0.0
d        q     1       1    0    1    0.5    1.0
e        r     0       1    0    0    0.9    1.0
f        r     0       0    0    1    0.9    1.0
g        s     1       0    0    0    nan    nan
h        s     0       0    1    0    nan    nan
"""
"""Eight questions on four images: three answers turn wrong (b, c, g), one turns right (e); f and h stay wrong, h with another answer."""


def hand_made() -> pd.DataFrame:
    lines = [line.split() for line in BY_HAND.strip().splitlines()]
    table = pd.DataFrame(lines[1:], columns=lines[0])
    rows = []
    for at in table.to_dict("records"):
        for strategy, budget, score in (
            ("vanilla", "all", "vanilla"),
            ("mine", "1/3", "mine"),
            ("downsample", "1/3", "down"),
        ):
            rows.append(
                {
                    "model": "toy", "strategy": strategy, "budget": budget, "seed": 0, "task": "t", "sample": at["question"],
                    "cluster": at["image"], "score": float(at[score]), "evidence_height": float(at["height"]),
                    "evidence_recall": float(at["recall"]), "same": float(at["same"]) if strategy == "mine" else float("nan"),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def values(table: pd.DataFrame, strategy: str = "mine", measure: str = CHANGE) -> dict[str, tuple[float, int]]:
    found = table[(table["strategy"] == strategy) & (table["measure"] == measure)]
    return {
        part: (value, count) for part, value, count in zip(found["part"], found["value"], found["samples"], strict=True)
    }


def test_a_small_example_counted_by_hand() -> None:
    table = locate_losses(hand_made(), {}, 0.05)
    assert values(table, measure=SAME) == {ALL: (3 / 8, 8)}
    assert values(table, measure=LOST) == {ALL: (3 / 8, 8)}
    assert values(table, measure=MENDED) == {ALL: (1 / 8, 8)}
    assert values(table) == {
        ALL: (-2 / 8, 8),
        "easy": (-1 / 3, 3),  # a, b, h: the smaller picture is answered right
        "hard": (-1 / 5, 5),  # c, d, e, f, g
        "upper": (-1 / 2, 2),
        "middle": (-1 / 2, 2),
        "lower": (1 / 2, 2),
        "evidence kept": (0.25, 4),  # a, d, e, f
        "evidence lost": (-1.0, 2),  # b, c
    }
    assert values(table, "downsample").keys() & {"easy", "hard"} == set(), "it would be judged by its own answers"
    assert set(table[table["part"] == "upper"]["clusters"]) == {1}
    assert table[table["part"] == "upper"]["low"].isna().all(), "one image has no interval"


def test_no_part_depends_on_what_the_strategy_answers() -> None:
    samples = hand_made()
    turned = samples.assign(score=samples["score"].where(samples["strategy"] != "mine", 1 - samples["score"]))
    one, other = (values(locate_losses(rows, {}, 0.05)) for rows in (samples, turned))
    assert {part: count for part, (_, count) in one.items()} == {part: count for part, (_, count) in other.items()}


def test_answers_that_one_side_lacks_are_left_out() -> None:
    samples = hand_made()
    lost = ((samples["strategy"] == "mine") & (samples["sample"] == "b")) | (
        (samples["strategy"] == "vanilla") & (samples["sample"] == "e")
    )
    table = locate_losses(samples[~lost], {}, 0.05)
    assert values(table)[ALL] == (-2 / 6, 6)
    assert values(table, measure=LOST)[ALL] == (2 / 6, 6)
    assert values(table)["evidence lost"] == (-1.0, 1)


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    """Five seeds of a strategy, two budgets, a floor at one of them, soft scores, and what is known of the evidence."""
    cells = {("mine", "1/3", seed): 0.3 for seed in range(5)} | {("mine", "1/9", 0): 0.6, ("downsample", "1/3", 0): 0.5}
    rng, made = np.random.default_rng(1), run(cells)
    soft = made["score"] * rng.choice([1.0, 0.6, 0.3], len(made))
    heights = pd.Series(rng.random(made["sample"].nunique()), made["sample"].unique())
    return made.assign(
        score=made["score"].where(made["task"] == "ocr", soft),
        evidence_height=made["sample"].map(heights).where(made["task"] == "ocr"),
        evidence_recall=rng.choice([0.0, 0.5, 1.0], len(made)),
        same=(rng.random(len(made)) < 0.7).astype(float),
    )


def test_a_second_derivation_in_pandas(samples: pd.DataFrame) -> None:
    table = locate_losses(samples, {}, 0.05)
    key = ["task", "sample"]
    vanilla = samples[samples["strategy"] == "vanilla"].set_index(key)["score"].rename("vanilla")
    down = samples[samples["strategy"] == "downsample"].set_index(key)["score"].rename("down")
    for budget in ("1/3", "1/9"):
        mine = samples[(samples["strategy"] == "mine") & (samples["budget"] == budget)]
        mine = mine.join(vanilla, on=key).join(down, on=key)
        mine = mine.assign(
            change=mine["score"] - mine["vanilla"], kept=mine.groupby(key)["evidence_recall"].transform("mean")
        )
        parts = {
            ALL: mine,
            "upper": mine[mine["evidence_height"] < 1 / 3],
            "middle": mine[mine["evidence_height"].between(1 / 3, 2 / 3)],
            "lower": mine[mine["evidence_height"] > 2 / 3],
            "evidence kept": mine[mine["kept"] == 1],
            "evidence lost": mine[mine["kept"] < 1],
        }
        parts |= {"easy": mine[mine["down"] >= 0.5], "hard": mine[mine["down"] < 0.5]} if budget == "1/3" else {}
        parts = {part: rows for part, rows in parts.items() if len(rows)}
        found = table[(table["budget"] == budget) & (table["strategy"] == "mine")]
        assert set(found[found["measure"] == CHANGE]["part"]) == set(parts)
        for part, rows in parts.items():
            own = row(found, part=part, measure=CHANGE)
            assert own["value"] == pytest.approx(rows["change"].mean())
            assert (own["samples"], own["clusters"]) == (rows.groupby(key).ngroups, rows["cluster"].nunique())
        right = mine["score"] >= 0.5, mine["vanilla"] >= 0.5
        assert row(found, measure=SAME)["value"] == pytest.approx(mine["same"].mean())
        assert row(found, measure=LOST)["value"] == pytest.approx((~right[0] & right[1]).mean())
        assert row(found, measure=MENDED)["value"] == pytest.approx((right[0] & ~right[1]).mean())
    assert (table["low"].fillna(-1) <= table["value"]).all()
    assert (table["value"] <= table["high"].fillna(1)).all()


def test_a_run_that_knows_less_says_less(samples: pd.DataFrame) -> None:
    less = samples.drop(columns=["same", "evidence_height"]).assign(evidence_recall=np.nan)
    comparison = compare(less[less["strategy"] != "downsample"], resamples=99)
    assert set(comparison.where["part"]) == {ALL}
    table = where_table(comparison, "toy")
    assert [column.header for column in table.columns] == ["strategy", "budget", "right → wrong %", "wrong → right %"]
    assert "Easy" not in table.note


def test_the_table_says_what_its_rows_say(samples: pd.DataFrame) -> None:
    comparison = compare(samples, resamples=99)
    table = where_table(comparison, "toy")
    headers = [column.header for column in table.columns]
    shown = {(one.entries[0].text, one.entries[1].text): one.entries for one in table.rows}
    hard = row(comparison.where, strategy="mine", budget="1/3", part="hard")
    entry = shown["mine", "1/3"][headers.index("hard")]
    assert entry.value == hard["value"]
    assert entry.limits == (hard["low"], hard["high"])
    assert entry.text.startswith(f"−{-100 * hard['value']:.1f} [−{-100 * hard['low']:.1f}, ")
    assert (
        shown["downsample", "1/3"][headers.index("hard")].text
        == shown["mine", "1/9"][headers.index("hard")].text
        == "–"
    )
    assert f"Hard questions: {hard['samples']} of 240 at 1/3." in table.note
    assert [budget for _, budget in shown] == ["1/3", "1/3", "1/9"], "budget by budget"


def test_two_runs_and_several_models(samples: pd.DataFrame) -> None:
    joined = samples.assign(
        strategy=samples["strategy"].where(samples["strategy"] == "vanilla", samples["strategy"] + "#A")
    )
    pd.testing.assert_series_equal(locate_losses(joined, {}, 0.05)["value"], locate_losses(samples, {}, 0.05)["value"])
    both = pd.concat([samples, samples.assign(model="other", score=1 - samples["score"])])
    table = locate_losses(both, {}, 0.05)
    alone = locate_losses(samples, {}, 0.05)
    pd.testing.assert_frame_equal(table[table["model"] == "toy"].reset_index(drop=True), alone)

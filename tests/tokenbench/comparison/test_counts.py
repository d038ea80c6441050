"""What is counted for all cells and pairs at once, against counting one by one."""

from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.tokenbench.comparison.test_comparison import run
from tokenbench.comparison import MEAN, compare, measures
from tokenbench.comparison.task_samples import distinct


@given(arrays.arrays(np.int32, st.integers(0, 40), elements=st.integers(0, 12)))
@settings(max_examples=60, deadline=None)
def test_distinct_values_are_numpys(numbers):
    expected = np.unique(numbers, return_index=True, return_inverse=True)
    assert all(np.array_equal(own, other) for own, other in zip(distinct(numbers), expected, strict=True))


def test_every_pair_says_on_how_many_samples_and_images_it_differs(monkeypatch):
    monkeypatch.setattr(measures, "_HELD", 300)  # a few pairs at a time, so that there are several batches
    cells = {(f"s{at}", "1/3", seed): 0.1 * (at + 1) for at in range(4) for seed in range(1 + at % 2)}
    samples = run(cells, images=50, per=3)
    pairs = compare(samples, resamples=99).pairs
    means = samples.groupby(["strategy", "task", "sample", "cluster"], as_index=False)["score"].mean()
    for task, own in [(MEAN, means), *means.groupby("task")]:
        scores = own.pivot(index=["task", "sample", "cluster"], columns="strategy", values="score")
        for a, b in combinations(["vanilla", "s0", "s1", "s2", "s3"], 2):
            [row] = found(pairs, task, a, b)
            difference = (scores[row["a"]] - scores[row["b"]]).round(9)
            images = difference[difference != 0].index.get_level_values("cluster").nunique()
            assert (row["a_better"], row["b_better"]) == ((difference > 0).sum(), (difference < 0).sum())
            assert row["discordant"] == images > 0


def found(pairs: pd.DataFrame, task: str, a: str, b: str) -> list[dict[str, object]]:
    return pairs[(pairs["task"] == task) & pairs["a"].isin([a, b]) & pairs["b"].isin([a, b])].to_dict("records")

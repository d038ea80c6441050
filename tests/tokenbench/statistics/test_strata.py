"""Weights that make a mean of samples a mean over strata."""

from __future__ import annotations

import numpy as np
import pytest

from tokenbench.statistics import stratum_weights


def test_strata_have_equal_weight() -> None:
    names = ["a", "a", "a", "b"]
    scores = np.array([1.0, 0.0, 0.5, 1.0])
    assert np.mean(stratum_weights(names) * scores) == pytest.approx((0.5 + 1.0) / 2)


def test_strata_within_one_share_its_weight() -> None:
    """Directions are three kinds of questions and count as one, as in VSI-Bench; `count` is itself beside kinds within it."""
    names = [
        "way > easy",
        "way > hard",
        "way > hard",
        "size",
        "size",
        "size",
        "count > a",
        "count > b > c",
        "count > b > d",
    ]
    scores = np.random.default_rng(0).uniform(size=len(names))
    way = (scores[0] + scores[1:3].mean()) / 2
    count = (scores[6] + (scores[7] + scores[8]) / 2) / 2
    assert np.mean(stratum_weights(names) * scores) == pytest.approx((way + scores[3:6].mean() + count) / 3)


def test_without_strata_weights_are_one() -> None:
    assert stratum_weights([""] * 5).tolist() == [1.0] * 5

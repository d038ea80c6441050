"""Numbers from the literature, from R's documented outputs, and from complete enumeration."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.tokenbench.statistics.data import against_first, as_task
from tokenbench.statistics import (
    Scale,
    TaskSums,
    cluster_sums,
    contrasts,
    design_effect,
    family,
    influence,
    sign_flip,
)
from tokenbench.statistics.quantiles import false_discovery
from tokenbench.statistics.ranks import rank_test

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors.json").read_text())


def test_sign_flip_of_single_pairs_is_mcnemar():
    vector = VECTORS["mcnemar_cavo"]
    b, c, n = vector["b"], vector["c"], vector["n"]
    found = sign_flip(np.repeat([1.0, -1.0, 0.0], [b, c, n - b - c]))
    assert found.exact
    assert found.p == pytest.approx(vector["exact"], abs=vector["tol"])


def test_a_large_mcnemar_table():
    vector = VECTORS["mcnemar_agresti"]
    b, c = vector["b"], vector["c"]
    found = sign_flip(np.repeat([1.0, -1.0], [b, c]))
    assert found.p == pytest.approx(vector["exact"], rel=1e-9)
    assert found.statistic == pytest.approx(abs(vector["z0"]), abs=vector["tol_z"])


def test_darwins_maize():
    vector = VECTORS["signflip_darwin"]
    assert sign_flip(np.array(vector["d"], dtype=float)).p == pytest.approx(vector["p"], abs=1e-12)


def test_mean_of_clusters():
    vector = VECTORS["cluster_mean"]
    scores = np.concatenate(vector["clusters"]).astype(float)
    codes = np.repeat(np.arange(4), [len(cluster) for cluster in vector["clusters"]])
    task = as_task(scores[:, None], codes)
    psi = influence(task.sums, task.sizes)
    assert task.means[0] == pytest.approx(vector["mean"])
    assert 4 / 3 * (psi**2).sum() == pytest.approx(float(Fraction(vector["var_frac"])), rel=1e-12)
    assert design_effect(scores, codes) == pytest.approx(vector["deff"])


def test_standard_error_agrees_with_the_enumerated_bootstrap_within_its_known_bias():
    """All 256 resamples of four clusters: sqrt((G - 1) / G) of CR1, but for the ratio's curvature."""
    vector, cells = VECTORS["cluster_bootstrap_enum"], VECTORS["cluster_mean"]
    assert cells["se"] * np.sqrt(3 / 4) == pytest.approx(vector["sd"], rel=0.03)


def clustered_pair():
    """Samples with the cluster sums of the vector and its counts of discordant samples."""
    vector = VECTORS["pair_clustered_own"]
    d = [
        np.concatenate([np.full(abs(s), np.sign(s)), np.zeros(n - abs(s))])
        for s, n in zip(vector["D"], vector["nk"], strict=True)
    ]
    for cluster in (d[3], d[11]):  # one more of each sign inside a cluster leaves its sum alone
        cluster[-2:] = 1, -1
    codes = np.repeat(np.arange(12), vector["nk"])
    difference = np.concatenate(d).astype(float)
    return vector, (difference > 0).astype(float), (difference < 0).astype(float), codes


def cr1(found):
    """Standard errors by images with the correction G / (G - 1), of one task."""
    images = len(found.influence)
    return np.sqrt(images / (images - 1) * (found.influence**2).sum(axis=0))


def test_a_clustered_pair():
    vector, a, b, codes = clustered_pair()
    found = against_first([as_task(np.stack([b, a], axis=1), codes)])
    assert found.value[0] == pytest.approx(vector["est"])
    assert cr1(found)[0] == pytest.approx(vector["se_cr1"])
    flips = sign_flip(cluster_sums(a - b, codes, 12))
    assert flips.p == pytest.approx(vector["signflip_p"], abs=1e-12)


def test_the_family_of_one_is_the_exact_sign_flip_and_obuchowskis_statistic():
    vector = VECTORS["pair_clustered_own"]
    sums = np.array(vector["D"], dtype=float)[:, None]
    task = TaskSums(np.arange(12), np.array(vector["nk"], dtype=float), np.hstack([0 * sums, sums]))
    found = family(against_first([task]))
    assert found.exact
    assert found.p[0] == pytest.approx(vector["signflip_p"])
    assert found.statistic[0] ** 2 * 11 / 12 == pytest.approx(vector["obuchowski"])


def test_retention_of_two_tasks():
    vector = VECTORS["retention_toy"]
    tasks, start = [], 0
    for task in (vector["t1"], vector["t2"]):
        sizes = np.array(task["n"], dtype=float)
        sums = np.array([task[name] for name in "VAB"], dtype=float).T
        tasks.append(TaskSums(start + np.arange(len(sizes)), sizes, sums))
        start += len(sizes)
    found = contrasts(tasks, np.arange(3), [(1, 0), (2, 0), (1, 2)], Scale.RETENTION, start)
    expected = [float(Fraction(vector["R_A_frac"])) - 100, float(Fraction(vector["R_B_frac"])) - 100, vector["diff"]]
    assert found.value == pytest.approx(expected)
    # The tasks have images of their own, so that each has its own correction.
    parts = [found.influence[task.index] for task in tasks]
    variance = sum(len(part) / (len(part) - 1) * (part**2).sum(axis=0) for part in parts)
    assert np.sqrt(variance)[[0, 2]] == pytest.approx([vector["se_A"], vector["se_diff"]])


def test_max_t_over_all_1024_signs():
    vector = VECTORS["maxt_enum"]
    task = TaskSums(np.arange(10), np.full(10, 4.0), np.array(vector["S"], dtype=float))
    found = family(contrasts([task], np.arange(3), [(0, 1), (0, 2), (1, 2)], Scale.SCORE, 10))
    assert found.exact
    assert np.abs(found.statistic) == pytest.approx(vector["T0"])
    assert found.p_unadjusted == pytest.approx(vector["raw"], abs=1e-12)
    assert found.p == pytest.approx(vector["single_step"], abs=1e-12)


@pytest.mark.parametrize(("raw", "adjusted"), [("p", "bh"), ("p2", "bh2")])
def test_false_discovery_rate(raw, adjusted):
    vector = VECTORS["multiplicity"]
    assert false_discovery(vector[raw]) == pytest.approx(vector[adjusted], abs=1e-12)
    shuffled = np.random.default_rng(0).permutation(len(vector[raw]))
    assert false_discovery(np.array(vector[raw])[shuffled]) == pytest.approx(np.array(vector[adjusted])[shuffled])


def test_ranks_of_demsar():
    vector = VECTORS["demsar_table6"]
    found = rank_test(np.array(vector["auc"]))
    assert found.mean == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=5e-4)
    assert found.chi2 == pytest.approx(9.28, abs=0.005)
    assert found.f == pytest.approx(3.69, abs=0.005)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)

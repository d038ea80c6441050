"""The same quantities by other people's code, and by resampling."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import against_first, as_task
from tokenbench.statistics import Scale, TaskSums, cluster_sums, contrasts, sign_flip
from tokenbench.statistics.quantiles import false_discovery, student_critical, student_tail
from tokenbench.statistics.ranks import rank_test


def test_singletons_are_mcnemar_for_every_small_table():
    tables = [(b, c) for b in range(12) for c in range(12) if b + c]
    for b, c in tables:
        found = sign_flip(np.repeat([1.0, -1.0], [b, c]))
        expected = stats.binomtest(b, b + c).pvalue
        assert found.p == pytest.approx(expected, abs=1e-12)


def test_nothing_discordant_is_no_evidence():
    found = sign_flip(np.zeros(5))
    assert (found.statistic, found.p, found.exact) == (0.0, 1.0, True)


def test_scores_off_every_lattice_agree_with_scipys_permutation_test():
    d = np.random.default_rng(3).normal(0.3, 1, 12) * np.pi
    exact = stats.permutation_test((d,), lambda v, axis: v.sum(axis=axis), permutation_type="samples", vectorized=True)
    found = sign_flip(d, resamples=20_000)
    assert not found.exact
    assert found.p == pytest.approx(exact.pvalue, abs=0.012)


def test_vqa_accuracies_are_on_a_lattice_and_exact():
    d = np.round(np.random.default_rng(4).choice([0, 0.3, 0.6, 0.9, 1.0], 14), 1) - 0.3
    every = (np.arange(2**14)[:, None] >> np.arange(14) & 1) * 2 - 1
    sums = np.abs(every @ d)
    found = sign_flip(d)
    assert found.exact
    assert found.p == pytest.approx((sums >= abs(d.sum()) - 1e-9).mean(), abs=1e-12)


def test_quantiles_are_scipys():
    df = np.array([1.0, 2.5, 30.0, 1e4, np.inf])
    for tail in (0.025, 1e-4):
        assert student_critical(tail, df) == pytest.approx(stats.t.isf(tail, df), rel=1e-8)
    assert student_tail(3.0, 4.5) == pytest.approx(stats.t.sf(3.0, 4.5), rel=1e-10)
    assert np.isnan(student_critical(0.025, [0.0, -1.0, np.nan])).all()
    p = np.random.default_rng(0).uniform(size=40) ** 2
    assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p))


def test_clustered_standard_errors_are_those_of_statsmodels():
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 25, 120)
    a, b = (rng.uniform(size=120) < 0.6).astype(float), (rng.uniform(size=120) < 0.5).astype(float)

    def robust(values):
        return api.OLS(values, np.ones(120)).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True).bse[0]

    # Statsmodels corrects by (N - 1) / (N - K) as well, which is one here.
    found = against_first([as_task(np.stack([b, a], axis=1), codes)])
    images = len(np.unique(codes))
    assert np.sqrt(images / (images - 1) * (found.influence**2).sum()) == pytest.approx(robust(a - b), rel=1e-10)


def tasks_with_shared_images(seed=0, images=60):
    """Two tasks, the second on half of the first one's images, three columns; scores go with the image."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=images)
    tasks = []
    for index, per in ((np.arange(images), 2), (np.arange(images // 2), 3)):
        codes = np.repeat(index, per)
        latent = difficulty[codes][:, None] + rng.normal(size=(len(codes), 3)) + [1.2, 0.9, 0.6]
        _, local = np.unique(codes, return_inverse=True)
        tasks.append(TaskSums(index, np.full(len(index), float(per)), cluster_sums(latent > 0, local, len(index))))
    return tasks


def test_retention_error_agrees_with_the_paired_cluster_bootstrap():
    tasks = tasks_with_shared_images()
    rng = np.random.default_rng(1)
    # Images are drawn, and an image brings its questions in both tasks: stratified by the tasks it occurs in.
    half = 30
    weights = np.hstack([rng.multinomial(half, np.full(half, 1 / half), 4000) for _ in range(2)])
    means = [(weights[:, t.index] @ t.sums) / (weights[:, t.index] @ t.sizes)[:, None] for t in tasks]
    resampled = np.mean([100 * m / m[:, :1] for m in means], axis=0)
    found = contrasts(tasks, np.arange(3), [(1, 0), (2, 0), (1, 2)], Scale.RETENTION, 60)
    se = np.sqrt((found.influence**2).sum(axis=0))
    expected = [resampled[:, 1].std(), resampled[:, 2].std(), (resampled[:, 1] - resampled[:, 2]).std()]
    assert se == pytest.approx(expected, rel=0.08)
    # The ratio of the means, which stands for it where vanilla is near zero on a task, has an error of its own.
    ratio = 100 * sum(means) / sum(m[:, :1] for m in means)
    found = contrasts(tasks, np.arange(3), [(1, 0), (2, 0)], Scale.RETENTION_OF_MEAN, 60)
    assert np.sqrt((found.influence**2).sum(axis=0)) == pytest.approx(ratio.std(axis=0)[1:], rel=0.08)


def test_tasks_taken_as_independent_would_be_too_sure():
    tasks = tasks_with_shared_images()
    separate = [tasks[0], tasks[1]._replace(index=tasks[1].index + 60)]
    together, apart = (
        contrasts(t, np.array([0, 1, 2]), [(1, 0)], Scale.SCORE, 120).influence for t in (tasks, separate)
    )
    shared = (together**2).sum() - (apart**2).sum()
    products = 2 * (apart[:30, 0] * apart[60:90, 0]).sum()
    assert shared == pytest.approx(products)
    assert abs(shared) > 1e-6


def test_ranks_are_those_of_scipy_and_scikit_posthocs():
    scores = np.random.default_rng(6).normal(size=(12, 5)) + np.linspace(0, 3, 5)
    found = rank_test(scores)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)
    posthocs = pytest.importorskip("scikit_posthocs")
    p = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    apart = np.abs(found.mean[:, None] - found.mean) > found.critical_difference
    assert (apart == (p < 0.05)).all()
    assert apart.any()

"""From the samples of a run to verdicts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tokenbench.comparison import MEAN, Looks, compare

COLUMNS = "model strategy budget seed task sample cluster answer target score kept visual_tokens realised_tokens evidence_recall"
WORDS = {
    "better",
    "worse",
    "not distinguishable",
    "not decided",
    "non-inferior within 1",
    "equivalent within 1",
    "loses more than 1",
    "worse, but non-inferior within 1",
    "too few images",
}


def words(pairs):
    return {verdict.text for verdict in pairs["verdict"]}


def run(cells, tasks=("ocr", "count"), images=60, per=2, seed=0, share=0.8):
    """Samples of one model; ``cells`` maps (strategy, budget, seed) to the share of right answers that it spoils."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in tasks:
        n = images * per
        right = rng.uniform(size=n) < share
        for (strategy, budget, number), spoils in {("vanilla", "all", 0): 0.0, **cells}.items():
            scores = right & (rng.uniform(size=n) >= spoils)
            for at, score in enumerate(scores):
                sample, image = f"{task}-{at}", f"image-{at // per}"
                cost = (64, 64, 64.0, 1.0) if strategy == "vanilla" else (21, 64, 21.3, 0.5)
                rows.append(("toy", strategy, budget, number, task, sample, image, "x", "x", float(score), *cost))
    return pd.DataFrame(rows, columns=COLUMNS.split())


def row(table, **values):
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


@pytest.fixture(scope="module")
def cells():
    return {("good", "1/3", 0): 0.0, ("bad", "1/3", 0): 0.4, ("good", "1/9", 0): 0.05, ("bad", "1/9", 0): 0.6}


@pytest.fixture(scope="module")
def samples(cells):
    return run(cells)


@pytest.fixture(scope="module")
def comparison(samples):
    return compare(samples, resamples=499)


def test_summary_has_every_cell_on_every_task_and_the_mean(comparison):
    assert len(comparison.summary) == 5 * 3
    vanilla = row(comparison.summary, strategy="vanilla", task=MEAN)
    assert (vanilla["retention"], vanilla["retention_low"], vanilla["retention_high"]) == (1, 1, 1)
    assert (vanilla["n"], vanilla["clusters"]) == (240, 60)
    assert (comparison.samples, comparison.clusters, comparison.tasks) == (240, 60, ("count", "ocr"))


def test_scores_and_retention_are_fractions_inside_their_intervals(samples, comparison):
    expected = samples.groupby(["strategy", "budget", "task"])["score"].mean()
    for cell in comparison.summary[comparison.summary["task"] != MEAN].itertuples():
        assert cell.score == pytest.approx(expected[cell.strategy, cell.budget, cell.task])
        assert cell.score_low < cell.score < cell.score_high
        assert cell.retention == pytest.approx(cell.score / expected["vanilla", "all", cell.task])
        assert cell.retention_low <= cell.retention <= cell.retention_high


def test_mean_retention_is_the_mean_of_the_ratios(comparison):
    table = comparison.summary[(comparison.summary["strategy"] == "bad") & (comparison.summary["budget"] == "1/3")]
    by_task = table[table["task"] != MEAN]["retention"]
    assert row(table, task=MEAN)["retention"] == pytest.approx(by_task.mean())


def test_every_comparison_is_there_once(comparison):
    counts = comparison.pairs["family"].value_counts()
    assert (counts["F1"], counts["F2"], counts["F3"]) == (4, 2, 2 * (4 + 2))
    assert not comparison.pairs.duplicated(["model", "budget", "task", "a", "b"]).any()
    assert set(comparison.pairs.loc[comparison.pairs["family"] == "F1", "b"]) == {"vanilla"}


def test_verdicts_come_from_the_fixed_vocabulary(comparison):
    assert words(comparison.pairs) <= WORDS
    assert row(comparison.pairs, a="bad", b="vanilla", budget="1/3", task=MEAN)["verdict"].text == "loses more than 1"
    assert row(comparison.pairs, a="bad", b="good", budget="1/3", task=MEAN)["verdict"].text == "worse"


def test_the_retention_of_a_cell_has_the_interval_that_its_verdict_is_read_off(comparison):
    for pair in comparison.pairs[comparison.pairs["family"] == "F1"].itertuples():
        cell = row(comparison.summary, strategy=pair.a, budget=pair.budget, task=MEAN)
        assert (cell["retention_low"] - 1, cell["retention_high"] - 1) == pytest.approx((pair.low, pair.high))


def test_adjusted_p_is_never_below_the_raw_one(comparison):
    assert (comparison.pairs["p"] >= comparison.pairs["p_unadjusted"] - 1e-12).all()
    assert (comparison.pairs["p"] > comparison.pairs["p_unadjusted"]).any()


def test_single_tasks_compare_scores(comparison):
    table = comparison.summary
    a, b = (row(table, strategy=s, budget="1/3", task="ocr")["score"] for s in ("bad", "good"))
    found = row(comparison.pairs, a="bad", b="good", budget="1/3", task="ocr")
    assert found["difference"] == pytest.approx(a - b)
    assert found["low"] < found["difference"] < found["high"]


def test_the_order_of_the_rows_does_not_matter(samples, comparison):
    shuffled = compare(samples.sample(frac=1, random_state=1), resamples=499)
    pd.testing.assert_frame_equal(shuffled.summary, comparison.summary)
    pd.testing.assert_frame_equal(shuffled.pairs, comparison.pairs)


def test_identical_answers_are_equivalent_only_when_there_are_enough():
    many = compare(run({("same", "1/3", 0): 0.0}, images=500, per=1), resamples=499)
    few = compare(run({("same", "1/3", 0): 0.0}, images=8, per=1), resamples=499)
    for found, verdict in ((many, "equivalent within 1"), (few, "not decided")):
        mean = row(found.pairs, task=MEAN)
        assert (mean["p"], mean["p_unadjusted"], mean["difference"]) == (1, 1, 0)
        assert mean["low"] < 0 < mean["high"]
        assert mean["verdict"].text == verdict
        assert np.isfinite(found.pairs.loc[found.pairs["family"] == "F3", ["low", "high", "p"]]).all(axis=None)
    assert row(few.pairs, task=MEAN)["smallest_margin"] > 0.3
    assert any("fewer than 20 images of even size" in text for text in few.warnings)
    assert not many.warnings


def test_an_image_in_two_tasks_is_one_cluster(cells):
    shared = run(cells)
    apart = shared.assign(cluster=shared["task"] + shared["cluster"])
    assert compare(shared, resamples=99).clusters == 60
    assert compare(apart, resamples=99).clusters == 120


def test_seeds_are_averaged_and_not_counted_as_samples():
    stochastic = {("random", "1/3", seed): 0.2 for seed in range(3)}
    samples = run(stochastic)
    found = row(compare(samples, resamples=99).summary, strategy="random", task="ocr")
    mean = samples[(samples["strategy"] == "random") & (samples["task"] == "ocr")]["score"].mean()
    assert (found["n"], found["seeds"], found["score"]) == (120, 3, pytest.approx(mean))


def test_a_seed_that_shifts_everything_is_reported_and_widens_the_interval():
    uneven = run({("random", "1/3", 0): 0.0, ("random", "1/3", 1): 0.5})
    even = run({("random", "1/3", 0): 0.25, ("random", "1/3", 1): 0.25})
    width = {}
    for name, samples in (("uneven", uneven), ("even", even)):
        found = compare(samples, resamples=99)
        width[name] = np.ptp(row(found.summary, strategy="random", task=MEAN)[["retention_low", "retention_high"]])
        assert any("random ran with 2 seeds" in text for text in found.warnings)
    assert width["uneven"] > 2 * width["even"]


def test_a_seed_that_is_declared_to_draw_for_every_sample_is_held_to_it():
    uneven = run({("random", "1/3", seed): 0.25 * seed for seed in range(3)} | {("other", "1/3", 0): 0.2}, images=200)
    found = compare(uneven, resamples=99, scopes={"random": "sample"})
    assert "random declares that its seed draws anew for every sample" in found.warnings[0]
    own = (found.pairs["a"] == "random") | (found.pairs["b"] == "random")
    assert words(found.pairs[own]) == {"no verdict: its seeds contradict their declared scope"}
    assert found.pairs.loc[own, ["low", "high", "p"]].isna().all(axis=None)
    assert "loses more than 1" in words(found.pairs[~own])  # nobody else pays for it
    assert np.isnan(row(found.summary, strategy="random", task=MEAN)["retention_low"])


def test_noise_of_single_samples_costs_nothing_where_it_is_declared():
    even = run({("random", "1/3", seed): 0.25 for seed in range(3)}, images=200)
    width = {}
    for scope in ("sample", "run"):
        found = compare(even, resamples=199, scopes={"random": scope})
        width[scope] = np.ptp(row(found.summary, strategy="random", task=MEAN)[["retention_low", "retention_high"]])
    assert width["run"] > 1.2 * width["sample"]


def test_missing_answers_are_named_and_an_interval_holds_both_ends():
    samples = run({("fails", "1/3", 0): 0.0, ("good", "1/3", 0): 0.02}, images=200)
    lost = (samples["strategy"] == "vanilla") & (samples["task"] == "ocr") & (samples["score"] == 1)
    gone = samples.loc[lost, "sample"].head(12)
    lacking = samples[~((samples["strategy"] == "fails") & samples["sample"].isin(gone))]
    found, whole = compare(lacking, resamples=199), compare(samples, resamples=199)
    assert set(found.summary.loc[found.summary["task"] == "ocr", "n"]) == {400 - 12}
    assert any("answers are missing in fails at 1/3 (12)" in text for text in found.warnings)
    pair = row(found.pairs, a="fails", b="vanilla", task=MEAN)
    wrong = samples.assign(
        score=samples["score"].where(~((samples["strategy"] == "fails") & samples["sample"].isin(gone)), 0.0)
    )
    worst = row(compare(wrong, resamples=199).pairs, a="fails", b="vanilla", task=MEAN)
    assert (pair["missing"], pair["difference"]) == (12, 0)
    assert pair["if_wrong"] == pytest.approx(worst["difference"])
    assert pair["if_vanilla"] == pytest.approx(row(whole.pairs, a="fails", b="vanilla", task=MEAN)["difference"])
    assert pair["low"] == pytest.approx(worst["low"])
    assert pair["high"] >= 0
    assert pair["verdict"].text == "not decided"
    assert worst["verdict"].text != "not decided"  # the two ends would have said different things
    other = row(found.pairs, a="good", b="vanilla", task=MEAN)
    assert np.isnan(other["missing"])


def test_models_are_compared_apart(samples):
    both = pd.concat([samples, samples.assign(model="other")])
    found = compare(both, resamples=99)
    assert found.models == ("other", "toy")
    first, second = (found.pairs[found.pairs["model"] == name].drop(columns="model") for name in found.models)
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True))


def test_a_vanilla_near_zero_turns_the_table_to_the_ratio_of_means():
    samples = run({("good", "1/3", 0): 0.0})
    samples.loc[samples["task"] == "ocr", "score"] = 0.0
    found = compare(samples, resamples=99)
    assert np.isnan(row(found.summary, strategy="good", task="ocr")["retention"])
    count, mean = (row(found.summary, strategy="good", task=task)["retention"] for task in ("count", MEAN))
    assert mean == count
    assert found.ratio_of_means == ("toy",)
    assert any(
        "on ocr" in text and "accuracy kept over all tasks is that of the mean score" in text for text in found.warnings
    )


def test_what_is_compared_does_not_depend_on_whether_vanilla_was_seen_to_fail():
    """Vanilla is right on 6 to 12 of 100 hard samples; a strategy that loses them all must not get away with it."""
    for right in (6, 8, 10, 12):
        samples = run({("weak", "1/3", 0): 0.0}, tasks=("easy", "hard"), images=100, per=1)
        hard = samples["task"] == "hard"
        position = samples["sample"].str.rpartition("-")[2].astype(int)
        samples.loc[hard, "score"] = ((position < right) & (samples["strategy"] == "vanilla"))[hard].astype(float)
        mean = row(compare(samples, resamples=99).summary, strategy="weak", task=MEAN)
        easy = row(compare(samples, resamples=99).summary, strategy="vanilla", task="easy")["score"]
        ratio_of_means = easy / (easy + right / 100)
        assert min(abs(mean["retention"] - 0.5), abs(mean["retention"] - ratio_of_means)) < 1e-9
        assert mean["retention"] < 1


def test_vanilla_that_fails_everywhere_leaves_no_retention_and_no_verdict():
    samples = run({("good", "1/3", 0): 0.0}).assign(score=0.0)
    found = compare(samples, resamples=99)
    assert np.isnan(found.summary["retention"]).all()
    assert words(found.pairs[found.pairs["family"] == "F1"]) == {"accuracy kept is not defined"}
    assert any("accuracy kept is not defined" in text for text in found.warnings)


@pytest.mark.parametrize(("images", "per", "share"), [(1, 1, 1.0), (1, 5, 0.6), (2, 1, 1.0), (3, 1, 0.0)])
def test_tiny_runs_do_not_crash_and_claim_nothing(images, per, share):
    cells = {("a", "1/3", 0): 0.0, ("b", "1/3", 0): 0.5, ("r", "1/3", 0): 0.5, ("r", "1/3", 1): 0.5}
    found = compare(run(cells, tasks=("only",), images=images, per=per, share=share), resamples=99)
    assert found.warnings
    assert words(found.pairs) <= {
        "not distinguishable",
        "not decided",
        "too few images",
        "accuracy kept is not defined",
    }


def test_vanilla_alone_is_a_summary_without_pairs():
    found = compare(run({}), resamples=99)
    assert len(found.summary) == 3
    assert found.pairs.empty


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s[s["strategy"] != "vanilla"], "no vanilla cell"),
        (lambda s: pd.concat([s, s.iloc[:1]]), "twice"),
        (lambda s: s.assign(score=2.0), r"\[0, 1\]"),
        (lambda s: s.assign(cluster=s["cluster"].where(s["strategy"] == "bad", "x")), "two clusters"),
        (lambda s: s[(s["strategy"] == "bad") == (s["task"] == "ocr")], "scored by every cell"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(samples, spoil, message):
    with pytest.raises(ValueError, match=message):
        compare(spoil(samples))


def test_budgets_run_from_the_largest_to_the_smallest(comparison):
    budgets = comparison.summary[comparison.summary["task"] == MEAN][["strategy", "budget"]].to_numpy().tolist()
    assert budgets == [["vanilla", "all"], ["bad", "1/3"], ["bad", "1/9"], ["good", "1/3"], ["good", "1/9"]]


def test_a_task_with_strata_gives_each_the_same_say():
    samples = run({("bad", "1/3", 0): 0.4}, tasks=("mme",))
    late = samples["sample"].str.rpartition("-")[2].astype(int) >= 20
    samples = samples.assign(stratum=late.map({True: "large", False: "small"}))
    found = compare(samples, resamples=99)
    means = samples.groupby(["strategy", "stratum"])["score"].mean().groupby("strategy").mean()
    for strategy in ("vanilla", "bad"):
        assert row(found.summary, strategy=strategy, task="mme")["score"] == pytest.approx(means[strategy])
    assert row(found.summary, strategy="bad", task="mme")["retention"] == pytest.approx(means["bad"] / means["vanilla"])
    single = found.pairs[found.pairs["family"] == "F3"].iloc[0]
    assert single["difference"] == pytest.approx(means["bad"] - means["vanilla"])


def test_one_stratum_is_none(samples, comparison):
    found = compare(samples.assign(stratum="all"), resamples=499)
    pd.testing.assert_frame_equal(found.summary, comparison.summary)
    pd.testing.assert_frame_equal(found.pairs, comparison.pairs)


def test_limits_for_other_tasks_come_from_the_spread_between_tasks(comparison):
    pair = row(comparison.pairs, a="bad", b="good", budget="1/3", task=MEAN)
    cells = comparison.summary[(comparison.summary["budget"] == "1/3") & (comparison.summary["task"] != MEAN)]
    table = cells.pivot(index="task", columns="strategy", values="retention")
    expected = stats.ttest_1samp(table["bad"] - table["good"], 0).confidence_interval()
    assert (pair["tasks_low"], pair["tasks_high"]) == pytest.approx(tuple(expected))
    assert np.isnan(comparison.pairs.loc[comparison.pairs["family"] == "F3", "tasks_low"]).all()


def test_very_unequal_images_count_as_fewer():
    samples = run({("good", "1/3", 0): 0.0}, tasks=("ocr",), images=60, per=1)
    one = samples["sample"].str.rpartition("-")[2].astype(int) < 20
    uneven = samples.assign(cluster=samples["cluster"].where(~one, "image-0"))
    assert not compare(samples, resamples=99).warnings
    assert any("of even size in ocr (8)" in text for text in compare(uneven, resamples=99).warnings)


@pytest.fixture(scope="module")
def two_models():
    cells = {("good", "1/3", 0): 0.02, ("bad", "1/3", 0): 0.3, ("good", "1/9", 0): 0.1}
    first, second = run(cells, seed=1), run({**cells, ("own", "1/3", 0): 0.1}, seed=2)
    return pd.concat([first.assign(model="small"), second.assign(model="large")])


def test_the_mean_over_models_is_one_contrast_with_families_of_its_own(two_models):
    found = compare(two_models, resamples=499)
    whole = found.together
    assert whole.models == ("all models together",)
    assert set(zip(whole.summary["strategy"], whole.summary["budget"], strict=True)) == {
        ("vanilla", "all"), ("good", "1/3"), ("bad", "1/3"), ("good", "1/9"),
    }  # fmt: skip
    assert whole.pairs["family"].value_counts().to_dict() == {"F1": 3, "F2": 1}
    assert set(whole.pairs["task"]) == set(whole.summary["task"]) == {MEAN}
    assert np.isnan(whole.pairs["tasks_low"]).all()  # a task on two models is not two tasks
    single = found.summary[(found.summary["task"] == MEAN) & (found.summary["budget"] == "1/3")]
    for strategy in ("good", "bad"):
        each = single.loc[single["strategy"] == strategy, "retention"]
        assert row(whole.summary, strategy=strategy, budget="1/3")["retention"] == pytest.approx(each.mean())
    assert (whole.clusters, whole.samples) == (60, 480)
    assert compare(run({("good", "1/3", 0): 0.0}), resamples=99).together is None


def test_models_that_answer_alike_are_no_more_evidence_than_one(two_models):
    one = two_models[two_models["model"] == "small"]
    alone = compare(one, resamples=499)
    doubled = compare(pd.concat([one, one.assign(model="copy")]), resamples=499).together
    headline = alone.pairs[alone.pairs["family"] != "F3"].reset_index(drop=True)
    for name in ("difference", "low", "high", "p", "p_unadjusted", "discordant"):
        assert doubled.pairs[name].to_numpy() == pytest.approx(headline[name].to_numpy(), abs=1e-6), name


def test_models_without_a_common_strategy_have_no_mean():
    first, second = run({("a", "1/3", 0): 0.1}), run({("b", "1/3", 0): 0.1})
    both = pd.concat([first.assign(model="small"), second.assign(model="large")])
    assert compare(both, resamples=99).together is None


def grown(samples, images):
    """The samples with the look that saw them first: that of the first image counts at which they are among the images."""
    place = samples["cluster"].str.rpartition("-")[2].astype(int)
    return samples.assign(look=1 + np.searchsorted(images, place, side="right"))


def looks_at(images, spending="pocock", frozen=None):
    fractions = tuple(count / images[-1] for count in images)
    seen = tuple({"ocr": count, "count": count} for count in images)
    return Looks(True, seen[-1], fractions, spending, seen, len(images), frozen or {})


def test_a_look_at_growing_data_keeps_what_earlier_looks_showed():
    samples = grown(run({("a", "1/3", 0): 0.05, ("b", "1/3", 0): 0.3}, images=120), [40, 80, 120])
    found = [
        compare(samples[samples["look"] <= n], resamples=999, looks=looks_at([40, 80, 120]).until(n)) for n in (1, 2, 3)
    ]
    for before, after in ((found[0], found[1]), (found[1], found[2])):
        for name, better in (("low", np.greater_equal), ("high", np.less_equal)):
            headline = [c.pairs.loc[c.pairs["family"] != "F3", name].to_numpy() for c in (after, before)]
            assert better(headline[0], headline[1] + (-0.004 if name == "low" else 0.004)).all()
    once = compare(samples.drop(columns="look"), resamples=999)
    for c in (found[2], once):
        assert row(c.summary, strategy="b", task=MEAN)["retention"] == pytest.approx(
            row(once.summary, strategy="b", task=MEAN)["retention"]
        )
    assert found[2].looks is not None
    assert set(found[2].pairs["look"]) == {3}


def test_a_strategy_that_stopped_keeps_its_samples_and_its_interval():
    samples = grown(run({("a", "1/3", 0): 0.0, ("b", "1/3", 0): 0.4}, images=120), [40, 120])
    stopped = samples[~((samples["strategy"] == "b") & (samples["look"] == 2))]
    first = compare(samples[samples["look"] == 1], resamples=999, looks=looks_at([40, 120]).until(1))
    found = compare(stopped, resamples=999, looks=looks_at([40, 120], frozen={("toy", "b", "1/3"): 1}))
    cells = found.summary[found.summary["task"] == "ocr"].set_index("strategy")["n"].to_dict()
    assert cells == {"vanilla": 240, "a": 240, "b": 80}
    for name in ("difference", "low", "high"):
        pairs = [row(c.pairs, a="b", b="vanilla", task=MEAN)[name] for c in (first, found)]
        assert pairs[1] == pytest.approx(pairs[0], abs=0.01), name
    assert row(found.pairs, a="b", b="vanilla", task=MEAN)["look"] == 1
    assert row(found.pairs, a="a", b="b", task=MEAN)["look"] == 1
    assert row(found.pairs, a="a", b="vanilla", task=MEAN)["look"] == 2
    assert not found.warnings  # answers that nobody asked for are not missing


def test_of_two_strategies_that_lack_the_same_answers_either_may_have_been_wrong():
    samples = run({("a", "1/3", 0): 0.02, ("b", "1/3", 0): 0.06}, images=300, per=1)
    gone = samples["strategy"].isin(["a", "b"]) & (samples["cluster"].str.rpartition("-")[2].astype(int) < 40)
    pair = row(compare(samples[~gone], resamples=199).pairs, a="a", b="b", task=MEAN)
    worst = samples.assign(score=samples["score"].where(~(gone & (samples["strategy"] == "a")), 0.0))
    vanilla = samples[samples["strategy"] == "vanilla"].set_index(["task", "sample"])["score"]
    of_b = gone & (samples["strategy"] == "b")
    keys = pd.MultiIndex.from_frame(worst.loc[of_b, ["task", "sample"]])
    worst.loc[of_b, "score"] = vanilla.reindex(keys).to_numpy()
    expected = row(compare(worst, resamples=199).pairs, a="a", b="b", task=MEAN)
    assert expected["difference"] < min(pair["if_wrong"], pair["if_vanilla"])
    assert pair["low"] <= expected["low"]
    assert pair["verdict"].text == "not distinguishable"


def test_answers_that_vanilla_lacks_are_said():
    samples = run({("a", "1/3", 0): 0.1})
    found = compare(samples[~((samples["strategy"] == "vanilla") & (samples["sample"] == "ocr-3"))], resamples=99)
    assert any("toy, ocr: vanilla has no answer to a sample that others answered" in text for text in found.warnings)
    assert row(found.summary, strategy="a", task="ocr")["n"] == 119


def test_a_strategy_that_stopped_before_a_task_joined_has_no_interval_over_all_of_them():
    samples = grown(run({("a", "1/3", 0): 0.0, ("z", "1/3", 0): 0.4}, images=60), [30, 60])
    samples.loc[samples["task"] == "ocr", "look"] = 2
    stopped = samples[~((samples["strategy"] == "z") & (samples["look"] == 2))]
    looks = Looks(
        False, None, (0.5, 1.0), "counted", ({"count": 30}, {"count": 60, "ocr": 60}), None, {("toy", "z", "1/3"): 1}
    )
    found = compare(stopped, resamples=199, looks=looks)
    assert row(found.pairs, a="z", b="vanilla", task=MEAN)["verdict"].text == "too few images"
    assert row(found.pairs, a="a", b="vanilla", task=MEAN)["low"] < 0

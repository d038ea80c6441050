"""What the page holds, read as text."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.reports.made_up import BUDGETS, HOSTILE, LONG, MadeUpRun, bench, made_up
from tokenbench.comparison import families
from tokenbench.errors import UsageError
from tokenbench_reports.html import HtmlReport, entries, render_page
from tokenbench_reports.html.budget_view import cliques
from tokenbench_reports.html.gallery import choose_samples, shorten, spans
from tokenbench_reports.html.kept import agreement, bias, keep_rates, thin

LOSES = {"good": 0.0, "bad": 0.5, "random": 0.7}


@pytest.fixture(scope="module")
def text():
    return render_page(*made_up(LOSES))


def data(text, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)[1])


def test_one_file_that_names_no_other(tmp_path):
    [path] = HtmlReport().write(*made_up({"one": 0.1}), tmp_path, io.StringIO())
    text = path.read_text()
    assert path.name == "report.html"
    assert not re.findall(r"""(?:src|href)=["']?(?!data:|#)[^"'> ]+""", text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_the_first_paragraph_says_what_may_be_concluded(text):
    lead = re.search(r'<p class="lead">(.*?)</p>', text, re.S)[1]
    assert "80 questions about 40 images" in lead
    assert "good is best: at budget 1/2" in lead
    assert text.index('class="lead"') < text.index("<table")


def test_every_section_is_there(text):
    for title in ("Accuracy and cost", "Retention over the budgets", "Between the strategies", "By task", "Evidence and skill",
                  "What was kept, and what was answered", "Where on the image", "Do they keep the same tokens?",
                  "How to reproduce", "How to read the numbers"):  # fmt: skip
        assert title in text
    assert "tokenbench run --suite image --strategies a" in text


def test_time_and_memory_are_there_where_they_were_measured(text):
    measured = render_page(*made_up({"good": 0.0}, about={"bench": [bench(strategies=("good", HOSTILE))]}))
    assert "0.512 [0.487, 0.538]" in measured
    assert "on a made-up processor" in measured
    assert "<img src=x" not in measured
    assert "Measured on this hardware" in measured
    assert "Measured on this hardware" not in text


def test_several_models_are_shown_together(text):
    several = render_page(*made_up({"good": 0.0, "bad": 0.5}, models=("small", "large")))
    assert "All models together" in several
    assert "they do not generalise to other models" in several
    assert "Mean over 2 models and 2 tasks, all models" in several
    assert "All models together" not in text


def test_pairs_that_differ_no_more_than_vanilla_from_itself_are_marked(text):
    comparison, run = made_up({"good": 0.0, "bad": 0.5})
    pairs = comparison.pairs.assign(at_noise_floor=comparison.pairs["a"] == "good")
    marked = render_page(replace(comparison, pairs=pairs), run)
    assert marked.count(", at the noise floor</span>") == len(BUDGETS)
    assert "noise floor" not in text


def test_points_of_the_plot_are_the_cells(text):
    points = data(text, "points0")
    assert len(points) == 1 + 3 * len(BUDGETS)
    assert {point["strategy"] for point in points} == {"vanilla", *LOSES}
    vanilla = points[0]
    assert vanilla["value"] == [100, 100, 100]
    assert vanilla["cost"] == {"realised_tokens": 100, "flops": 100, "cache_bytes": 100}


def test_the_gallery_shows_flips_first_with_what_was_kept(text):
    samples = data(text, "samples0")
    assert samples
    for sample in samples:
        assert sample["lattice"] == [1, 6, 6, 0]
        assert sample["frames"][0].startswith("data:image/webp;base64,")
        assert len(sample["cells"]) == 1 + 3 * len(BUDGETS)
    spoilt = [any(s["cells"][0]["right"] and not cell["right"] for cell in s["cells"]) for s in samples]
    assert spoilt == sorted(spoilt, reverse=True)
    assert spoilt[0]


def test_identical_twins_show_no_difference_and_the_page_says_so():
    text = render_page(*made_up({"twin-a": 0.0, "twin-b": 0.0}))
    assert "twin-a and twin-b cannot be told apart" in text
    assert not re.search(r'class="(good|bad)"[^>]*><span class="sign"', text)


def test_hostile_strings_are_text_and_long_ones_are_cut():
    text = render_page(
        *made_up({HOSTILE: 0.1, LONG: 0.2}, question=HOSTILE + LONG, answer=HOSTILE + LONG, models=(HOSTILE,))
    )
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert "49" not in re.search(r"<h1>(.*?)</h1>", text)[1]
    for name in ("points0", "samples0"):
        data(text, name)


def test_two_models_are_shown_side_by_side():
    text = render_page(*made_up({"good": 0.0, "bad": 0.5}, models=("one", "two")))
    assert "Models side by side" in text
    assert text.count('class="lead"') == 2
    assert 'data-switch="model"' in text


def test_a_critical_difference_picture_needs_eight_tasks():
    loses = {"good": 0.0, "bad": 0.5, "worse": 0.6}
    few = render_page(*made_up(loses, images=12, budgets=("1/2",)))
    many = render_page(*made_up(loses, images=12, budgets=("1/2",), tasks=[f"t{i}" for i in range(8)]))
    assert "No critical-difference picture" in few
    assert "Nemenyi's critical difference" in many.replace("&#39;", "'")


def test_groups_of_the_picture_hold_no_significant_pair():
    apart = {frozenset("ad"), frozenset("ae"), frozenset("be")}
    assert cliques(list("abcde"), apart) == [(0, 2), (1, 3), (2, 4)]
    assert cliques(list("ab"), {frozenset("ab")}) == []


def test_a_run_of_one_strategy_or_vanilla_alone_still_makes_a_page():
    assert "By task" in render_page(*made_up({"only": 0.2}, budgets=("1/2",)))
    assert "By task" in render_page(*made_up({}))


@pytest.mark.parametrize("change", ["no suite", "other targets", "no lattice"])
def test_what_cannot_be_shown_is_said(change):
    comparison, run = made_up(LOSES)
    if change == "no suite":
        run.questions = _unknown
        assert "cannot be made anew" in render_page(comparison, run)
    elif change == "other targets":
        run = MadeUpRun(run.samples().assign(target="other"), run.questions())
        assert "not those of the run" in render_page(comparison, run)
    else:
        run = MadeUpRun(run.samples().assign(lattice=None), run.questions())
        text = render_page(comparison, run)
        assert data(text, "samples0")[0]["lattice"] is None
        assert "Where on the image" not in text


def _unknown():
    raise UsageError("unknown suite 'gone'")


def test_a_sample_all_strategies_share_the_fate_of_is_not_chosen_before_one_that_divides():
    rows = [("vanilla", "all", "t", key, key, 1.0) for key in ("same", "split")]
    rows += [(name, "1/2", "t", "same", "same", 0.0) for name in "abcd"]
    rows += [(name, "1/2", "t", "split", "split", float(name in "ab")) for name in "abcd"]
    samples = pd.DataFrame(rows, columns=["strategy", "budget", "task", "sample", "cluster", "score"])
    assert choose_samples(samples, 1) == [("t", "split")]


def test_ordinals_and_long_strings_are_shortened():
    assert spans([7, 3, 4, 5, 9]) == "3-5,7,9"
    assert spans([]) == ""
    assert shorten("x" * 10_000).endswith("(10,000 characters)")
    assert shorten("short") == "short"


def kept_rows(sets, lattice=(1, 2, 2, 0)):
    rows = [("s", "1/2", 0, "t", str(at), 4, np.array(kept), np.array(lattice)) for at, kept in enumerate(sets)]
    return pd.DataFrame(
        rows, columns=["strategy", "budget", "seed", "task", "sample", "visual_tokens", "kept", "lattice"]
    )


def test_keep_rates_count_places():
    rates = keep_rates(kept_rows([[0, 1], [0, 2]]))["s", "1/2"]
    assert rates.tolist() == [[1.0, 0.5], [0.5, 0.0]]
    assert bias(rates) == pytest.approx(0.25)
    assert bias(np.ones((3, 3))) == pytest.approx(0)


def test_leading_tokens_and_frames_are_no_places():
    found = keep_rates(kept_rows([[0, 1, 6, 9]], lattice=(2, 2, 2, 1)))["s", "1/2"]
    assert found.tolist() == [[1.0, 0.0], [0.0, 0.5]]


def test_agreement_is_the_share_in_common_beside_that_of_chance():
    a, b = kept_rows([[0, 1], [0, 1]]), kept_rows([[0, 1], [2, 3]]).assign(strategy="b")
    [row] = agreement(pd.concat([a, b])).to_dict("records")
    assert row["overlap"] == pytest.approx(0.5)
    assert row["chance"] == pytest.approx(1 / 3)


def test_thinning_keeps_the_same_samples_of_every_cell():
    _, run = made_up(LOSES)
    few = thin(run.samples(), 10)
    counts = few.groupby(["strategy", "budget"])["sample"].nunique()
    assert counts.nunique() == 1
    assert len(few[["task", "sample"]].drop_duplicates()) <= 10


def test_of_a_long_table_the_page_shows_the_first_rows_of_every_budget_and_says_so(monkeypatch):
    """Vanilla and nine cells of three budgets in groups of one and three; five rows have room for one of each group."""
    monkeypatch.setattr(entries.few_rows, "__defaults__", (5,))
    text = render_page(*made_up(LOSES))
    body = re.search(r'<table id="cells0".*?<tbody>(.*?)</tbody>', text, re.S)[1]
    shown = [re.findall(r'class="text">(.*?)</span>', row)[:2] for row in body.split("<tr")[1:]]
    assert shown == [["vanilla", "all"], *(["good", budget] for budget in BUDGETS)]
    assert "The page shows 4 of 10 rows: the first of every budget. All of them are in the CSV report" in text


def test_a_page_without_all_pairs_shows_the_trivial_baselines_and_no_ranks(monkeypatch):
    """Three strategies at three budgets make nine pairs."""
    monkeypatch.setattr(families, "MOST_PAIRS", 8)
    text = render_page(*made_up(LOSES))
    assert "Against the trivial baselines</h2>" in text
    assert "Between the strategies" not in text
    assert "3 pairs of strategies at equal budget are not compared" in text
    assert "Where on the image" not in text

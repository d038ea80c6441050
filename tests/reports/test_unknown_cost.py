"""Runs whose cost nobody counted, as those imported from other tools: no report calls it equal, and all say that it is unknown."""

import io
import re
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.reports.hand_made import beats_all, hand_made
from tests.reports.made_up import MadeUpRun, answers, asked
from tokenbench.comparison import compare
from tokenbench.comparison.plots import cells_of, is_priced
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.comparison.tables import MARK, cells_table, pairs_table
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.store.frames import count_kept
from tokenbench_reports.document import make_document
from tokenbench_reports.headline import make_headline
from tokenbench_reports.html import render_page

COSTS = ("kept", "visual_tokens", "realised_tokens", "flops", "cache_bytes", "lattice")


@pytest.fixture(scope="module")
def unpriced():
    """A comparison, and the run it is of, without any cost."""
    samples = answers({"good": 0.02, "poor": 0.5, "random": 0.6}, images=60, budgets=("1/3", "1/9"))
    for name in COSTS:
        samples[name] = None if name in ("kept", "lattice") else float("nan")
    samples["evidence_recall"] = float("nan")
    run = MadeUpRun(samples, asked(samples), versions={}, hardware={})
    return compare(samples.assign(kept=count_kept(samples["kept"])), resamples=199), run


def column(table, header):
    at = [column.header for column in table.columns].index(header)
    return [row.entries[at].text for row in table.rows]


def test_the_tables_say_unknown_and_never_equal(unpriced):
    comparison, _ = unpriced
    assert set(column(pairs_table(comparison, "toy"), "tokens")) == {"unknown"}
    cells = cells_table(comparison, "toy")
    for header in ("visual tokens", "FLOPs", "KV"):
        assert set(column(cells, header)) == {"unknown"}


def test_what_is_best_is_best_at_unknown_cost(unpriced):
    comparison, run = unpriced
    assert make_headline(comparison, "toy").text.endswith("points more than poor, at unknown cost")
    [section] = make_document(comparison, run.about()).sections
    between = [text for text in section.verdict if text.startswith("Between")]
    assert between
    assert all(text.endswith("Whether they cost the same is unknown.") for text in between)
    assert all(ranking.unpriced and not ranking.unequal for ranking in rank_strategies(comparison, "toy"))


@pytest.mark.parametrize("name", ["terminal", "details", "markdown", "html", "json", "csv", "latex", "figures"])
def test_every_format_is_written_without_a_warning_and_calls_nothing_equal(unpriced, tmp_path, name):
    comparison, run = unpriced
    said = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = registry().get("reports", name)().write(comparison, run, tmp_path, said)
    text = said.getvalue() + "".join(file.read_text() for file in files if file.suffix in (".md", ".html", ".tex"))
    assert "at unknown cost" in text or "unknown" in text or name in ("json", "csv", "figures")
    assert not re.search(r"[|>│]\s*equal\s*[|<│]| tokens equal ", text)
    assert not re.search(r"\bnan\b", text)
    assert "Versions: ." not in text
    assert not any(file.stem.startswith("accuracy-cost") for file in files)


def test_the_notes_say_that_versions_and_hardware_are_unknown(unpriced):
    comparison, run = unpriced
    notes = make_document(comparison, run.about()).notes
    assert [note for note in notes if note.startswith(("Versions", "Hardware"))] == [
        "Versions: unknown.",
        "Hardware: unknown.",
    ]


def test_the_page_says_of_its_pictures_that_nobody_knows_what_was_kept(unpriced):
    page = render_page(*unpriced)
    assert "how many tokens it kept is unknown" in page
    assert '"count": null' in page


def test_a_plot_against_an_unknown_cost_is_refused(unpriced):
    comparison, _ = unpriced
    assert not is_priced(cells_of(comparison, "toy"))
    with pytest.raises(UsageError, match="is unknown, so that there is no plot"):
        comparison.plot("accuracy-cost")


def test_of_a_pair_of_which_one_cost_is_known_nothing_is_called_equal():
    tokens = {"good": 50.0, "fair": float("nan"), "poor": 50.0}
    comparison = hand_made(
        {"1/3": {"good": 99.0, "fair": 95.0, "poor": 90.0}}, beats_all("good", "fair", "poor"), tokens=tokens
    )
    assert column(pairs_table(comparison, "toy"), "tokens") == ["unknown", "equal", "unknown"]
    [ranking] = rank_strategies(comparison, "toy")
    assert ranking.unpriced


def test_a_strategy_without_any_token_is_not_called_equal_to_one_with_some():
    samples = answers({"good": 0.1, "blind": 0.6}, budgets=("1/4",))
    samples.loc[samples["strategy"] == "blind", "realised_tokens"] = 0.0
    comparison = compare(samples.assign(kept=samples["kept"].map(len)), resamples=99)
    pairs = comparison.pairs[comparison.pairs["family"] == "F2"]
    assert dict(zip(pairs["a"], pairs["cost_ratio"], strict=True)) in ({"blind": 0.0}, {"good": np.inf})
    assert all(MARK in text for text in column(pairs_table(comparison, "toy"), "tokens"))


def test_kept_tokens_are_counted_where_they_are_known():
    assert count_kept(pd.Series([[1, 2], None, []])).fillna(-1).tolist() == [2, -1, 0]


def test_the_page_leaves_out_a_plot_that_would_be_empty_and_says_that_costs_are_unknown(unpriced):
    rendered = render_page(*unpriced)
    assert "What the methods cost is unknown. No visual tokens were counted." in rendered
    assert '<section class="card plots"' not in rendered

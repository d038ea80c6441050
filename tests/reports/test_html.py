"""What the page holds, read as text."""

import io
import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest

from tests.reports.made_up import BUDGETS, HOSTILE, LONG, MadeUpRun, bench, made_up
from tokenbench.comparison import MEAN, families
from tokenbench.contract.cells import TRIVIAL
from tokenbench.errors import UsageError
from tokenbench_reports.csv_tables import CsvReport
from tokenbench_reports.headline import make_headline
from tokenbench_reports.html import HtmlReport, render_page
from tokenbench_reports.html import cells as html_cells
from tokenbench_reports.html.gallery import choose_samples, shorten
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


@pytest.mark.parametrize("options", [{}, {"tasks": ["one"], "budgets": ["1/3"]}, {"models": ["small", "large"]}])
def test_every_link_leads_to_a_section_that_is_there(options):
    text = render_page(*made_up({"one": 0.1, "two": 0.3}, **options))
    links, there = re.findall(r'<a href="#([^"]+)"', text), re.findall(r'<section id="([^"]+)"', text)
    assert len(links) > 4
    assert set(links) <= {*there, "main", "again"}
    assert ("budgets" in links) == ("budgets" in there)


def test_where_no_accuracy_kept_is_defined_the_page_says_why_and_shows_scores():
    comparison, run = made_up({"one": 0.1, "random": 0.5}, able=0.05)
    text = render_page(comparison, run)
    assert "is not shown to be above 5\xa0%" in re.search("<h1>(.*?)</h1>", text, re.S)[1]
    assert "No accuracy kept is defined here" in text
    assert not re.search("No visual tokens were counted|has no results|Which differences are real", text)
    vanilla = comparison.summary.query("strategy == 'vanilla' and task == 'mean'")["score"].item()
    assert f'<td class="num" data-v="100">score {100 * vanilla:.1f}</td>' in text


def plain(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def test_the_page_begins_with_the_headline(text):
    heading = re.search(r"<h1>(.*?)</h1>", text, re.S)[1]
    said = [plain(one) for one in re.findall(r'<span class="said" data-b="\d+">(.*?)</span>', heading, re.S)]
    comparison, _ = made_up(LOSES)
    assert said == [make_headline(comparison, "toy", budget).text for budget in BUDGETS]
    assert text.index("<h1>") < text.index('class="plot') < text.index('class="res"')


def test_every_section_is_there(text):
    for title in ("Accuracy kept, and what it costs", "Which one, if you want …", "Which differences are real",
                  "How fast accuracy falls with the budget", "Where the accuracy goes", "Compare two methods", "Every question",
                  "Where on the image each strategy keeps tokens", "Run it again", "How the numbers were made"):  # fmt: skip
        assert title in text
    assert "tokenbench run --suite image --strategies a" in text


def test_numbers_of_the_table_are_those_of_the_csv_file(tmp_path):
    comparison, run = made_up(LOSES)
    rendered = render_page(comparison, run)
    CsvReport().write(comparison, run, tmp_path, io.StringIO())
    rows = pd.read_csv(tmp_path / "summary.csv").query("task == 'mean' and strategy != 'vanilla'")
    bodies = re.findall(r'<tbody data-b="(\d+)">(.*?)</tbody>', rendered, re.S)
    shown = {}
    for at, body in bodies[: len(BUDGETS)]:
        for row in re.findall(r"<tr(?: class=\"floor\")?><th.*?</tr>", body, re.S):
            name = re.search(r'class="nm2" title="(.*?)"', row)[1]
            value, tokens, flops, cache = re.findall(r'data-v="(.*?)"', row)[:4]
            shown[name, BUDGETS[int(at)]] = float(value), float(tokens), float(flops), float(cache), plain(row)
    assert len(shown) == len(rows)
    vanilla = pd.read_csv(tmp_path / "summary.csv").query("task == 'mean' and strategy == 'vanilla'").iloc[0]
    for row in rows.to_dict("records"):
        *numbers, words = shown[row["strategy"], row["budget"]]
        expected = [100 * row["retention"], row["realised_tokens"]]
        expected += [100 * row[name] / vanilla[name] for name in ("flops", "cache_bytes")]
        assert numbers == pytest.approx(expected)
        assert (
            f"{100 * row['retention']:.1f} [{100 * row['retention_low']:.1f}, {100 * row['retention_high']:.1f}]"
            in words
        )


def test_bold_never_stands_beside_a_loss(text):
    for row in re.findall(r"<tr[^>]*><th.*?</tr>", text, re.S):
        assert not ('class="wide loses"' in row and re.search(r"<(b|strong)\b", row))


def test_time_and_memory_are_there_where_they_were_measured(text):
    measured = render_page(*made_up({"good": 0.0}, about={"bench": [bench(strategies=("good", HOSTILE))]}))
    assert "0.512 [0.487, 0.538]" in measured
    assert "on a made-up processor" in measured
    assert "<img src=x" not in measured
    assert "Time and memory, measured" in measured
    assert '<th scope="col" class="wide" data-sorts>time</th>' in measured
    assert "Time and memory, measured" not in text
    assert "tokenbench bench -o RUN measures it" in text


def test_several_models_are_shown_together(text):
    several = render_page(*made_up({"good": 0.0, "bad": 0.5}, models=("small", "large")))
    assert "All models together" in several
    assert "they do not generalise to other models" in several
    assert several.count('class="headline"') == 2
    assert several.count("<h1>") == 1
    assert 'name="m"' in several
    assert "All models together" not in text


def test_pairs_that_differ_no_more_than_vanilla_from_itself_are_marked(text):
    comparison, run = made_up({"good": 0.0, "bad": 0.5})
    pairs = comparison.pairs.assign(at_noise_floor=comparison.pairs["a"] == "good")
    assert "at the noise floor" in render_page(replace(comparison, pairs=pairs), run)
    assert "noise floor" not in text


def test_points_of_the_plot_are_the_cells(text):
    readouts = data(text, "cells0")
    assert len(readouts) == 3 * len(BUDGETS)
    assert {one["method"] for one in readouts} == set(LOSES)
    plots = re.findall(r'<svg class="plot (wide|narrow)".*?</svg>', text, re.S)
    assert plots.count("wide") == plots.count("narrow") == 3  # tokens, FLOPs, KV cache
    assert len(re.findall(r'class="pt ', text)) == 6 * len(readouts)


def test_the_gallery_shows_flips_first_with_what_was_kept(text):
    samples = data(text, "compare-data0")["samples"]
    assert samples
    for sample in samples:
        assert sample["lattice"] == [1, 6, 6, 0]
        [[name, width, height]] = sample["frames"]
        assert f'<symbol id="p{name}"' in text
        assert (width, height) == (60, 60)
        assert len(sample["cells"]) == 1 + 3 * len(BUDGETS)
    assert text.count('href="data:image/webp;base64,') == len(samples)  # each picture once
    spoilt = [any(s["cells"][0]["right"] and not cell["right"] for cell in s["cells"]) for s in samples]
    assert spoilt == sorted(spoilt, reverse=True)
    assert spoilt[0]


def test_identical_twins_show_no_difference_and_the_page_says_so():
    text = render_page(*made_up({"twin-a": 0.0, "twin-b": 0.0}))
    assert "cannot be told apart" in plain(re.search(r"<h1>(.*?)</h1>", text, re.S)[1])
    assert '<td class="real"' not in text
    assert '<td class="open"' in text


def test_hostile_strings_are_text_and_long_ones_are_cut():
    text = render_page(
        *made_up({HOSTILE: 0.1, LONG: 0.2}, question=HOSTILE + LONG, answer=HOSTILE + LONG, models=(HOSTILE,))
    )
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert "49" not in plain(re.search(r"<h1>(.*?)</h1>", text, re.S)[1])
    for name in ("cells0", "compare-data0"):
        data(text, name)


def test_two_models_are_shown_side_by_side():
    text = render_page(*made_up({"good": 0.0, "bad": 0.5}, models=("one", "two")))
    assert "Models side by side" in text
    assert {int(at) for at in re.findall(r'data-m="(\d)"', text)} == {0, 1}


def test_a_run_of_one_strategy_or_vanilla_alone_still_makes_a_page():
    assert "Where the accuracy goes" in render_page(*made_up({"only": 0.2}, budgets=("1/2",)))
    assert "Only the unpruned model ran" in render_page(*made_up({}))
    assert 'class="tri' in render_page(*made_up({f"s{at}": 0.05 * at for at in range(18)}, images=12))
    assert "Compare two" in render_page(*made_up({"few": 0.2, "more": 0.1}, images=2))


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
        assert data(text, "compare-data0")["samples"][0]["lattice"] is None
        assert "Where on the image" not in text


@pytest.mark.parametrize("graded", [["read"], ["count", "read"]])
def test_answers_that_are_graded_are_not_called_right_or_wrong(graded):
    about = {"tasks": {task: {"graded": task in graded} for task in ("count", "read")}}
    text = render_page(*made_up(LOSES, about=about))
    shown = data(text, "compare-data0")
    left = {"count", "read"} - set(graded)
    assert {sample["task"] for sample in shown["samples"]} == left
    signs = {
        row[3]
        for row in data(text, "piece-index-0-0")
        if data(text, "samples-head")["models"][0]["tasks"][row[0]] in graded
    }
    assert signs == {"-" * 10}
    assert f"Answers to {', '.join(graded)} are graded, not right or wrong, and are not shown here." in text
    assert ">read<" in text  # its scores are in the table of the tasks


def _unknown():
    raise UsageError("unknown suite 'gone'")


def test_a_sample_all_strategies_share_the_fate_of_is_not_chosen_before_one_that_divides():
    rows = [("vanilla", "all", "t", key, key, 1.0) for key in ("same", "split")]
    rows += [(name, "1/2", "t", "same", "same", 0.0) for name in "abcd"]
    rows += [(name, "1/2", "t", "split", "split", float(name in "ab")) for name in "abcd"]
    samples = pd.DataFrame(rows, columns=["strategy", "budget", "task", "sample", "cluster", "score"])
    assert choose_samples(samples, 1) == [("t", "split")]


def test_long_strings_are_shortened():
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


def test_of_many_methods_the_page_shows_the_highest_and_all_floors_and_says_so(monkeypatch):
    monkeypatch.setattr(html_cells.keep_highest, "__defaults__", (1,))
    comparison, run = made_up(LOSES)
    summary = comparison.summary
    text = render_page(comparison, run)
    body = re.search(r'<table class="res">(.*?)</table>', text, re.S)[1]
    mean = summary[(summary["task"] == MEAN) & (summary["strategy"] != "vanilla")]
    for budget in BUDGETS:
        here = mean[mean["budget"] == budget].sort_values("retention", ascending=False)
        methods = [name for name in here["strategy"] if name not in TRIVIAL]
        floors = [name for name in here["strategy"] if name in TRIVIAL]
        own = body.split(f"Budget {budget}</th>")[1].split("</tbody>")[0]
        assert re.findall(r'class="nm2"(?: title="[^"]*")?>(.*?)</span>', own) == [methods[0], *floors, "unpruned"]
    left = len(mean) - len(BUDGETS) * (1 + len(floors))
    assert f"The {left} other results are in summary.csv and pairs.csv." in text


def test_a_page_without_all_pairs_has_no_ranks_and_says_what_is_left_out(monkeypatch):
    """Three strategies at three budgets make nine pairs."""
    assert "best</span>" in render_page(*made_up(LOSES))
    monkeypatch.setattr(families, "MOST_PAIRS", 8)
    text = render_page(*made_up(LOSES))
    assert "3 pairs of strategies at equal budget are not compared" in text
    assert "best</span>" not in text
    assert 'class="tri' not in text


def test_the_label_is_the_sentence_of_the_other_reports():
    limited = {"spec": {"suite": "image", "limit": 20, "floors": [], "strategies": ["good"]}}
    rendered = render_page(*made_up({"good": 0.1}, images=20, about=limited))
    assert '<span class="label">Only 20 samples per task: not a result</span>' in rendered
    assert "Too few images" not in rendered

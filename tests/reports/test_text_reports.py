"""What the text reports show: all details on the terminal, Markdown and CSV."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.reports.made_up import bench, made_up
from tokenbench.comparison import compare
from tokenbench.comparison.wording import interval, join_names, marks_of, number, p_value
from tokenbench.store.report_files import write_text
from tokenbench_reports.csv_tables import CsvReport
from tokenbench_reports.details import DetailsReport
from tokenbench_reports.markdown import MarkdownReport
from tokenbench_reports.notes import make_notes

ABOUT = {"spec": {"limit": None}, "versions": {"tokenbench": "0.1.0"}}


class Told:
    """A run as far as the text reports ask about it."""

    def __init__(self, **more):
        self.more = more

    def about(self):
        return {**ABOUT, **self.more}


RUN = Told()
TASKS = ("attribute_of_an_object", "colour", "count", "ocr", "relation")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def comparison():
    rng, rows = np.random.default_rng(0), []
    cells = {("vanilla", "all"): 0, ("clse", "1/3"): 0.02, ("fastv:layer=2", "1/3"): 0.03, ("random", "1/3"): 0.5}
    for task in TASKS:
        right = rng.uniform(size=80) < 0.8
        for (strategy, budget), spoils in cells.items():
            tokens = {"all": 64.0, "1/3": 25.6 if "fastv" in strategy else 21.3}[budget]
            for at, score in enumerate(right & (rng.uniform(size=80) >= spoils)):
                identity = ("toy_model", strategy, budget, 0, task, f"{task}{at}", f"image{at // 2}")
                recall = 1.0 if strategy == "vanilla" else float("nan")
                rows.append((*identity, "a", "b", float(score), int(tokens), 64, tokens, recall))
    names = "model strategy budget seed task sample cluster answer target score kept visual_tokens"
    return compare(pd.DataFrame(rows, columns=[*names.split(), "realised_tokens", "evidence_recall"]), resamples=199)


def printed(comparison, run=RUN, out=None):
    out = out or io.StringIO()
    assert DetailsReport().write(comparison, run, Path("."), out) == []
    return out.getvalue()


def test_the_verdict_comes_before_the_tables(comparison):
    text = printed(comparison)
    assert text.index("Against vanilla, loses more than 1: random at 1/3.") < text.index("score %")
    assert "top group is" in text or "no best can be named" in text


def test_tables_in_a_file_are_never_cut(comparison):
    text = printed(comparison)
    assert "…" not in text
    header = next(line for line in text.splitlines() if "attribute_of_an_object" in line)
    assert all(task in header for task in TASKS)
    assert "\x1b" not in text


def test_a_narrow_terminal_gets_the_compact_layout_with_every_number(comparison, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(comparison, out=Terminal()))  # bold is no colour and stays
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 60
    mean = comparison.summary[comparison.summary["task"] == "mean"]
    for cell in mean.itertuples():
        assert interval(cell.score, cell.score_low, cell.score_high) in text


def test_no_color_is_honoured(comparison, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in printed(comparison, out=Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed(comparison, out=Terminal())


def test_a_limited_run_is_labelled_and_notes_are_shown(comparison, tmp_path):
    run = Told(spec={"limit": 8}, notes=["a toy model stands in for a real one"])
    MarkdownReport().write(comparison, run, tmp_path, io.StringIO())
    for text in (printed(comparison, run), (tmp_path / "summary.md").read_text()):
        assert "Only 8 samples per task: not a result" in text
        assert "a toy model stands in for a real one" in text
        assert text.index("not a result") < text.index("Against vanilla")
        assert "Too few images" not in text
    assert "not a result" not in printed(comparison)


def test_unequal_cost_is_marked(comparison):
    lines = [line for line in printed(comparison).splitlines() if "clse" in line and "distinguishable" in line]
    assert any("fastv:layer=2" in line and "≠ 0.83×" in line for line in lines)


def test_what_was_not_shown_is_never_called_equal(comparison, tmp_path):
    MarkdownReport().write(comparison, RUN, tmp_path, io.StringIO())
    text = (tmp_path / "summary.md").read_text()
    for word in ("no loss", "lossless", "comparable", "identical"):
        assert word not in text.lower()
    assert "(MDE " in text


def test_markdown_tables_are_well_formed(comparison, tmp_path):
    [path] = MarkdownReport().write(comparison, RUN, tmp_path, io.StringIO())
    assert path.name == "summary.md"
    blocks = [block.splitlines() for block in path.read_text().split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5  # cells, pairs, tasks, where it hurts, and what papers print of clse
    assert "questions about" in path.read_text()
    for block in blocks:
        assert len({line.count(" |") for line in block}) == 1
    assert "toy\\_model" in path.read_text()


def test_what_was_measured_of_time_and_memory_stands_beside_accuracy(tmp_path):
    comparison, run = made_up({"good": 0.0}, about={"bench": [bench(strategies=("good", "other")), bench("absent")]})
    MarkdownReport().write(comparison, run, tmp_path, io.StringIO())
    kept = comparison.summary.query("strategy == 'good' and budget == '1/4' and task == 'mean'")["retention"].iloc[0]
    for text in (printed(comparison, run), (tmp_path / "summary.md").read_text()):
        assert text.count("Measured on this hardware") == 1
        assert "on a made-up processor. dart at 1/4 is left out" in text
        lines = [line for line in text.splitlines() if "0.512 [0.487, 0.538]" in line]
        wanted = ("good 1/4", "576 102.4", "20.40 0.512 3.0 700 about 144")
        cells = [" ".join(line.replace("|", " ").split()) for line in lines]
        assert all(part in cells[0] for part in (*wanted, f" {number(100 * kept)} "))
        assert cells[1].startswith("other 1/4 – 576")  # never ran on the tasks
        assert any("vanilla" in line and "stock" in line and "200.0" in line for line in text.splitlines())
    assert "this hardware" not in printed(*made_up({"good": 0.0}))


def test_load_and_energy_stand_beside_accuracy_where_they_were_measured(tmp_path):
    measured = bench(strategies=("good",))
    ratio = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    served = {
        "visual_tokens": 576,
        "clients": 16,
        "requests_per_second": 7.25,
        "ttft_p50_seconds": 0.2,
        "ttft_p99_seconds": 0.9,
    }
    measured["load"] = [{"strategy": "good", "budget": "1/4", **served, "ratio": ratio}]
    measured["rows"][1]["joules_per_prompt"] = 12.5
    comparison, run = made_up({"good": 0.0}, about={"bench": [measured]})
    MarkdownReport().write(comparison, run, tmp_path, io.StringIO())
    kept = number(100 * comparison.summary.query("strategy == 'good' and task == 'mean'")["retention"].iloc[0])
    lines = [" ".join(line.replace("|", " ").split()) for line in (tmp_path / "summary.md").read_text().splitlines()]
    assert f"good 1/4 {kept} 576 16 7.25 0.500 [0.400, 0.600] 200.0 900.0" in lines
    assert any(line.startswith(f"good 1/4 {kept} 576") and "12.50" in line for line in lines)


def test_another_precision_than_the_released_one_is_a_warning(comparison):
    released = {"released_dtypes": {"divprune": "float16", "vispruner": "float16"}}
    other, same = (
        printed(comparison, Told(spec={"limit": None, "dtype": name}, **released)) for name in ("float32", "float16")
    )
    said = "The released code of divprune and vispruner decides in float16, and this run is in float32."
    assert said in " ".join(other.split())
    assert "decides in" not in same


def test_what_equal_work_rests_on_is_said_where_budgets_are_matched():
    one = {"model": "toy", "strategy": "good", "budget": "1/4", "seed": 0, "task": "read", "parameter": "theta", "value": 0.25,
           "unit": "visual tokens per layer", "target": 144.0, "reached": 143.5, "held_out": 64, "samples": 40,
           "tokens": [140.0, 30.0, 300.0], "flops": [2.5e8, 1e8, 5e8]}  # fmt: skip
    comparison, matched = made_up(
        {"good": 0.0}, about={"calibration": [one], "spec": {"limit": None, "match": "tokens"}}
    )
    text = printed(comparison, matched)
    [line] = [line for line in text.splitlines() if "theta = 0.25" in line]
    assert " ".join(line.split()) == "good 1/4 read theta = 0.25 144.0 143.5 140.0 [30, 300] 25 % [10, 50]"
    flat = " ".join(text.split())
    assert "calibrated on 64 samples of each task, which are left out of all results" in flat
    assert (
        "good decides its own number of tokens for every sample and is calibrated: its work is that of the budget on average"
        in flat
    )
    assert "Calibrated" not in printed(*made_up({"good": 0.0}))


def test_several_models_have_a_mean_that_speaks_of_these_models_only(tmp_path):
    comparison, run = made_up({"good": 0.0, "bad": 0.5}, models=("small", "large"))
    MarkdownReport().write(comparison, run, tmp_path, io.StringIO())
    for text in (printed(comparison, run), (tmp_path / "summary.md").read_text()):
        mean = " ".join(
            text[text.index("\nall models together" if "## " not in text else "## all models together") :].split()
        )
        assert "Accuracy kept is averaged over large and small and their tasks" in mean
        assert "they do not generalise to other models" in mean
        assert "Mean over 2 models and 2 tasks" in mean
        assert "good is best: at budget 1/2" in mean
        assert "good is better than every other" in mean
    assert "all models" not in printed(*made_up({"good": 0.0, "bad": 0.5}))


def test_csv_files_hold_the_tables_unrounded(comparison, tmp_path):
    paths = CsvReport().write(comparison, RUN, tmp_path, io.StringIO())
    for path, table in zip(paths, (comparison.summary, comparison.pairs, comparison.where), strict=True):
        table = table.astype({"verdict": str}) if "verdict" in table else table
        pd.testing.assert_frame_equal(pd.read_csv(path, dtype={"budget": str}), table, check_dtype=False)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "summary.md"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_are_written_as_readers_expect():
    assert number(-0.04, signed=True) == "0.0"
    assert number(-1.25, 2) == "−1.25"
    assert number(float("nan")) == "–"
    assert interval(0.01, float("nan"), float("nan")) == "1.0"
    assert [p_value(p) for p in (0.0001, 0.00042, 0.0421, 1.0)] == ["≤0.0001", "0.0004", "0.042", "1.000"]
    assert [join_names(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_what_is_printed_never_contradicts_the_verdict() -> None:
    """A limit that would be rounded to the margin or to no difference has as many digits as it takes."""
    marks = marks_of(1.0)
    assert interval(0.995, 0.98996, 0.99999, marks=marks) == "99.5 [98.996, 99.999]"
    assert interval(0.995, 0.9904, 1.0, marks=marks) == "99.5 [99.04, 100.0]"
    assert interval(-0.02, -0.04, -1e-9, signed=True, marks=[0.0]) == "−2.0 [−4.0, <0.0]"
    assert interval(0.02, 0.0004, 0.04, signed=True, marks=[0.0]) == "+2.0 [+0.04, +4.0]"


@pytest.mark.parametrize(
    ("needed", "said"),
    [([52_000] * 3, "about 52,000 samples,"), ([17_000, 21_000, 19_000], "about 17,000 to 21,000 samples,")],
)
def test_what_is_open_says_how_many_samples_would_decide_it(comparison, needed, said):
    asked = "To decide what is not decided here would take"
    nothing = comparison.pairs.assign(samples_needed=float("nan"))
    assert not any(asked in note for note in make_notes(replace(comparison, pairs=nothing), ABOUT))
    numbers = [*needed, *[float("nan")] * (len(nothing) - len(needed))]
    [note] = [
        note
        for note in make_notes(replace(comparison, pairs=nothing.assign(samples_needed=numbers)), ABOUT)
        if asked in note
    ]
    assert said in note
    assert "non-inferior within 1 with a power of 80 %" in note

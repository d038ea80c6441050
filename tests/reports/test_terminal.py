"""The short report on the terminal: how long and wide it is, what its signs say, and what it leaves to the details."""

import io
import re
from itertools import combinations
from pathlib import Path

import pytest

from tests.reports.hand_made import beats_all, hand_made
from tests.reports.made_up import MadeUpRun, bench, made_up
from tokenbench_reports.details import DetailsReport
from tokenbench_reports.terminal import LINES, TerminalReport

FLOORS = {"random": 30.0, "downsample": 28.0, "uniform": 25.0}
EIGHTEEN = {f"method-{at:02}": 99.0 - 2 * at for at in range(15)} | FLOORS
MANY = {f"method-{at:02}": 99.0 - 2 * at for at in range(30)} | FLOORS
THREE = {"fastv": 88.9, "clse": 81.8, "random": 54.9, "downsample": 37.9}
NOTE = "toy is a demonstration: a tiny model. Nothing about real models may be concluded from it."


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Ascii(io.StringIO):
    encoding = "ascii"


def printed(comparison, out=None, **about):
    out = out or io.StringIO()
    run = MadeUpRun(None, **about)
    assert TerminalReport().write(comparison, run, Path("."), out) == []
    return out.getvalue()


def several(kept, better=(), budgets=("1/3", "2/9", "1/9"), **options):
    return hand_made({budget: kept for budget in budgets}, better, **options)


def rows_of(text):
    """The table's lines by the name they begin with."""
    lines = text[text.index("ccuracy kept, %") :].splitlines()
    return {line.split()[0]: line for line in lines if line[:1].strip()}


@pytest.mark.parametrize("strategies", [THREE, EIGHTEEN, MANY])
@pytest.mark.parametrize("notes", [[], [NOTE] * 5])
def test_a_report_on_one_model_has_forty_lines_with_the_two_of_the_command(strategies, notes):
    """However many strategies and warnings there are; LINES leaves room for what the command says itself."""
    text = printed(several(strategies, beats_all(*strategies)), notes=notes)
    assert len(text.splitlines()) <= LINES
    assert LINES + 2 <= 40
    assert max(map(len, text.splitlines())) <= 100


def test_what_is_left_out_of_the_table_is_said():
    text = printed(several(MANY, beats_all(*MANY)), notes=[NOTE])
    shown = [name for name in MANY if name in rows_of(text)]
    hidden = len([name for name in MANY if name.startswith("method")]) - len(
        [n for n in shown if n.startswith("method")]
    )
    assert hidden > 0
    assert f"Not shown here: {hidden} more method" in text
    assert "random" in shown
    assert shown[0] == "method-00"
    assert "Not shown here" not in printed(several(EIGHTEEN, beats_all(*EIGHTEEN)), notes=[NOTE])


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("length", [1, 60])
def test_nothing_is_wider_than_the_terminal(width, length, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    kept = {name * length: value for name, value in THREE.items()}
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(several(kept, beats_all(*kept)), Terminal()))
    assert max(map(len, text.splitlines())) <= min(width, 100)
    for value in ("88.9*", "81.8", "[87.8, 90.0]", "45%"):
        assert value in text


def test_columns_go_in_their_order_where_there_is_no_room(monkeypatch):
    """The drawing first, then the other budgets, and the interval last: as the design says."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    found = {}
    for width in (100, 80, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        found[width] = printed(several(THREE, beats_all(*THREE)), Terminal())
    assert "●" in found[100]
    assert "●" not in found[80]
    assert " at 1/9" in found[80]
    assert " at 1/9" not in found[60]
    assert all("[95 % interval]" in text for text in found.values())


def test_stars_mark_what_leads_by_the_verdicts():
    """Two lead, by verdicts; the third keeps nearly as much, but is shown to be worse."""
    kept = {"a": 90.0, "b": 89.0, "c": 88.9, "random": 50.0}
    text = printed(several(kept, [("a", "c"), *((name, "random") for name in "abc")], budgets=("1/3",)))
    rows = rows_of(text)
    assert [("*" in rows[name]) for name in kept] == [True, True, False, False]
    assert "* the highest at its budget, or not told apart from it." in text
    nobody = printed(several(kept, budgets=("1/3",)))
    assert "*" not in nobody


def test_the_drawing_shows_estimate_interval_and_the_unpruned_model():
    """The axis runs from 20 to 105 in 26 columns: 3.4 points each, so that 54.9 is column 10 and 100 is column 24."""
    rows = rows_of(printed(several(THREE, beats_all(*THREE), budgets=("1/3",))))
    start = len("downsample") + 1
    drawn = {name: rows[name][start : start + 26] for name in THREE}
    assert drawn["random"].index("○") == round((54.9 - 20) / 85 * 25)
    assert drawn["fastv"].index("●") == round((88.9 - 20) / 85 * 25)
    assert {line.index("┊") for line in drawn.values()} == {round(80 / 85 * 25)}


def test_an_encoding_without_the_signs_gets_plain_ones():
    plain = printed(several(THREE, beats_all(*THREE)), Ascii())
    assert plain.isascii()
    rows = rows_of(plain)
    assert " |" in rows["fastv"]
    assert "o" in rows["random"].removeprefix("random")


def test_colour_is_for_names_and_never_in_a_file(monkeypatch):
    comparison = several(THREE, beats_all(*THREE))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[34mfastv" in printed(comparison, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[34m" not in printed(comparison, Terminal())
    assert "\x1b" not in printed(comparison)


def test_warnings_are_shown_by_their_first_sentence_and_counted():
    text = printed(several(THREE), notes=[NOTE, "second.", "third", "fourth", "fifth"])
    assert "! toy is a demonstration: a tiny model.\n" in text
    assert "Nothing about real models" not in text
    assert "! third.\n" in text
    assert "! 2 more warnings: see --details." in text


def test_a_limited_run_says_so_once():
    text = printed(several(THREE, images=20), spec={"suite": "image", "limit": 8})
    assert text.splitlines()[1] == "Only 8 samples per task: not a result"
    assert "Too few images" not in text
    assert printed(several(THREE, images=20)).splitlines()[1] == "Too few images for a result"


def test_the_rest_is_where_the_last_lines_say(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("")
    out, run = io.StringIO(), MadeUpRun(None)
    run.folder, run.folders = tmp_path, [tmp_path / "a b", tmp_path / "c"]
    TerminalReport().write(several(THREE), run, Path("elsewhere"), out)
    text = " ".join(out.getvalue().split())
    assert "report.html" not in text, "the page of one run does not show the others"
    assert text.endswith(f"details tokenbench compare '{tmp_path / 'a b'}' {tmp_path / 'c'} --details")
    out, run.folders = io.StringIO(), [tmp_path]
    TerminalReport().write(several(THREE), run, Path("elsewhere"), out)
    assert f"report {tmp_path / 'report' / 'report.html'}" in " ".join(out.getvalue().split())
    assert "report.html" not in printed(several(THREE))


def test_strategies_that_take_no_budget_are_compared_without_one():
    text = printed(several(THREE, budgets=("none",)))
    assert "without a budget" in text
    assert "budget none" not in text


def test_times_have_a_column_where_they_were_measured():
    measured = bench(strategies=("fastv",), budget="1/3")
    text = printed(several(THREE, beats_all(*THREE)), bench=[measured])
    assert "0.51×" in rows_of(text)["fastv"]
    assert "0.51×" not in rows_of(text)["clse"]
    assert "TTFT" not in printed(several(THREE))


def test_strategies_at_another_budget_are_named_under_the_table():
    kept = {"1/3": THREE, "none": {"blind": 23.3}, "1/9": {"fastv": 60.0, "late": 50.0}}
    text = printed(hand_made(kept, beats_all(*THREE)))
    assert "Not at 1/3: blind keeps 23.3 at none, late keeps 50.0 at 1/9." in text


def test_every_model_has_a_headline_and_a_table():
    comparison, run = made_up({"good": 0.0, "bad": 0.5, "random": 0.9}, models=("small", "large"), images=60)
    out = io.StringIO()
    TerminalReport().write(comparison, run, Path("."), out)
    text = out.getvalue()
    for model in ("small", "large", "all models together"):
        assert f"\n{model}: good is best: at budget 1/2" in text
        assert f"\n{model}: accuracy kept, %" in text
    assert text.index("all models together: good") < text.index("large: accuracy kept")


def test_details_hold_what_the_short_report_leaves_out():
    comparison, run = made_up({"good": 0.0, "bad": 0.5, "random": 0.9}, images=60)
    short, whole = io.StringIO(), io.StringIO()
    TerminalReport().write(comparison, run, Path("."), short)
    DetailsReport().write(comparison, run, Path("."), whole)
    for part in ("Between the strategies", "Score % by task", "Notes", "Against vanilla, "):
        assert part in whole.getvalue()
        assert part not in short.getvalue()
    assert "good is best: at budget 1/2" in whole.getvalue()


def test_a_comparison_without_findings_has_no_table():
    assert "Only the unpruned model ran" in printed(hand_made({}))
    assert "kept, %" not in printed(hand_made({}))


def test_every_pair_of_names_in_the_table_can_be_told_apart():
    """Long names that differ at the end alone are shortened in the middle."""
    kept = {f"{'x' * 80}{end}": value for end, value in zip("ab", (90.0, 80.0), strict=True)} | {"random": 10.0}
    names = list(rows_of(printed(several(kept, beats_all(*kept)))))
    assert all(a != b for a, b in combinations(names, 2))
    assert sum(name.startswith("xxx") for name in names) == 2


def test_where_no_accuracy_kept_is_defined_scores_stand_in_place_of_the_table():
    comparison, run = made_up({"one": 0.1, "random": 0.5}, able=0.05)
    out = io.StringIO()
    TerminalReport().write(comparison, run, Path("run"), out)
    text = " ".join(out.getvalue().split())
    mean = comparison.summary.query("task == 'mean'").set_index(["strategy", "budget"])["score"]
    assert f"Scores, %: vanilla {100 * mean['vanilla', 'all']:.1f}, " in text
    for name, budget in mean.index.drop(("vanilla", "all")):
        assert f"{name} at {budget} {100 * mean[name, budget]:.1f}" in text

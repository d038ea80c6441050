"""Plans: what is measured on a pilot, what is assumed, and what is said."""

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.fuzz.made import made_run, record
from tests.reports.made_up import answers
from tokenbench.cli import cli
from tokenbench.commands.planning import measure_pilot
from tokenbench.comparison.panel import panels
from tokenbench.comparison.planning import Assumptions, designs, measure_assumptions, plan, samples_needed
from tokenbench.errors import UsageError
from tokenbench.statistics.planning import TaskDesign, round_up, samples_for
from tokenbench.store.run import Run


def told(*arguments):
    """What `tokenbench plan` prints."""
    result = CliRunner().invoke(cli, ["plan", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def number(text, of):
    """The number at the beginning of the only line that holds a text."""
    [line] = [line for line in text.splitlines() if of in line]
    return float(re.match(r" *(?:± )?([\d,.]+)  ", line)[1].replace(",", ""))


def pilot(budget="1/3", **strategies):
    """Two tasks: 200 images with one question each, and 50 with four; vanilla is right on 80 % and on 50 %.

    strategies: (wrong on the first so many right images of single, on so many whole right images of four).
    """
    rows = []
    for strategy, (single, whole) in {"vanilla": (0, 0), **strategies}.items():
        for at in range(200):
            rows.append((strategy, "single", f"s{at}", f"a{at}", float(single <= at < 160)))
        for at in range(200):
            rows.append((strategy, "whole", f"w{at}", f"b{at // 4}", float(4 * whole <= at < 100)))
    found = pd.DataFrame(rows, columns=["strategy", "task", "sample", "cluster", "score"])
    return found.assign(
        model="toy", seed=0, budget=np.where(found["strategy"] == "vanilla", "all", budget), kept=9, visual_tokens=9,
        realised_tokens=3.0, flops=1.0, cache_bytes=1.0, evidence_recall=0.5, seconds=0.25,
    )  # fmt: skip


def test_a_pilot_is_measured_task_by_task():
    [about] = measure_assumptions(pilot(a=(20, 0), b=(20, 5), c=(60, 5))).values()
    single, whole = about.against_vanilla["single"], about.against_vanilla["whole"]
    assert (single.score, whole.score) == (0.8, 0.5)
    assert (single.questions, whole.questions) == (1.0, 4.0)
    assert (single.share, whole.share) == (200, 200)
    assert single.discordance == pytest.approx(20.5 / 201)  # the median of 20, 20 and 60, and half a sample
    assert whole.discordance == pytest.approx(20.5 / 201)
    assert single.deff == pytest.approx(1.0)
    # Whole images of four are lost: the variance is four times that of single samples, in the median of 1 (never), 4 and 4.
    assert whole.deff == pytest.approx(4 * (50 / 49) / (200 / 199))
    assert about.between["single"].discordance == pytest.approx(40.5 / 201)  # 0, 40, 40
    assert about.seconds == 0.25


def test_none_seen_among_a_few_is_not_none():
    [about] = measure_assumptions(pilot(same=(0, 0))).values()
    assert about.against_vanilla["single"].discordance == pytest.approx(0.5 / 201)
    assert about.between == about.against_vanilla  # there is no second strategy
    assert "for want of a second strategy" in about.origin


def test_tasks_that_share_images_vary_together():
    """The same answers to the same images in two tasks: nothing more is known than from one of them."""
    rows = pilot(a=(20, 0)).query("task == 'single'")
    both = pd.concat([rows, rows.assign(task="again", sample="again-" + rows["sample"])])
    [apart], [shared] = ([designs(panel, 1, 0) for panel in panels(one)] for one in (rows, both))
    assert [task.deff for task in shared] == pytest.approx([2.0, 2.0])
    assert [task.overlap for task in shared] == pytest.approx([2.0, 2.0])
    assert apart[0].overlap == 1.0
    assert samples_for(shared, margin=3) == pytest.approx(2 * samples_for(apart, margin=3), rel=0.05)


def test_a_report_says_what_its_own_samples_would_need():
    """The same function as the plan's, with the run's own tasks and the family's critical value."""
    [panel] = panels(pilot(a=(20, 0)))
    tasks = designs(panel, 1, 0)
    assert [task.share for task in tasks] == [200, 200]
    assert samples_needed(panel, 1, 0, 2.0, 2.5) == round_up(samples_for(tasks, margin=2.0, critical=2.5))
    assert samples_needed(panel, 1, 0, 2.0, 2.5) > 1.2 * samples_needed(panel, 1, 0, 2.0, 1.96)


def test_floors_say_nothing_about_strategies():
    rows = pilot(good=(4, 0), random=(150, 20))
    [about] = measure_assumptions(rows, floors=["random"]).values()
    assert about.against_vanilla["single"].discordance == pytest.approx(4.5 / 201)
    [about] = measure_assumptions(rows[rows["strategy"] != "good"], floors=["random"]).values()
    assert about.against_vanilla["single"].discordance == pytest.approx(150.5 / 201)


def test_strategies_at_different_budgets_are_no_pair():
    rows = pd.concat([pilot(a=(20, 0)), pilot("1/9", b=(100, 0)).query("strategy == 'b'")])
    [about] = measure_assumptions(rows).values()
    assert about.between == about.against_vanilla


def test_models_are_planned_for_one_by_one():
    found = measure_assumptions(answers({"a": 0.1}, models=("one", "two"), budgets=("1/2",)).assign(kept=1))
    assert list(found) == ["one", "two"]
    assert [about.seconds for about in found.values()] == [None, None]


def test_every_number_is_of_its_verdict():
    tasks = {"one": TaskDesign(discordance=0.2, deff=1.0, score=0.8, questions=1.0)}
    about = Assumptions(tasks, tasks, seconds=0.5)
    found = plan(2.0, 1.0, 5000, 3, 2, about)
    assert (found.cells, found.pairs) == (6, 6)
    # The formula for a paired difference with normal quantiles, points of accuracy kept being 0.8 points of score.
    assert found.find_alone == pytest.approx(2.8016**2 * 0.2 / (0.02 * 0.8) ** 2, rel=0.05)
    assert found.show_alone == pytest.approx(2.8016**2 * 0.2 / (0.01 * 0.8) ** 2, rel=0.05)
    # Bonferroni over six: 2.6383 instead of 1.96.
    assert found.find / found.find_alone == pytest.approx((2.6383 + 0.8416) ** 2 / 2.8016**2, rel=0.08)
    assert found.show / found.show_alone == pytest.approx((2.6383 + 0.8416) ** 2 / 2.8016**2, rel=0.08)
    assert found.width == pytest.approx(2.6383 * 100 / 0.8 * np.sqrt(0.2 / 5000), rel=0.001)
    assert found.detectable == pytest.approx((2.6383 + 0.8416) * 100 / 0.8 * np.sqrt(0.2 / 5000), rel=0.03)
    assert found.answers == 5000 * 7
    assert found.hours == pytest.approx(35_000 * 0.5 / 3600)


def test_a_plan_without_a_pilot_says_what_it_assumes():
    text = told()
    assert text.startswith("Assumed, not measured (--pilot RUN measures it on your model and data):\n")
    assumption = text.splitlines()[1]
    for said in ("score 70.0 %", "18.0 % of the samples", "design effect 1.30", "2.0 questions an image"):
        assert said in assumption
    assert "for a power of 80 % (differences and margins are points of accuracy kept)" in text
    other = told("--score", 0.9, "--discordance", 0.05, "--deff", 1, "--questions", 3).splitlines()[1]
    for said in ("score 90.0 %", "5.0 % of the samples", "design effect 1.00", "3.0 questions an image"):
        assert said in other


def test_the_margin_is_that_of_a_run():
    text = told("--margin", 2, "--difference", 5)
    assert "non-inferior within 2 points (run --margin 2)" in text
    assert number(text, "non-inferior within 2") == pytest.approx(
        number(told("--margin", 1), "non-inferior within 1") / 4, rel=0.1
    )
    assert "a difference of 5 points" in text


def test_sizes_of_tasks_count():
    even, uneven = told("--sizes", "3825,3825,3825,3825"), told("--sizes", "few=300,a=5000,b=5000,c=5000")
    assert number(uneven, "find a difference") > 3.5 * number(even, "find a difference")
    assert "With 15,300 samples on about 7,650 images (few 300, a 5,000, b 5,000, c 5,000):" in uneven
    assert "task 1 3,825" in even


@pytest.mark.parametrize("sizes", ["a=3,4", "a=3,a=4", "0", "x", "a=", "=3,a=4", "-1"])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(UsageError, match="--sizes"):
        CliRunner().invoke(cli, ["plan", f"--sizes={sizes}"], catch_exceptions=False, standalone_mode=False)


def test_too_few_samples_are_said_to_show_nothing():
    text = told("--samples", 3)
    assert "none  smallest difference" in text
    assert "none  smallest margin" in text


def test_one_strategy_is_compared_with_vanilla():
    text = told("--num-strategies", 1, "--num-budgets", 1)
    assert "to find a difference of 1 point between a strategy and vanilla" in text
    assert "table" not in text
    assert "alone" not in text


def test_the_command_measures_a_run(tmp_path):
    run = made_run(tmp_path / "run", samples=40)
    text = told("--pilot", run, "--seconds", 1)
    assert "Measured on the pilot, toy-llava, 2 strategies and budgets:" in text
    assert "  attribute: vanilla's score" in text
    assert "Assumed" not in text
    assert "With 40 samples on about 40 images:" in text
    assert "about 0.1 device hours" in text  # 40 samples, seven cells, one second
    assert "about 0.0 device hours" in told("--pilot", run)  # at the pilot's own seconds
    sized = told("--pilot", run, "--sizes", "attribute=900")
    assert "With 900 samples on about 900 images:" in sized
    for wrong in ("other=900", "1,2"):
        result = CliRunner().invoke(cli, ["plan", "--pilot", str(run), "--sizes", wrong])
        assert "attribute=N" in str(result.exception) + str(getattr(result.exception, "hint", ""))


def changed(run, *changes):
    """The run with other words in its manifest."""
    manifest = run / "run.json"
    for old, new in changes:
        assert old in manifest.read_text()
        manifest.write_text(manifest.read_text().replace(old, new))
    return run


def test_tasks_are_as_large_as_those_of_the_pilots_suite(tmp_path):
    """A pilot asks the first few samples of a task; its manifest says how many there are."""
    run = made_run(tmp_path / "run", samples=6)
    assert "With 6 samples on" in told("--pilot", run)
    changed(run, ('"limit": null', '"limit": 6'), ('"samples": 6', '"samples": 6, "of": 2374'))
    assert "With 2,374 samples on" in told("--pilot", run)
    assert "With 70 samples on" in told("--pilot", run, "--samples", 70)


def test_a_pilot_that_does_not_know_how_large_tasks_are_says_so(tmp_path):
    run = changed(made_run(tmp_path / "run"), ('"limit": null', '"limit": 6'))
    note = "The pilot ran 6 samples of each task. All tasks are assumed to have the same size"
    assert note in told("--pilot", run)
    assert "With 5,000 samples" in told("--pilot", run)
    assert note not in told("--pilot", run, "--sizes", "attribute=70")


def test_the_margin_of_a_pilot_is_planned_for(tmp_path):
    run = changed(made_run(tmp_path / "run"), ('"limit": null', '"limit": null, "margin": 2.5'))
    assert "run --margin 2.5" in told("--pilot", run)
    assert "run --margin 4" in told("--pilot", run, "--margin", 4)


def test_a_pilot_counts_what_its_tasks_count(tmp_path, monkeypatch):
    """A task whose metric counts pairs of questions has half as many units as questions."""
    rows = pilot(a=(20, 0)).query("task == 'single'")
    unit = rows["sample"].str[1:].astype(int) // 2
    rows = rows.assign(task="attribute", kept=[[0]] * len(rows), unit=unit.map("u{}".format), text_tokens=5)
    monkeypatch.setattr(Run, "samples", lambda _: rows)
    monkeypatch.setattr(Run, "_numbers", lambda _: rows.assign(kept=1))
    [about] = measure_pilot(Run.open(made_run(tmp_path / "run", 200)), sized=False).values()
    assert about.against_vanilla["attribute"].share == 100
    assert about.against_vanilla["attribute"].discordance == pytest.approx(10.5 / 101)


def test_a_pilot_of_vanilla_alone_is_refused(tmp_path, monkeypatch):
    assert measure_assumptions(pilot()) == {}
    run = made_run(tmp_path / "run")
    samples = Run.open(run).samples()
    samples = samples[samples["strategy"] == "vanilla"]
    monkeypatch.setattr(Run, "samples", lambda _: samples)
    monkeypatch.setattr(Run, "_numbers", lambda _: samples.assign(kept=1))
    with pytest.raises(UsageError, match="vanilla only"):
        measure_pilot(Run.open(run), sized=False)


def test_a_pilot_without_times_leaves_the_hours_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.made.record", lambda *about: {**record(*about), "seconds": None})
    assert "answers; the hours are unknown: give --seconds" in told("--pilot", made_run(tmp_path / "run"))

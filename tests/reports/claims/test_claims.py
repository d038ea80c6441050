"""The ledger of published numbers."""

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tokenbench_reports.claims
from tests.reports.made_up import answers, made_up
from tokenbench.cli import cli
from tokenbench.comparison import compare
from tokenbench.comparison.noise import Disagreement, mark_noise_floor
from tokenbench_reports.claims import Claim, audit, compare_claims, find_differing, group_rows, ledger, short_name
from tokenbench_reports.claims.comparing import Measured, _not_comparable, verdict
from tokenbench_reports.html import render_page


def claim(method, task, value, budget="192", note="", source="a paper", unit="score"):
    return Claim(source, method, "llava-1.5-7b", budget, task, value, unit, note)


VANILLA = [claim("vanilla", "gqa", 60.0, "576"), claim("vanilla", "pope", 80.0, "576")]
MODEL = "llava-hf/llava-1.5-7b-hf"


@cache
def run(images, budgets=("1/3", "1/9")):
    comparison, _ = made_up(
        {"fastv": 0.0, "tome": 0.5}, models=(MODEL,), tasks=("gqa", "pope_full"), budgets=budgets, images=images
    )
    return comparison


def found(rows, images=40, **about):
    return compare_claims(run(images), {"spec": {"limit": None, **about}}, [*VANILLA, *rows]).to_dict("records")


def test_the_ledger_is_whole():
    claims = ledger()
    assert len(claims) == 846
    assert {claim.method for claim in claims} >= {"clse", "fastv", "pdrop", "vanilla"}
    assert not [claim for claim in claims if not claim.source or not claim.task]


def test_a_row_becomes_retention_by_its_own_vanilla():
    [_, row] = group_rows([*VANILLA, claim("fastv", "gqa", 57.0), claim("fastv", "pope", 60.0)])
    assert row.cells == {"gqa": 95.0, "pope": 75.0}
    assert row.share == pytest.approx(1 / 3)


def test_the_audit_finds_means_that_do_not_follow():
    cells = [claim("fastv", "gqa", 57.0), claim("fastv", "pope", 60.0)]
    right, wrong = (claim("fastv", "mean_retention", value, unit="percent") for value in (85.0, 88.0))
    assert list(audit(group_rows([*VANILLA, *cells, right]))) == []
    [text] = audit(group_rows([*VANILLA, *cells, wrong]))
    assert "the printed mean is 88, but the mean of its 2 cells is 85.0" in text


def test_the_audit_of_the_ledger_finds_the_known_errors():
    findings = list(audit(group_rows(ledger())))
    for text in ("tome on llava-1.5-7b at 192: the printed mean is 84.8", "tome on llava-1.5-7b at 64: the printed mean is 67.4",
                 "fastv on llava-1.5-7b at 64: the printed mean is 74, but the mean of its 8 cells is 73.6",
                 "fastv on llava-1.5-7b at 192: row shifted", "tome on llava-1.5-7b at 192: row shifted"):  # fmt: skip
        assert any(text in finding for finding in findings)
    assert len(findings) == 5


def test_sources_that_differ_are_no_errors_and_are_listed_apart():
    rows = group_rows(ledger())
    apart = list(find_differing(rows))
    assert len(apart) == 17
    assert all("accuracy kept differs between" in text for text in apart)
    assert not any("differs" in text for text in audit(rows))


def test_a_row_known_to_be_shifted_is_compared_by_its_right_columns():
    """ScienceQA's 67.3 stands in the column of POPE, where FastV has 64.8 of vanilla's 85.9."""
    [row] = [
        row
        for row in group_rows(ledger())
        if row.name.endswith("Table 1: fastv on llava-1.5-7b at 192") and "CLSE" in row.source
    ]
    assert row.claims["pope"].value == 67.3
    assert row.cells["pope"] == pytest.approx(100 * 64.8 / 85.9)
    assert row.cells["scienceqa"] == pytest.approx(100 * 67.3 / 69.5)
    assert sum(row.cells.values()) / len(row.cells) == pytest.approx(91.8, abs=0.05)  # as the ledger's note has it
    apart = [text for text in find_differing(group_rows(ledger())) if " at 192" in text]
    assert any("pope 75.4 and 88.2" in text for text in apart)
    assert any("pope 84.3 and 101.2" in text for text in apart)


def test_a_shifted_row_that_nobody_put_right_is_not_compared():
    other = [
        claim("vanilla", "gqa", 60.0, "576", source="another"), claim("fastv", "gqa", 40.0, source="another")
    ]  # fmt: skip
    assert list(find_differing(group_rows([*VANILLA, claim("fastv", "gqa", 60.0), *other]))) != []
    shifted = claim("fastv", "gqa", 60.0, note="row shifted in print")
    assert list(find_differing(group_rows([*VANILLA, shifted, *other]))) == []


def test_every_correction_says_where_it_comes_from():
    path = Path(tokenbench_reports.claims.__file__).with_name("corrections.csv")
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    assert len(rows) == sum(claim.corrected is not None for claim in ledger())
    assert all(row["evidence"] for row in rows)


def test_published_numbers_stand_beside_measured_ones():
    rows = found(
        [claim("fastv", "gqa", 60.0), claim("tome", "pope", 79.0), claim("tome", "gqa", 30.0, "64")], images=600
    )
    verdicts = {(row["strategy"], row["task"], row["budget"]): row["verdict"] for row in rows}
    assert verdicts[("fastv", "gqa", "1/3")] == "reproduced"
    assert verdicts[("tome", "pope", "1/3")] == "not reproduced"
    assert len(rows) == 3
    assert rows[0]["claimed"] == 1.0
    assert {row["yardstick"] for row in rows} == {"new images"}


def test_a_small_run_reproduces_nothing():
    """The number lies in the interval of 40 images as it does in that of 600, but 40 images could not have said otherwise."""
    few, many = (found([claim("fastv", "gqa", 59.7)], images=images)[0] for images in (40, 600))
    assert few["low"] <= 0.995 <= few["high"]
    assert few["verdict"] == "undecided"
    assert "points" in few["why"]
    assert many["verdict"] == "reproduced"
    [far] = found([claim("fastv", "gqa", 30.0)], images=40)
    assert far["verdict"] == "not reproduced"


@pytest.mark.parametrize("half", [0.001, 0.019, 0.021, 0.3, float("nan")])
def test_the_verdict_is_read_off_the_limits_that_stand_beside_it(half):
    limits = Measured(0.95, 0.95 - half, 0.95 + half, "new images")
    for claimed in (0.5, 0.93, 0.9495, 0.95, 0.96, 0.97, 1.4):
        word, _ = verdict(claimed, 0.0, limits)
        outside = claimed < limits.low or claimed > limits.high
        if np.isnan(half):
            assert word == "undecided"
        elif outside:
            assert word == "not reproduced"
        else:
            assert word == ("reproduced" if half <= 0.02 else "undecided")


def twice(flips, images=500):
    """A run and vanilla's second one, which flips some answers of one task."""
    rows = answers(
        {"fastv": 0.02, "vanilla#B": 0.0}, tasks=("gqa", "pope"), images=images, models=(MODEL,), budgets=("1/3",)
    )
    again = rows["strategy"] == "vanilla#B"
    rows.loc[again, "budget"] = "all"
    at = rows[again & (rows["task"] == "gqa")].index[:flips]
    rows.loc[at, "score"] = 1 - rows.loc[at, "score"]
    if not flips:
        rows = rows[~again]
    compared = compare(rows.assign(kept=rows["kept"].map(len)), resamples=199)
    return replace(compared, pairs=mark_noise_floor(compared.pairs))


def test_the_yardstick_for_the_same_images_is_the_a_a_check():
    rows = [*VANILLA, claim("fastv", "gqa", 59.0), claim("fastv", "pope", 78.8)]
    [gqa, pope] = compare_claims(twice(12), {"spec": {}}, rows).to_dict("records")
    assert {gqa["yardstick"], pope["yardstick"]} == {"same images"}
    assert gqa["low"] < gqa["measured"] < gqa["high"]
    # Where none of 500 answers flipped there may be three that would; where 12 did there may be 19.
    for row, most in ((gqa, 19.44), (pope, 3.0)):
        score = 0.8  # about
        expected = 1.96 * np.sqrt(most * (1 + row["measured"] ** 2)) / 500 / score
        assert (row["high"] - row["low"]) / 2 == pytest.approx(expected, rel=0.06)
    [none, _] = compare_claims(twice(0), {"spec": {}}, rows).to_dict("records")
    assert none["yardstick"] == "same images"
    assert none["high"] - none["low"] < gqa["high"] - gqa["low"]


def test_limits_for_the_same_images_hold_where_only_answers_flip():
    """Two runs on the same images, every score of each flipped with a probability of 1 %: their retentions differ by less in 95 %."""
    rng, images, inside = np.random.default_rng(0), 1000, 0
    vanilla, strategy = (rng.uniform(size=(2, images)) < [[0.8], [0.7]]).astype(float)

    def flipped(right):
        return np.abs(right - (rng.uniform(size=(2000, images)) < 0.01)).mean(axis=1)

    first, second = flipped(strategy) / flipped(vanilla), flipped(strategy) / flipped(vanilla)
    counts = rng.binomial(images, 2 * 0.01 * 0.99, 2000)  # of samples on which two runs of vanilla differ
    half = [
        1.96 * np.sqrt(Disagreement(count, count).variance * (1 + r**2)) / images / 0.79
        for count, r in zip(counts, first, strict=True)
    ]
    inside = np.mean(np.abs(first - second) <= half)
    assert 0.95 <= inside <= 0.998


def test_flips_on_one_image_go_together():
    assert Disagreement(12, 3).variance == pytest.approx(4 * Disagreement(12, 12).variance)
    assert Disagreement().variance == pytest.approx(-np.log(0.05))  # the rule of three


def test_both_runs_of_two_are_held_against_the_ledger():
    rows = answers({"fastv#A": 0.0, "fastv#B": 0.1}, tasks=("gqa",), images=60, models=(MODEL,), budgets=("1/3",))
    compared = compare(rows.assign(kept=rows["kept"].map(len)), resamples=199)
    found = compare_claims(compared, {"spec": {}}, [*VANILLA, claim("fastv", "gqa", 60.0)])
    assert list(found["strategy"]) == ["fastv#A", "fastv#B"]


@pytest.mark.parametrize(
    ("rows", "about", "why"),
    [
        ([claim("fastv", "gqa", 60.0)], {"limit": 8}, "only 8 samples"),
        ([claim("fastv", "gqa", 60.0)], {"match": "flops"}, "matched by flops"),
        ([claim("fastv", "gqa", 60.0, note="row shifted in print")], {}, "shifted"),
        ([claim("fastv", "gqa", 60.0), claim("fastv", "mean_retention", 100.0, unit="percent")], {}, "other tasks"),
        (
            [
                claim("fastv", "gqa", 60.0),
                claim("fastv", "pope", 80.0),
                claim("fastv", "mean_retention", 97.0, unit="percent"),
            ],
            {},
            "does not follow from its cells",
        ),
        (
            [
                replace(claim("fastv", "gqa", 54.0), corrected=60.0),
                claim("fastv", "pope", 80.0),
                claim("fastv", "mean_retention", 95.0, unit="percent"),
            ],
            {},
            "numbers of other columns",
        ),
    ],
)
def test_what_is_not_comparable_says_why(rows, about, why):
    row = found(rows, **about)[-1]
    assert row["verdict"] == "not comparable"
    assert why in row["why"]


@pytest.mark.parametrize("task", ["vqav2", "mean_retention"])
def test_questions_that_a_paper_asked_elsewhere_are_not_compared(task):
    """A run of vqav2_val would else be held against numbers on test-dev."""
    [row] = [
        row
        for row in group_rows(ledger())
        if "2602.04657" in row.source and (row.method, row.budget) == ("scope", "64")
    ]
    assert "test-dev" in _not_comparable(row, task, {}, set(row.cells))
    assert _not_comparable(row, "gqa", {}, set(row.cells)) == ""


def test_names_of_models_are_those_of_the_ledger():
    assert short_name("llava-hf/llava-1.5-7b-hf@main") == "llava-1.5-7b"
    assert short_name("liuhaotian/llava-v1.5-7b") == "llava-1.5-7b"
    assert short_name("Qwen/Qwen2-VL-7B-Instruct") == "qwen2-vl-7b"


def test_the_page_holds_them_for_a_real_model_and_not_for_another():
    tasks = ("gqa", "pope")
    own = render_page(*made_up({"fastv": 0.1}, models=("llava-1.5-7b",), tasks=tasks, budgets=("1/3",)))
    assert "Published accuracy kept % beside measured" in own
    assert "compare the order, never the numbers" not in own
    other = render_page(*made_up({"fastv": 0.1}, tasks=tasks, budgets=("1/3",)))
    assert "Published accuracy kept % beside measured" not in other
    assert "compare the order, never the numbers" in other
    assert "96.0 (RESTORE, llava-1.5-7b)" in other
    assert "Beside published numbers" not in render_page(*made_up({"unknown": 0.1}, budgets=("1/3",)))


def test_the_command_lists_filters_and_audits():
    run = CliRunner().invoke
    assert "CLSE, arXiv 2606.24165, Table 1: tome on llava-1.5-7b at 192" in run(cli, ["claims"]).output
    chosen = run(cli, ["claims", "--methods", "tome"]).output
    assert "fastv on" not in chosen
    assert "the printed mean is 84.8" in chosen
    assert "pope 65.2 (corrected: 72.4)" in chosen
    audited = run(cli, ["claims", "--audit"]).output
    assert "\n5 inconsistencies within one source:\n" in audited
    assert "\n17 rows on which two sources differ by more than 5 points" in audited
    assert (
        audited.index("the printed mean is 84.8")
        < audited.index("two sources differ")
        < audited.index("accuracy kept differs")
    )
    assert "did you mean tome" in str(run(cli, ["claims", "--methods", "tomee"]).exception)

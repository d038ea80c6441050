"""The ledger of published numbers."""

import pytest
from click.testing import CliRunner

from tests.reports.made_up import made_up
from tokenbench.claims import Claim, audit, beside, ledger, printed_rows, short_name
from tokenbench.cli import cli
from tokenbench_reports.html import page


def claim(method, task, value, budget="192", note="", source="a paper", unit="score"):
    return Claim(source, method, "llava-1.5-7b", budget, task, value, unit, note)


VANILLA = [claim("vanilla", "gqa", 60.0, "576"), claim("vanilla", "pope", 80.0, "576")]


def found(rows, **about):
    comparison, _ = made_up(
        {"fastv": 0.0, "tome": 0.5},
        models=("llava-hf/llava-1.5-7b-hf",),
        tasks=("gqa", "pope_full"),
        budgets=("1/3", "1/9"),
    )
    return beside(comparison, {"spec": {"limit": None, **about}}, [*VANILLA, *rows]).to_dict("records")


def test_the_ledger_is_whole():
    claims = ledger()
    assert len(claims) == 649
    assert {claim.method for claim in claims} >= {"clse", "fastv", "pdrop", "vanilla"}
    assert not [claim for claim in claims if not claim.source or not claim.task]


def test_a_row_becomes_retention_by_its_own_vanilla():
    [_, row] = printed_rows([*VANILLA, claim("fastv", "gqa", 57.0), claim("fastv", "pope", 60.0)])
    assert row.cells == {"gqa": 95.0, "pope": 75.0}
    assert row.share == pytest.approx(1 / 3)


def test_the_audit_finds_means_that_do_not_follow():
    cells = [claim("fastv", "gqa", 57.0), claim("fastv", "pope", 60.0)]
    right, wrong = (claim("fastv", "mean_retention", value, unit="percent") for value in (85.0, 88.0))
    assert list(audit(printed_rows([*VANILLA, *cells, right]))) == []
    [text] = audit(printed_rows([*VANILLA, *cells, wrong]))
    assert "printed mean 88, but its 2 cells have 85.0" in text


def test_the_audit_of_the_ledger_finds_the_known_errors():
    findings = list(audit(printed_rows(ledger())))
    for text in ("tome on llava-1.5-7b at 192: printed mean 84.8", "tome on llava-1.5-7b at 64: printed mean 67.4",
                 "fastv on llava-1.5-7b at 192: row shifted", "tome on llava-1.5-7b at 192: row shifted"):  # fmt: skip
        assert any(text in finding for finding in findings)
    assert sum(": printed mean" in finding for finding in findings) == 2
    assert any("retention differs between" in finding for finding in findings)


def test_published_numbers_stand_beside_measured_ones():
    rows = found([claim("fastv", "gqa", 60.0), claim("tome", "pope", 79.0), claim("tome", "gqa", 30.0, "64")])
    verdicts = {(row["strategy"], row["task"], row["budget"]): row["verdict"] for row in rows}
    assert verdicts[("fastv", "gqa", "1/3")] == "reproduced"
    assert verdicts[("tome", "pope", "1/3")] == "not reproduced"
    assert len(rows) == 3
    assert rows[0]["claimed"] == 1.0


@pytest.mark.parametrize(
    ("rows", "about", "why"),
    [
        ([claim("fastv", "gqa", 60.0)], {"limit": 8}, "only 8 samples"),
        ([claim("fastv", "gqa", 60.0)], {"match": "flops"}, "matched by flops"),
        ([claim("fastv", "gqa", 60.0, note="row shifted in print")], {}, "shifted"),
        ([claim("fastv", "gqa", 60.0), claim("fastv", "mean_retention", 100.0, unit="percent")], {}, "other tasks"),
    ],
)
def test_what_is_not_comparable_says_why(rows, about, why):
    row = found(rows, **about)[-1]
    assert row["verdict"] == "not comparable"
    assert why in row["why"]


def test_names_of_models_are_those_of_the_ledger():
    assert short_name("llava-hf/llava-1.5-7b-hf@main") == "llava-1.5-7b"
    assert short_name("Qwen/Qwen2-VL-7B-Instruct") == "qwen2-vl-7b"


def test_the_page_holds_them_for_a_real_model_and_not_for_another():
    tasks = ("gqa", "pope")
    assert "Beside what papers print" in page(
        *made_up({"fastv": 0.1}, models=("llava-1.5-7b",), tasks=tasks, budgets=("1/3",))
    )
    assert "Beside what papers print" not in page(*made_up({"fastv": 0.1}, tasks=tasks, budgets=("1/3",)))


def test_the_command_lists_filters_and_audits():
    run = CliRunner().invoke
    assert "CLSE, arXiv 2606.24165, Table 1: tome on llava-1.5-7b at 192" in run(cli, ["claims"]).output
    chosen = run(cli, ["claims", "--methods", "tome"]).output
    assert "fastv on" not in chosen
    assert "printed mean 84.8" in chosen
    assert "did you mean tome" in str(run(cli, ["claims", "--methods", "tomee"]).exception)

"""Published numbers as rows of other formats, and what it takes to verify one."""

import csv
import io
import json
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

from tests.reports.claims.test_claims import VANILLA, claim, run
from tokenbench.cli import cli
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import registry
from tokenbench_reports.claims import group_rows, ledger
from tokenbench_reports.claims.verifying import find_claim, judge_claim, measured_hours, plan_verification


def call(*words):
    return CliRunner().invoke(cli, words)


def numbers(*words):
    return list(csv.DictReader(io.StringIO(call("claims", *words, "--format", "csv").output)))


def test_every_number_has_an_id_of_its_own():
    ids = [claim.id for claim in ledger()]
    assert len(set(ids)) == len(ids)
    assert all(find_claim(one.id) is one for one in ledger()[::50])


def test_filters_and_formats_hold_the_same_numbers():
    chosen = ("--methods", "holov,scope", "--tasks", "gqa,pope", "--budgets", "64")
    rows = numbers(*chosen)
    assert {(row["method"], row["task"], row["budget"]) for row in rows} == {
        (method, task, "64") for method in ("holov", "scope") for task in ("gqa", "pope")
    }
    assert [row["id"] for row in rows] == [
        row["id"] for row in json.loads(call("claims", *chosen, "--format", "json").output)
    ]
    assert f"\n{len(rows)} published numbers" in call("claims", *chosen).output
    assert len(numbers()) == len(ledger())
    assert "did you mean gqa" in str(call("claims", "--tasks", "gqq").exception)


def test_the_table_of_pio_fvlm_adds_up():
    """Means that were not typed but printed: of 21 rows, all but one are the mean of their typed cells."""
    rows = [row for row in group_rows(ledger()) if "2602.04657" in row.source and row.method != "vanilla"]
    off = [row.name for row in rows if abs(sum(row.cells.values()) / 8 - row.claims["mean_retention"].value) > 0.15]
    assert len(rows) == 21
    assert [name.rpartition(": ")[2] for name in off] == ["fastv on llava-1.5-7b at 64"]


def test_a_plan_names_command_samples_and_answers():
    [one] = numbers("--methods", "clse", "--backbones", "llava-1.5-7b", "--tasks", "gqa", "--budgets", "192")
    said = call("verify", one["id"]).output
    assert (
        "--suite image-public --tasks gqa --models llava-1.5-7b --strategies clse --budgets 192 --dtype float16" in said
    )
    assert "gqa (12,578); 25,156 answers with vanilla's" in said
    mean = next(row for row in numbers("--methods", "clse", "--tasks", "mean_retention", "--budgets", "192"))
    assert len(plan_verification(find_claim(mean["id"]), registry()).tasks) == 9


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--methods", "vanilla", "--tasks", "gqa"), "only the accuracy of a method can be verified"),
        (("--methods", "clse", "--tasks", "kv_cache"), "only the accuracy of a method can be verified"),
        (("--methods", "window-fastv", "--tasks", "gqa"), "'window-fastv', which is none of the strategies"),
        (("--methods", "holov", "--tasks", "vqav2"), "papers report VQAv2 on test-dev"),
    ],
)
def test_what_cannot_be_verified_says_why(words, why):
    with pytest.raises(UsageError, match=why):
        plan_verification(find_claim(numbers(*words)[0]["id"]), registry())
    with pytest.raises(UsageError, match="holds no number with the id 'nothing'"):
        find_claim("nothing")


def test_the_verdict_is_that_of_the_budget_and_task_of_the_number():
    """FastV keeps all of vanilla's accuracy in the made-up run."""
    met, missed = claim("fastv", "gqa", 60.0), claim("fastv", "pope", 20.0)
    claims, about = [*VANILLA, met, missed, claim("fastv", "gqa", 60.0, "64")], {"spec": {"limit": None}}
    [text] = judge_claim(met, run(40), about, claims)
    assert text.startswith("undecided: a paper prints 100.0 % of the accuracy, and 100.0 % [")
    assert "(fastv at 1/3 on" in text
    assert judge_claim(missed, run(40), about, claims)[0].startswith("not reproduced")
    assert judge_claim(claim("dart", "gqa", 60.0), run(40), about, [*VANILLA, claim("dart", "gqa", 60.0)]) == []


def test_hours_are_those_of_the_run_at_hand():
    """Half a second for each of 25,156 answers; another method's time does not count."""
    [one] = numbers("--methods", "clse", "--backbones", "llava-1.5-7b", "--tasks", "gqa", "--budgets", "192")
    seconds = pd.DataFrame({"strategy": ["vanilla", "clse", "fastv"], "seconds": [0.6, 0.4, 9.0]})
    found = SimpleNamespace(samples=lambda columns: seconds)
    plan = plan_verification(find_claim(one["id"]), registry())
    assert measured_hours(plan, found) == pytest.approx(25_156 * 0.5 / 3600)

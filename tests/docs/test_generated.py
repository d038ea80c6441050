"""The pages of strategies as the site's own extension makes them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT
from tests.strategies import test_recorded_decoder, test_recorded_encoder, test_recorded_further
from tests.strategies.recorded import FACTS
from tokenbench.cost.table import costs
from tokenbench.registry.plugins import registry


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs/_ext")
    import strategy_pages

    yield strategy_pages
    del sys.modules["strategy_pages"]


def test_every_strategy_has_a_page_and_no_other_is_left(pages: Any, tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("# gone\n")
    pages.write(tmp_path)
    names = registry().names("strategies")
    assert sorted(path.stem for path in tmp_path.glob("*.md")) == names
    assert all(f"](strategies/{name}.md)" in (tmp_path / "table.txt").read_text() for name in names)


def test_the_means_of_a_page_are_those_of_the_cost_table(pages: Any, tmp_path: Path) -> None:
    names = ["clse", "dart", "fastv", "pdrop", "priortr", "divprune"]
    table = costs("llava-1.5-7b", names, [str(b) for b in pages.BUDGETS], registry(), None, 50, "float16", "nominal")
    for row in table.rows[1:]:
        (line,) = [
            line
            for line in pages.page(row.strategy, registry().get("strategies", row.strategy), tmp_path).splitlines()
            if line.startswith(f"| {row.budget} |")
        ]
        assert line.endswith(f"| {row.mean_tokens:.1f} |")


def test_a_page_counts_the_recorded_cases_that_tests_compare(pages: Any, tmp_path: Path) -> None:
    """Of every method: the cases in the data, and those that a test of the method is run on."""
    known = tomllib.loads(pages.FIDELITY.read_text(encoding="utf-8"))
    recorded = {method: set(found) for method, found in FACTS.items()}
    recorded |= {method: set(test_recorded_further.named(method)) for method in known if method not in recorded}
    compared: dict[str, set[str]] = {}
    for module in (test_recorded_decoder, test_recorded_encoder, test_recorded_further):
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", []):
                for case in mark.args[1] if mark.args[0] == "case" else ():
                    compared.setdefault(case.method, set()).add(case.name)
    for method in ("clse", "attention"):  # schedules, which tests/strategies/test_methods.py compares
        compared[method] |= {"schedule-llava", "schedule-qwen2-vl"}
    assert {name: (one["cases"], one["equal"]) for name, one in known.items()} == {
        name: (len(recorded[name]), len(compared.get(name, ()))) for name in known
    }
    page = pages.page("visionzip", registry().get("strategies", "visionzip"), tmp_path)
    assert "18 of 36 recorded cases are equal" in page
    assert "| order |  | \\[CLS\\], dominant by position, contextual | dominant by position, contextual |" in page


def test_formulas_survive_markdown(pages: Any) -> None:
    assert pages._escaped("the first t*h*w of `a*b`, |S_l|") == r"the first t\*h\*w of `a*b`, \|S\_l\|"
    assert pages.SETTING.sub(r"`\1`", "as clse:layers=3:kv=keep. K = 2") == "as `clse:layers=3:kv=keep`. K = 2"

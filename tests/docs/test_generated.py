"""The pages of strategies as the site's own extension makes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT
from tokenbench.cost.table import costs
from tokenbench.registry.plugins import registry


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs/_ext")
    import strategy_pages

    yield strategy_pages
    del sys.modules["strategy_pages"], sys.modules["method_tables"]


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


def test_a_page_counts_the_recorded_cases(pages: Any, tmp_path: Path) -> None:
    """tests/docs/test_recorded.py holds the counts to the tests."""
    page = pages.page("visionzip", registry().get("strategies", "visionzip"), tmp_path)
    assert "36 of 36 recorded cases are equal. 18 of them with `released=yes`" in page
    assert "| order |  | \\[CLS\\], dominant by position, contextual | dominant by position, contextual |" in page


def test_tables_about_all_methods_are_written(pages: Any, tmp_path: Path) -> None:
    pages.write(tmp_path)
    recorded = (tmp_path / "recorded.txt").read_text()
    assert "| [`clse`](strategies/clse.md) | 44 of 44, and 12 of 12 whole prefills |" in recorded
    assert "| [`clse-m`](strategies/clse-m.md) | none recorded | No code was released" in recorded
    assert (tmp_path / "lines.txt").read_text().startswith("The median is ")
    assert "| [`v2drop`](strategies/v2drop.md) | 288/86/1 (193." in (tmp_path / "counts.txt").read_text()


def test_formulas_survive_markdown(pages: Any) -> None:
    assert pages.escape("the first t*h*w of `a*b`, |S_l|") == r"the first t\*h\*w of `a*b`, \|S\_l\|"
    assert pages.marked("as clse:layers=3:kv=keep. K = 2") == "as `clse:layers=3:kv=keep`. K = 2"

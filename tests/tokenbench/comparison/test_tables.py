"""The tables of a comparison: one definition, the same in every format."""

import html
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reports.made_up import made_up
from tokenbench.comparison import Comparison, tables
from tokenbench.comparison.tables import cells_table, main_tables, pairs_table, tasks_table, verdict_entry
from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench.tables import Column, Entry, Room, Table, escape_markdown, to_html
from tokenbench_reports.details import DetailsReport
from tokenbench_reports.html import HtmlReport
from tokenbench_reports.latex import LatexReport
from tokenbench_reports.markdown import MarkdownReport

REPORTS = (DetailsReport, MarkdownReport, LatexReport)  # the page draws the same cells in its own way


@pytest.fixture(scope="module")
def made() -> tuple[Comparison, object]:
    return made_up({"good": 0.0, "fair": 0.1, "bad": 0.5}, budgets=("1/2", "1/4"), images=24)


def written(report: type, made: tuple[Comparison, object], folder: Path) -> str:
    out = io.StringIO()
    paths = report().write(*made, folder, out)
    return paths[0].read_text() if paths else out.getvalue()


def test_a_new_column_is_one_edit_and_stands_in_every_format_of_text(
    made: tuple[Comparison, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def with_one_more(title, columns, records, **more):  # type: ignore[no-untyped-def]
        new = Column("brand new", lambda record: Entry("of interest"), room=Room.PAPER)
        return Table.of(title, [*columns, new], records, **more)

    monkeypatch.setattr(tables, "Table", type("Table", (), {"of": staticmethod(with_one_more)}))
    for report in REPORTS:
        text = written(report, made, tmp_path)
        assert "brand new" in text
        assert text.count("of interest") >= 7, report


def test_a_verdict_has_one_tone_in_every_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    verdicts = [Verdict(kind, 1.0) for kind in Kind]
    loses = {f"s{at:02d}": 0.1 for at in range(len(verdicts))}
    comparison, run = made_up(loses, budgets=("1/2",), images=6, tasks=("one",))
    given = [verdicts[at % len(verdicts)] for at in range(len(comparison.pairs))]  # the first family is against vanilla
    comparison = replace(comparison, pairs=comparison.pairs.assign(verdict=given, mde=float("nan")))
    table = cells_table(comparison, "toy")
    assert {(entry.text, entry.tone, entry.symbol) for *_, entry in (row.entries for row in table.rows[1:])} == {
        (verdict.text, verdict.tone, verdict.symbol) for verdict in verdicts
    }
    assert all(f"{verdict.symbol} {verdict.text}<" in to_html(table) for verdict in verdicts)

    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})()
    DetailsReport().write(comparison, run, tmp_path, out)
    page = written(HtmlReport, (comparison, run), tmp_path)
    for verdict in verdicts:
        codes = set(re.findall(rf"\x1b\[([\d;]+)m{re.escape(verdict.text)}\s*\x1b", out.getvalue()))
        assert codes == {{"good": "32", "bad": "31", "neutral": "2"}[verdict.tone]}, verdict
        assert set(re.findall(rf'title="{re.escape(html.escape(verdict.text))}">([^<]+)<', page)) == {verdict.answer}, (
            verdict
        )


def test_names_that_begin_like_a_verdict_have_no_tone() -> None:
    comparison, _ = made_up({"better-than-all": 0.0, "worse": 0.3}, budgets=("1/2",), images=12)
    for table in (cells_table(comparison, "toy"), pairs_table(comparison, "toy"), tasks_table(comparison, "toy")):
        named = [entry for row in table.rows for entry in row.entries[: table.keys]]
        assert {"better-than-all", "worse"} <= {entry.text for entry in named}
        assert {entry.tone for entry in named} == {""}


def test_the_top_group_stands_out_and_vanilla_comes_first(made: tuple[Comparison, object]) -> None:
    table, pairs = cells_table(made[0], "toy"), made[0].pairs.query("family == 'F2'")
    names = [(row.entries[0].text, row.entries[1].text) for row in table.rows]
    assert names[:2] == [("vanilla", "all"), ("good", "1/2")]
    assert [row.group for row in table.rows] == ["", *["1/2"] * 3, *["1/4"] * 3]
    strong = {name for row, name in zip(table.rows, names, strict=True) if row.strong}
    for budget in ("1/2", "1/4"):
        best = next(name for name, own in names if own == budget)
        told_apart = pairs[(pairs["budget"] == budget) & pairs["verdict"].map(lambda verdict: verdict.sign != 0)]
        behind = {
            other for pair in zip(told_apart["a"], told_apart["b"], strict=True) if best in pair for other in pair
        } - {best}
        assert {name for name, own in strong if own == budget} == {"good", "fair", "bad"} - behind
    assert 0 < len(strong) < 6  # the two are told apart


def test_a_rank_among_one_is_none() -> None:
    comparison, _ = made_up({"only": 0.2}, budgets=("1/2",), images=12)
    assert "rank" not in [column.header for column in cells_table(comparison, "toy").columns]


def test_a_comparison_shows_its_main_table(made: tuple[Comparison, object]) -> None:
    comparison, _ = made
    text, html, markdown = repr(comparison), comparison._repr_html_(), comparison._repr_markdown_()
    assert text.startswith("Comparison of 7 cells")
    assert "margin 1" in text
    [table] = main_tables(comparison)
    for row in table.rows:
        for entry in row.entries:
            assert entry.full in text
            assert escape_markdown(entry.full) in markdown
    assert html.count("<tr>") == 1 + len(table.rows)
    assert len([line for line in markdown.splitlines() if line.startswith("|")]) == 2 + len(table.rows)


def test_a_comparison_of_hostile_names_shows_text() -> None:
    comparison, _ = made_up({"<script>x</script>\x1b[2J": 0.2}, budgets=("1/2",), images=12, models=("<b>\x1b",))
    assert "\x1b" not in repr(comparison)
    assert "<script" not in comparison._repr_html_()
    assert "<b>\x1b" not in comparison._repr_html_()
    assert "\x1b" not in comparison._repr_markdown_()
    assert not re.search(r"(?<!\\)<", comparison._repr_markdown_())


def test_a_hint_stands_behind_the_words() -> None:
    assert verdict_entry(Verdict(Kind.NOT_DISTINGUISHABLE), hint="MDE 3.1").full == ("not distinguishable (MDE 3.1)")

"""Typed tables and what renders them: nothing outside may command a terminal, a page or Markdown, and no renderer changes a value."""

import re

import pytest

from tokenbench.tables import NOTHING, Column, Entry, Room, Table, text_table, to_html, to_markdown

HOSTILE = "<script>x</script>\x1b[2J|*a*\n[b](http://c)"
RECORDS = [("vanilla", "", 1.0), ("good", "1/3", 0.5), (HOSTILE, "1/3", float("nan"))]


def share(record: tuple[str, str, float]) -> Entry:
    return Entry.number(f"{100 * record[2]:.0f} %", record[2], tone="bad", symbol="▼", hint="why & how", short="half")


def table() -> Table:
    columns = [
        Column("name", lambda record: record[0], key=True, room=Room.PAPER),
        Column("share", share, short="s"),
        Column("nothing", lambda record: Entry.number("", float("nan")), optional=True),
        Column("wide", lambda record: "w", room=Room.PAGE, left=True),
    ]
    return Table.of("T", columns, RECORDS, group=lambda record: record[1], strong=lambda record: record[0] == "good")


def test_a_column_without_any_number_is_left_out_if_it_may() -> None:
    assert [column.header for column in table().columns] == ["name", "share", "wide"]
    some = Column("nothing", lambda record: Entry.number("1", record[2]), optional=True)
    assert len(Table.of("T", [some], RECORDS).columns) == 1


def test_columns_are_shown_where_there_is_room() -> None:
    shown = {room: [column.header for column in table().fit(room).columns] for room in Room}
    assert shown == {Room.PAPER: ["name"], Room.TERMINAL: ["name", "share"], Room.PAGE: ["name", "share", "wide"]}
    assert all(len(row.entries) == 2 for row in table().fit(Room.TERMINAL).rows)


def test_what_is_no_number_is_a_dash_of_no_tone() -> None:
    entry = Entry.number("nan", float("nan"), tone="good")
    assert (entry.text, entry.tone) == (NOTHING, "neutral")
    assert entry.value != entry.value


def test_text_is_aligned_and_groups_stand_apart() -> None:
    lines = text_table(table().fit(Room.TERMINAL)).splitlines()
    assert [not line for line in lines] == [False, False, True, False, False]
    assert lines[1].startswith("vanilla ")
    assert lines[1].endswith("  100 % (why & how)")
    assert lines[0].endswith("share")
    assert len({len(line) for line in (lines[0], lines[1], lines[3])}) == 1


def test_no_text_commands_a_terminal_in_an_entry_or_a_header() -> None:
    columns = [Column(HOSTILE, lambda record: Entry(record[0], hint=HOSTILE), key=True)]
    text = text_table(Table.of("T", columns, RECORDS))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert len(text.splitlines()) == 1 + len(RECORDS)
    assert r"\x1b[2J" in text


def test_html_shows_text_as_text() -> None:
    columns = [Column(HOSTILE, lambda record: Entry(record[0], hint=HOSTILE), key=True)]
    html = to_html(Table.of(HOSTILE, columns, RECORDS))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 1 + 1 + len(RECORDS) + 1
    assert to_html(table()).count("<b>") == 1
    assert "<b>good</b>" in to_html(table())
    assert "▼ 50 % (why &amp; how)" in to_html(table())


def test_markdown_shows_text_as_text_and_keeps_its_columns() -> None:
    lines = to_markdown(table().fit(Room.TERMINAL)).replace("\n[b]", " [b]").splitlines()
    assert lines[:2] == ["| name | share |", "| :--- | ---: |"]
    assert lines[3] == "| **good** | 50 % (why \\& how) |"
    assert "\\<script" in lines[4]
    assert "](" not in lines[4]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)


@pytest.mark.parametrize(("short", "brief"), [(None, "long"), ("", ""), ("s", "s")])
def test_what_stands_on_paper_is_the_short_text_where_there_is_one(short: str | None, brief: str) -> None:
    assert Entry("long", short=short).brief == brief

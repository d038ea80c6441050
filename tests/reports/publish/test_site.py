"""`tokenbench publish`: a static leaderboard of five runs, every number of which is derived a second time from the run directories."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.answered import answered
from tests.tokenbench.commands.test_running import call
from tokenbench_reports.html.cells import AXES, Cell
from tokenbench_reports.publish.equal_cost import equal_cost
from tokenbench_reports.publish.history import _order

TABLE = ["strategy", "budget"]


class Links(HTMLParser):
    """The links, the ids and the rows of tables of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.rows: list[list[str]] = []
        self._cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


def parsed(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text("utf-8"))
    return page


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    place = tmp_path_factory.mktemp("published")
    older = {"versions": {"tokenbench": "0.2.10", "torch": "2.12.0"}}
    runs = {
        "monday": answered(place / "monday", {"fastv": 0.3, "random": 0.6}, seeds=(0, 1)),
        "tuesday": answered(place / "tuesday", {"clse": 0.2}),
        "wednesday": answered(place / "wednesday", {"divprune": 0.5, "fastv": 0.3}),
        "half": answered(place / "half", {"fastv": 0.4}, spec={"dtype": "bfloat16"}),
        "older": answered(place / "older", {"fastv": 0.5, "clse": 0.2}, tasks=("attribute",), limit=20, manifest=older),
    }
    assert call("publish", *map(str, runs.values()), "-o", str(place / "site")) == 0
    return place / "site", runs


def answers_of(folder: Path) -> pd.DataFrame:
    """The answers of a run, read without TokenBench."""
    cells = json.loads((folder / "run.json").read_text())["cells"]
    return pd.concat(
        pd.read_parquet(folder / "cells" / f"{cell['id']}.parquet").assign(
            **{name: cell[name] for name in (*TABLE, "seed", "task")}
        )
        for cell in cells
    )


def derived(folder: Path) -> Iterator[dict[str, Any]]:
    """Accuracy kept and costs of every cell of a run."""
    answers = answers_of(folder)
    scores = answers.groupby([*TABLE, "task"])["score"].mean()
    vanilla = scores["vanilla", "all"]
    for (strategy, budget), own in answers.groupby(TABLE):
        mean = scores[strategy, budget]
        costs = {name: own.groupby("task")[name].mean().mean() for name in ("realised_tokens", "flops", "cache_bytes")}
        yield {
            "strategy": strategy,
            "budget": budget,
            "retention": (mean / vanilla).mean(),
            "score": mean.mean(),
            **costs,
        }


@pytest.mark.slow
def test_every_number_of_the_leaderboard_is_that_of_the_answers(published: tuple[Path, dict[str, Path]]) -> None:
    site, runs = published
    table = pd.read_csv(site / "leaderboard.csv")
    assert len(table) == 17
    for row in table.to_dict("records"):
        [own] = [
            one
            for one in derived(runs[row["run"]])
            if (one["strategy"], one["budget"]) == (row["strategy"], row["budget"])
        ]
        for name, value in own.items():
            assert row[name] == value if isinstance(value, str) else math.isclose(row[name], value, rel_tol=1e-12), name
        assert row["strategy"] == "vanilla" or row["retention_low"] < row["retention"] < row["retention_high"]


@pytest.mark.slow
def test_intervals_and_ranks_are_those_of_all_runs_compared_together(
    published: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    site, runs = published
    together = [str(runs[name]) for name in ("monday", "tuesday", "wednesday")]
    assert call("compare", *together, "--format", "csv", "-o", str(tmp_path)) == 0
    summary, pairs = (pd.read_csv(tmp_path / name) for name in ("summary.csv", "pairs.csv"))
    board = pd.read_csv(site / "leaderboard.csv").query("board == 'board-1'")
    means = summary[summary["task"] == "mean"].set_index(TABLE)
    peers = pairs[pairs["family"] == "F2"]
    for row in board.to_dict("records"):
        cell = (row["strategy"], row["budget"])
        for name in ("retention", "retention_low", "retention_high"):
            assert row[name] == means.loc[cell, name]
        if row["strategy"] != "vanilla":
            here = peers[peers["budget"] == row["budget"]]
            as_a, as_b = here[here["a"] == row["strategy"]], here[here["b"] == row["strategy"]]
            behind = (as_a["verdict"] == "worse").sum() + (as_b["verdict"] == "better").sum()
            ahead = (as_a["verdict"] == "better").sum() + (as_b["verdict"] == "worse").sum()
            low, high = 1 + behind, 4 - ahead
            assert str(row["rank"]) == (str(low) if low == high else f"{low}–{high}")


@pytest.mark.slow
def test_the_page_shows_the_numbers_of_the_table(published: tuple[Path, dict[str, Path]]) -> None:
    site, _ = published
    rows = [re.sub(r"\s+", " ", " | ".join(row)) for row in parsed(site / "index.html").rows]
    table = pd.read_csv(site / "leaderboard.csv")
    vanilla = table[table["strategy"] == "vanilla"].set_index("board")
    for row in table[table["strategy"] != "vanilla"].to_dict("records"):
        whole = vanilla.loc[row["board"]]
        flops, cache = (f"{100 * row[name] / whole[name]:.0f} %" for name in ("flops", "cache_bytes"))
        kept, rank = f"{100 * row['retention']:.1f} [", row["rank"] if isinstance(row["rank"], str) else "–"
        ending = f"{row['realised_tokens']:.1f} | {flops} | {cache} | {row['run']} command"
        found = [
            text
            for text in rows
            if text.startswith(f"{rank} | {row['strategy']}") and kept in text and text.endswith(ending)
        ]
        assert found, (row, rows)


@pytest.mark.slow
def test_every_link_leads_to_a_place_that_exists(published: tuple[Path, dict[str, Path]]) -> None:
    site, _ = published
    pages: dict[Path, Links] = {}
    links = parsed(site / "index.html").links
    assert len(links) > 40
    for link in links:
        file, _, place = link.partition("#")
        path = site / (file or "index.html")
        assert path.is_file(), link
        if place:
            place, _, query = place.partition("?")
            assert place in pages.setdefault(path, parsed(path)).ids, link
            assert (place == "samples") == bool(query)
    assert not re.search(r"(src|href)=\"(https?:)?//", (site / "index.html").read_text("utf-8"))


@pytest.mark.slow
def test_runs_of_other_dtypes_and_sample_counts_have_boards_of_their_own(
    published: tuple[Path, dict[str, Path]],
) -> None:
    table = pd.read_csv(published[0] / "leaderboard.csv")
    runs = [set(own["run"]) for _, own in table.groupby("board")]
    assert sorted(map(sorted, runs)) == [["half"], ["monday", "tuesday", "wednesday"], ["older"]]


@pytest.mark.slow
def test_the_history_goes_from_the_oldest_version_to_the_newest(tmp_path: Path) -> None:
    runs = []
    for version, loses in (("0.10.0", 0.2), ("0.9.0", 0.5), ("0.11.0", 0.2)):
        made = {"versions": {"tokenbench": version}}
        runs.append(
            answered(
                tmp_path / f"with-{version}", {"fastv": loses}, tasks=("attribute",), budgets=("1/3",), manifest=made
            )
        )
    assert call("publish", *map(str, runs), "-o", str(tmp_path / "site")) == 0
    page = parsed(tmp_path / "site" / "index.html")
    at = next(number for number, row in enumerate(page.rows) if row[:2] == ["Strategy", "Budget"])
    head, line = page.rows[at], page.rows[at + 1]
    assert [text[:11] for text in head[2:]] == ["with-0.9.0T", "with-0.10.0", "with-0.11.0"]
    kept = [
        next(own["retention"] for own in derived(tmp_path / f"with-{v}") if own["strategy"] == "fastv")
        for v in ("0.9.0", "0.10.0")
    ]
    assert line[:2] == ["fastv", "1/3"]
    assert line[3].endswith(f"{100 * (kept[1] - kept[0]):+.1f}")
    assert line[4].endswith("same")


def test_versions_are_sorted_as_numbers() -> None:
    assert sorted(["0.10.0", "0.9.1", "0.9.1.dev3", "1.0"], key=_order) == ["0.9.1", "0.9.1.dev3", "0.10.0", "1.0"]


@pytest.mark.slow
def test_a_folder_that_holds_something_is_not_overwritten(published: tuple[Path, dict[str, Path]]) -> None:
    site, runs = published
    before = sorted(site.rglob("*"))
    assert call("publish", str(runs["half"]), "-o", str(site)) == 2
    assert sorted(site.rglob("*")) == before


@pytest.mark.slow
def test_no_page_says_where_the_runs_lay(published: tuple[Path, dict[str, Path]]) -> None:
    site, runs = published
    for page in site.rglob("*.html"):
        assert str(runs["monday"].parent) not in page.read_text("utf-8")


def cell(strategy: str, budget: str, kept: float, tokens: float) -> Cell:
    nan = float("nan")
    return Cell(
        strategy, budget, (kept, kept - 5, kept + 5), {"tokens": (tokens, tokens, tokens)}, kept / 100, None, nan, nan
    )


def test_at_equal_cost_every_method_shows_its_best_that_is_cheap_enough() -> None:
    cells = [
        cell("a", "1/3", 90, 48),
        cell("a", "1/9", 60, 14),
        cell("b", "1/3", 80, 30),
        cell("b", "1/9", 85, 20),
        cell("random", "1/9", 99, 14),
    ]
    [table] = equal_cost(cells, 144)
    assert (table.axis, table.ceilings) == (AXES[0], [10, 15, 25, 40])
    texts = {name: [(entry.text, entry.budget, entry.best) for entry in entries] for name, _, entries in table.rows}
    assert list(texts) == ["a", "b", "random"]
    assert texts["a"] == [("60.0", "1/9", True), ("60.0", "1/9", False), ("60.0", "1/9", False), ("90.0", "1/3", True)]
    assert texts["b"] == [("–", "", False), ("85.0", "1/9", True), ("85.0", "1/9", True), ("85.0", "1/9", False)]


def without_costs(record: dict[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(("kept", "leaves", "visual_tokens", "lattice", "tokens_per_layer", "text_tokens"))
    return {
        **record,
        **unknown,
        **dict.fromkeys(("realised_tokens", "flops", "cache_bytes", "evidence_recall", "seconds"), float("nan")),
    }


@pytest.mark.slow
def test_runs_whose_cost_is_unknown_are_joined_with_those_that_know_it_and_published(tmp_path: Path) -> None:
    known = answered(tmp_path / "known", {"fastv": 0.3}, tasks=("attribute",), budgets=("1/3",))
    unknown = answered(
        tmp_path / "unknown", {"fastv": 0.3, "clse": 0.2}, tasks=("attribute",), budgets=("1/3",), change=without_costs
    )
    assert call("merge", str(unknown), str(known), "-o", str(tmp_path / "merged")) == 0
    merged = {one["strategy"]: one for one in derived(tmp_path / "merged")}
    assert {name: math.isnan(one["realised_tokens"]) for name, one in merged.items()} == {
        "vanilla": False,
        "fastv": False,
        "clse": True,
    }
    assert call("publish", str(known), str(unknown), "-o", str(tmp_path / "site")) == 0
    table = pd.read_csv(tmp_path / "site" / "leaderboard.csv").set_index("strategy")
    assert table["run"].to_dict() == {"vanilla": "known", "fastv": "known", "clse": "unknown"}
    assert table["realised_tokens"].isna().to_dict() == {"vanilla": False, "fastv": False, "clse": True}
    assert call("publish", str(unknown), "-o", str(tmp_path / "alone")) == 0

"""The names in README and docs are those of the registry, the command line and the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

import tokenbench
from tests.docs.blocks import ROOT, blocks, commands, pages
from tokenbench.cli import cli
from tokenbench.registry.plugins import registry

STRATEGIES = "## Strategies"


def table(text: str) -> str:
    """The first table in a text."""
    return "\n".join(re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()[2:])  # type: ignore[index]


def first_cells(rows: str) -> set[str]:
    """The names between backticks in the first column."""
    return {name for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_table_of_strategies_holds_every_strategy() -> None:
    text = (ROOT / "README.md").read_text()
    assert first_cells(table(text[text.index(STRATEGIES) :])) == set(registry().names("strategies"))


def test_the_command_line_lists_what_is_registered() -> None:
    for kind in ("strategies", "mergers", "suites", "reports"):
        assert CliRunner().invoke(cli, ["list", kind]).output.split() == registry().names(kind)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_only_commands_that_there_are_appear(page: Path) -> None:
    shown = commands("".join(block.text for block in blocks(page)))
    assert shown <= set(cli.list_commands(Context(cli)))


def test_every_command_is_shown_somewhere() -> None:
    shown = {name for page in pages() for name in commands("".join(block.text for block in blocks(page)))}
    assert set(cli.list_commands(Context(cli))) <= shown


def test_the_tables_of_backbones_and_suites_name_registered_ones() -> None:
    architectures = first_cells(table((ROOT / "docs/backbones.md").read_text()))
    assert architectures == {n for n in registry().names("backbones") if not registry().get("backbones", n).source}
    suites = first_cells(table((ROOT / "docs/public-data.md").read_text().partition("## Available benchmarks")[2]))
    assert {name.partition(":")[0] for name in suites if not name.startswith("--")} <= set(registry().names("suites"))


def test_the_python_page_documents_exactly_the_public_names() -> None:
    text = (ROOT / "docs/api.md").read_text()
    shown = re.findall(
        r"^\.\. (?:auto(?:class|function|exception)|py:data):: (?:tokenbench\.)?(\w+)(?:\(\))?$", text, re.M
    )
    assert sorted(shown) == sorted(tokenbench.__all__)


def test_the_page_on_the_run_directory_names_every_column(tmp_path: Path) -> None:
    from tests.reports.made_up import made_up

    comparison, _ = made_up({"good": 0.0, "random": 0.5, "downsample": 0.6})
    text = (ROOT / "docs/run-directory.md").read_text()
    for file, columns in (
        ("summary.csv", comparison.summary.columns),
        ("pairs.csv", comparison.pairs.columns),
        ("where.csv", comparison.where.columns),
    ):
        rows = table(text[text.index(f"## {file}") :])
        assert first_cells(rows) == set(columns)

"""Text that would do something where a report is read: in a spreadsheet, a terminal, a browser, TeX or Markdown."""

import csv
import io
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from tests.reports.made_up import bench, made_up
from tokenbench.store.report_files import FORMULA, csv_text
from tokenbench_reports.csv_tables import CsvReport
from tokenbench_reports.figures import FiguresReport
from tokenbench_reports.html import HtmlReport
from tokenbench_reports.json_file import JsonReport
from tokenbench_reports.latex import LatexReport
from tokenbench_reports.markdown import MarkdownReport
from tokenbench_reports.terminal import TerminalReport
from tokenbench_reports.tex import escape

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
CONTROL = ("\x1b[2J\x1b]0;owned\x07", "a\nb", "\u202egnp", "\x9b31m", "\u2028")
MARKDOWN = ("![x](http://evil/x.png)", "[x]: http://evil", "a|b|c", "**b**", "<img src=x>", "`x`", "&lt;b&gt;", "~~x~~")
TEX = ("\\input{/etc/passwd}", "*star", "[opt]", "%x", "$\\write18{ls}$", "^^41", "{", "#1", "~")
ALL = (*FORMULAS, *CONTROL, *MARKDOWN, *TEX, "_hidden", "=1|2")
REASON = "\x1b[2Jgone\nfor [good](http://evil) *all*"


@pytest.fixture(scope="module")
def hostile():
    failure = {
        "model": "m",
        "strategy": REASON,
        "budget": "1/2",
        "seed": 0,
        "task": "t",
        "kind": "failed",
        "reason": REASON,
    }
    about = {
        "failures": [failure],
        "notes": [REASON, *CONTROL],
        "bench": [bench("=model\x1b[31m", strategies=(ALL[0], CONTROL[0]), budget="1/2")],
        "hardware": {"temperature": float("nan")},
    }
    loses = {name: 0.1 for name in ALL}
    return made_up(
        loses,
        budgets=("1/2",),
        images=8,
        tasks=("=t", "[x](y)"),
        models=("=model\x1b[31m",),
        answer=ALL[0],
        about=about,
    )


def written(report, hostile, folder):
    out = io.StringIO()
    paths = report().write(*hostile, folder, out)
    return [path.read_text() for path in paths if path.suffix not in (".pdf", ".png", ".svg")], out.getvalue()


def test_no_cell_of_a_csv_file_is_a_formula(hostile, tmp_path):
    texts, _ = written(CsvReport, hostile, tmp_path)
    for text in texts:
        rows = list(csv.reader(io.StringIO(text)))
        cells = [cell for row in rows for cell in row if cell.startswith(FORMULA)]
        assert all(re.fullmatch(r"-\d+(\.\d+)?(e-\d+)?", cell) for cell in cells)  # numbers below 0 stay numbers
        assert len({len(row) for row in rows}) == 1
    assert "'=cmd|' /C calc'!A0" in texts[0]


def test_a_csv_file_keeps_what_is_no_formula():
    table = pd.DataFrame({"a": ["x", "=x", None], "b": [-1.5, 2.0, float("nan")], "=c": [1, 2, 3]})
    assert csv_text(table) == "a,b,'=c\nx,-1.5,1\n'=x,2.0,2\n,,3\n"


@pytest.mark.parametrize("report", [TerminalReport, MarkdownReport, LatexReport])
def test_no_sign_that_a_terminal_obeys(report, hostile, tmp_path):
    texts, said = written(report, hostile, tmp_path)
    for text in (*texts, said):
        assert not re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", text)
    if report is not LatexReport:
        assert r"\x1b[2J" in "".join((*texts, said)).replace("\\\\", "\\")


def test_markdown_has_no_links_images_or_html_and_every_row_its_cells(hostile, tmp_path):
    (text,), _ = written(MarkdownReport, hostile, tmp_path)
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"\]:\s", text)
    assert not re.search(r"(?<!\\)<\w", text)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert tables
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_latex_holds_no_command_but_its_own(hostile, tmp_path):
    (text, _), _ = written(LatexReport, hostile, tmp_path)
    own = [
        "begin",
        "end",
        "centering",
        "small",
        "scriptsize",
        "setlength",
        "tabcolsep",
        "caption",
        "toprule",
        "midrule",
        "bottomrule",
        "multicolumn",
        "textit",
        "textbf",
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "neq",
        "times",
        "pm",
        "ldots",
        "cdot",
    ]
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= set(own)
    assert escape("*a") == "{*}a"  # after the end of a row TeX would take the star as an option
    assert not re.search(r"\\\\\s*[*\[]", text)


def test_latex_with_hostile_names_compiles(hostile, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex on this machine")
    written(LatexReport, hostile, tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables-alone.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]


def test_json_is_json_whatever_the_run_says(hostile, tmp_path):
    (text, _), _ = written(JsonReport, hostile, tmp_path)
    content = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert content["run"]["hardware"]["temperature"] is None
    assert set(ALL) <= {row["strategy"] for row in content["summary"]}  # names as they are


def test_the_page_runs_nothing(hostile, tmp_path):
    (text,), _ = written(HtmlReport, hostile, tmp_path)
    assert "<img src=x>" not in text
    assert "http://evil/x.png" not in re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", text)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_show_every_strategy(hostile, tmp_path):
    pytest.importorskip("matplotlib")
    written(FiguresReport, hostile, tmp_path)
    svg = (tmp_path / "figures" / "accuracy-cost.svg").read_text(encoding="utf-8")
    assert "_hidden" in svg
    assert "\x1b" not in svg

"""The table in the form of the field: strict TeX, the numbers of summary.csv, and published ones beside them."""

import io
import re

import numpy as np
import pytest

from tests.reports.made_up import HOSTILE, MadeUpRun, made_up
from tokenbench.comparison import MEAN
from tokenbench.contract.cells import is_trivial
from tokenbench_reports.claims import Claim, ledger, published_scores
from tokenbench_reports.field import field_table
from tokenbench_reports.latex import LatexReport
from tokenbench_reports.tex import escape

MODEL = "llava-hf/llava-1.5-7b-hf"
LOSES = {"fastv": 0.05, "clse": 0.1, "random": 0.6}
KNOWN = {
    "begin", "end", "centering", "small", "scriptsize", "setlength", "tabcolsep", "caption", "toprule", "midrule", "bottomrule",
    "multicolumn", "textit", "textbf", "quad", "dagger", "textbackslash", "textasciitilde", "textasciicircum", "neq", "times", "pm",
    "ldots", "cdot", "documentclass", "usepackage", "input", "%", "&", "$", "#", "_", "{", "}", "\\",
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return made_up(LOSES, models=(MODEL,), tasks=("gqa", "pope", "mme", "textvqa_val"), budgets=("1/3", "1/9"))


def lines(comparison, about=None, model=MODEL, label=""):
    return list(field_table(comparison, model, about or {"spec": {}}, label))


def body(text):
    """The rows of the first table as lists of cells, a spanning one as its text alone."""
    inner = re.search(r"\\begin\{tabular\}\{l(r+)\}(.*?)\\end\{tabular\}", text, re.S)
    rows = [line.removesuffix(r" \\") for line in inner[2].splitlines() if line.endswith(r"\\")]
    return 1 + len(inner[1]), [re.split(r"(?<!\\) & ", row) for row in rows]


def check(text):
    """Raise if TeX would not take it: braces, environments, unknown commands, rows of other lengths, plain specials."""
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    assert set(re.findall(r"\\([A-Za-z]+|[^A-Za-z])", text)) <= KNOWN
    plain = re.sub(r"\\\\|\\[{}]", "", text)
    depth = np.cumsum([(sign == "{") - (sign == "}") for sign in plain])
    assert depth.min() >= 0
    assert depth[-1] == 0
    assert not re.search(r"(?<!\\)[#_]", re.sub(r"\\[A-Za-z]+", "", text))
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    for line in text.splitlines():
        assert line.isascii()
        assert not re.search(r"(?<!\\)%", line)
    for table in re.findall(r"\\begin\{tabular\}\{[lr]+\}.*?\\end\{tabular\}", text, re.S):
        columns = len(re.match(r"\\begin\{tabular\}\{([lr]+)\}", table)[1])
        for line in table.splitlines():
            if line.endswith(r"\\"):
                span = re.match(r"\\multicolumn\{(\d+)\}", line)
                assert (int(span[1]) if span else len(re.split(r"(?<!\\) & ", line))) == columns, line


def test_it_is_strict_tex_whatever_the_names(made, tmp_path):
    check("\n".join(lines(made[0])))
    strange = {HOSTILE: 0.1, "$\\alpha_{1}^2$ #1 & 50% ~ {}": 0.2, "中文|<b>": 0.3}
    hostile = made_up(strange, models=("a_b & c",), tasks=("x_y", "50%"), images=12)
    path, _ = LatexReport().write(*hostile, tmp_path, io.StringIO())
    check(path.read_text())


@pytest.mark.parametrize("broken", [r"a & b \\", r"\foo", "{", r"\begin{table}", "50%", "a_b"])
def test_the_check_finds_what_is_wrong(made, broken):
    text = "\n".join(lines(made[0]))
    with pytest.raises((AssertionError, IndexError)):
        check(text.replace(r"\bottomrule", f"{broken}\n\\bottomrule"))


def test_rows_are_methods_by_budget_and_columns_tasks_with_average_and_accuracy_kept(made):
    comparison = made[0]
    width, rows = body("\n".join(lines(comparison)))
    tasks = ["gqa", "mme", "pope", "textvqa_val"]
    assert rows[0] == ["Method", *map(escape, tasks), "Average", "Accuracy kept"]
    assert width == 7
    measured = [row for row in rows[1:] if len(row) == width and "published" not in row[0]]
    cells = comparison.summary.set_index(["strategy", "budget", "task"])
    names = [re.sub(r"\\textbf\{(.*)\}", r"\1", row[0]) for row in measured]
    assert names[0] == "vanilla"
    assert measured[0][-1] == "100.0"
    budgets = ["all", *["1/3"] * 3, *["1/9"] * 3]
    for name, budget, row in zip(names, budgets, measured, strict=True):
        scores = [cells.loc[(name, budget, task), "score"] for task in (*tasks, MEAN)]
        assert row[1:-1] == [f"{100 * score:.1f}" for score in scores]
        if name != "vanilla":
            kept = cells.loc[(name, budget, MEAN)]
            numbers = re.findall(r"\d+\.\d", row[-1])
            assert numbers == [f"{100 * kept[end]:.1f}" for end in ("retention", "retention_low", "retention_high")]
    for start in (1, 4):
        own = names[start : start + 3]
        assert [is_trivial(name) for name in own] == [False, False, True]
    headings = [row[0] for row in rows if row[0].startswith(r"\multicolumn")]
    assert ["All 36 visual tokens" in headings[0], "Budget 1/3: 12 of 36" in headings[1], "4 of 36" in headings[2]] == [
        True
    ] * 3


def test_published_scores_stand_below_the_method_marked_as_published(made):
    text = "\n".join(lines(made[0]))
    _, rows = body(text)
    found = {}
    for row in rows:
        if row[0].startswith(r"\textbf") or row[0] in LOSES or row[0] == "vanilla":
            name = re.sub(r"\\textbf\{(.*)\}", r"\1", row[0])
        elif row[0].startswith(r"\multicolumn"):
            heading = row[0]
        elif "published" in row[0]:
            assert r"$^{\dagger}$" in row[0]
            found[name, "1/3" in heading, row[0].partition(", ")[2]] = row[1:]
    # CLSE, Table 1, printed: clse at 192 has GQA 61.5, POPE 85.1, TextVQA 57.5; MME is in points
    assert found["clse", True, "CLSE, arXiv 2606.24165"] == ["61.5", "--", "85.1", "57.5", "--", "--"]
    assert found["vanilla", False, "CLSE, arXiv 2606.24165"][0] == "61.9"
    assert not [key for key in found if key[0] == "random"]
    assert "Published, as printed in papers" in text


def test_nothing_published_is_shown_of_other_models_or_at_matched_work(made):
    other = made_up(LOSES, models=("toy",), tasks=("gqa",), budgets=("1/3",), images=12)[0]
    assert "published" not in "\n".join(lines(other, model="toy"))
    assert "published" not in "\n".join(lines(made[0], {"spec": {"match": "tokens"}}))
    assert "published" not in "\n".join(lines(made[0], {"spec": {"turns": 3}}))


def test_a_row_that_is_shifted_in_print_is_left_out_unless_it_is_known_how(made):
    def claim(method, budget, value, note=""):
        return Claim("a paper", method, "llava-1.5-7b", budget, "gqa", value, "score", note)

    rows = [
        claim("vanilla", "576", 60.0),
        claim("fastv", "192", 50.0, "row shifted in print"),
        claim("clse", "192", 55.0),
    ]
    found = published_scores(made[0], MODEL, {}, rows)
    assert [(one.strategy, one.budget, one.scores["gqa"]) for one in found] == [
        ("vanilla", "", 60.0),
        ("clse", "1/3", 55.0),
    ]
    corrected = [one for one in published_scores(made[0], MODEL, {}) if one.corrected]
    [wrong] = [
        one
        for one in ledger()
        if one.id and (one.method, one.budget, one.task, one.source[:4]) == ("fastv", "192", "pope", "CLSE")
    ]
    assert wrong.value == 67.3
    assert {one.scores["pope"] for one in corrected if (one.strategy, one.budget) == ("fastv", "1/3")} == {64.8}


def test_a_limited_run_says_so(made, tmp_path):
    comparison, run = made
    limited = MadeUpRun(
        run.samples(), run.questions(), spec={"suite": "image", "limit": 40, "floors": [], "strategies": ["a"]}
    )
    path, _ = LatexReport().write(comparison, limited, tmp_path, io.StringIO())
    first = re.search(r"\\caption\{(.*)\}", path.read_text())[1]
    assert "not a result" in first

"""JSON for programs; LaTeX and figures for papers."""

import io
import json
import shutil
import subprocess
import sys

import pytest

from tests.reports.made_up import HOSTILE, LONG, made_up
from tokenbench.errors import MachineError
from tokenbench_reports.figures import FiguresReport
from tokenbench_reports.json_file import SCHEMA, JsonReport
from tokenbench_reports.latex import LatexReport
from tokenbench_reports.tex import escape

LOSES = {"good": 0.0, "fair": 0.1, "bad_one": 0.5}
STRANGE = {HOSTILE: 0.1, LONG: 0.4, "$\\alpha_{1}^2$ #1 & 50% ~ {}": 0.2, "中文": 0.3, 'a|b<c>"d"': 0.3}


def write(report, loses, folder, **options):
    return report().write(*made_up(loses, **options), folder, io.StringIO())


def test_json_keeps_its_schema(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    path, schema = write(JsonReport, LOSES, tmp_path)
    content = json.loads(path.read_text())
    assert schema.read_text() == SCHEMA.read_text()
    jsonschema.validate(content, json.loads(schema.read_text()))
    assert content["schema_version"] == 1
    assert len(content["summary"]) == 10 * 3
    assert {row["family"] for row in content["pairs"]} == {"F1", "F2", "F3"}
    found = content["headlines"]["toy"]
    assert "questions about" in found["scope"]
    assert found["winner"] is None or found["headline"].startswith(found["winner"])


def test_json_has_no_nan(tmp_path):
    path, _ = write(JsonReport, {"only": 0.1}, tmp_path, images=1)
    assert "NaN" not in path.read_text()
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("loses", [LOSES, STRANGE, {"only": 0.1}], ids=["plain", "strange", "one"])
def test_latex_compiles(loses, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip(
            "no pdflatex on this machine: Debian's texlive-latex-base, and booktabs of texlive-latex-recommended"
        )
    write(LatexReport, loses, tmp_path, tasks=("a_b", "c&d"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables-alone.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "tables-alone.pdf").stat().st_size > 10_000


def test_latex_needs_booktabs_alone_and_marks_the_top_group(tmp_path):
    path, alone = write(LatexReport, LOSES, tmp_path)
    text = path.read_text()
    assert alone.read_text().count("usepackage") == 1
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 7
    assert r"\textbf{good}" in text
    assert r"bad\_one" in text
    assert r"\textbf{bad" not in text
    for line in text.splitlines():
        assert line.isascii()


def test_every_sign_of_tex_is_escaped():
    assert escape("a_b & 50% $x$ #1 {}~^\\") == (
        r"a\_b \& 50\% \$x\$ \#1 \{\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape("中") == "{[}U+4E2D]"


def test_latin_letters_keep_their_accents_if_the_usual_fonts_have_them():
    assert escape("méthode größer Łódź čeština São İzmir") == "méthode größer Łódź čeština São İzmir"
    assert escape("ð×ą") == r"{[}U+00F0]$\times${[}U+0105]"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_come_in_three_forms(tmp_path):
    pytest.importorskip("matplotlib")
    paths = write(FiguresReport, STRANGE, tmp_path)
    assert sorted({path.stem for path in paths}) == ["accuracy-cost", "differences", "ranks", "retention"]
    assert {path.suffix for path in paths} == {".pdf", ".svg", ".png"}
    assert all(path.stat().st_size > 2000 for path in paths)
    assert b"<script>" not in (tmp_path / "figures" / "ranks.svg").read_bytes()


def test_figures_without_matplotlib_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MachineError, match="matplotlib") as caught:
        write(FiguresReport, LOSES, tmp_path)
    assert "tokenbench[figures]" in caught.value.hint

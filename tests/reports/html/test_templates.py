"""Templates are compiled once a process, and again if they are edited; each page has filters of its own."""

import jinja2
import pytest

from tokenbench_reports.html.templates import make_environment


@pytest.fixture
def compiled(monkeypatch):
    """The sources that were compiled."""
    sources, stock = [], jinja2.Environment.compile
    monkeypatch.setattr(
        jinja2.Environment, "compile", lambda self, source, *rest: sources.append(source) or stock(self, source, *rest)
    )
    return sources


def render(folder, text, loud):
    return make_environment({"loud": loud}, folder).get_template("a.html").render(text=text)


def test_a_template_is_compiled_once_for_pages_with_other_filters(tmp_path, compiled):
    (tmp_path / "a.html").write_text("<p>{{ text|loud }}</p>{% include 'b.html' %}")
    (tmp_path / "b.html").write_text("{{ text }}")
    assert render(tmp_path, "a<b", str.upper) == "<p>A&lt;B</p>a&lt;b"
    assert render(tmp_path, "c", lambda text: text * 3) == "<p>ccc</p>c"
    assert len(compiled) == 2


def test_an_edited_template_is_compiled_again(tmp_path, compiled):
    for content, expected in (("1 {{ text|loud }}", "1 A"), ("2 {{ text|loud }}", "2 A")):
        (tmp_path / "a.html").write_text(content)
        assert render(tmp_path, "a", str.upper) == expected
    assert len(compiled) == 2


def test_a_name_that_no_template_knows_is_an_error(tmp_path):
    (tmp_path / "a.html").write_text("{{ absent }}")
    with pytest.raises(jinja2.UndefinedError):
        render(tmp_path, "a", str.upper)

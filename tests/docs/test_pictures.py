"""The pictures of the README and the gallery: there, small, shown, and made by the script."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.reports.made_up import made_up
from tokenbench_reports.html import render_page

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "_static" / "pictures"


def test_every_picture_is_shown_and_every_picture_shown_is_there():
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("gallery.md", "fidelity.md")]
    shown = re.findall(r"_static/pictures/([\w-]+\.png)", "".join(pages))
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir())
    [readme] = re.findall(r"\((docs/_static/pictures/[\w-]+\.png)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert (ROOT / readme).exists()


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert max(sizes.values()) < 300_000
    assert sum(sizes.values()) < 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no chromium here")
def test_the_script_takes_every_picture(tmp_path, monkeypatch):
    pytest.importorskip("selenium", reason="selenium is not installed: pip install tokenbench[test]")
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    import pictures

    report = tmp_path / "report.html"
    report.write_text(render_page(*made_up({"good": 0.0, "bad": 0.5, "random": 0.7})), encoding="utf-8")
    folder = tmp_path / "pictures"
    folder.mkdir()
    taken = pictures.take_pictures(report, folder)
    drawn = {"kept-by-all.png"}  # by docs/kept_tokens.py
    assert {path.name for path in taken} == {path.name for path in PICTURES.iterdir()} - drawn
    sizes = {path.stem: Image.open(path).size for path in taken}
    assert all(sizes[name] == size for name, size in pictures.SCREENS.items())


@pytest.mark.slow
def test_the_tokens_that_methods_keep_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept tokens have the picture's colours and dropped ones are dark."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import kept_tokens as script

    picture, question, kept = script.keep_by_all(["uniform", "dart"])
    assert question
    assert {name: int(cells.sum()) for name, cells in kept.items()} == {"uniform": 48, "dart": 48}  # a third of 12 x 12
    sheet = script.draw(picture, kept)
    light = picture.convert("RGB").resize((script.SIDE, script.SIDE))
    x0, y0 = script.GAP + script.SIDE + script.GAP, script.GAP + script.LABEL
    step = script.SIDE // 12
    for (row, column), stays in zip(
        ((0, 0), (5, 7), (11, 11)), (kept["uniform"][at] for at in ((0, 0), (5, 7), (11, 11))), strict=True
    ):
        at = (column * step + step // 2, row * step + step // 2)
        share = 1 if stays else script.DARK
        drawn = sheet.getpixel((x0 + at[0], y0 + at[1]))
        assert drawn == pytest.approx([int(channel * share) for channel in light.getpixel(at)], abs=1)
    del sys.modules["kept_tokens"]

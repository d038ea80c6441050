"""The data by which the page browses all questions, read back from what was written."""

import io
import json
import re
from html import unescape

import numpy as np
import pytest

from tests.reports.made_up import MadeUpRun, asked, made_up
from tokenbench.errors import MachineError, UsageError
from tokenbench.store.report_files import MARK
from tokenbench_reports.html import FullHtmlReport, HtmlReport, render_page
from tokenbench_reports.html.browse import FOLDER, Pieces
from tokenbench_reports.html.browse.index import NO, NONE, YES, make_index
from tokenbench_reports.html.browse.pieces import PIECE, Series
from tokenbench_reports.html.masks import pack, unpack

LOSES = {"good": 0.1, "bad": 0.5}


def pieces_in(text):
    found = re.findall(r'<script type="application/json" id="piece-([\w-]+)">(.*?)</script>', text, re.S)
    return {name: json.loads(content) for name, content in found}


def head(text):
    return json.loads(re.search(r'id="samples-head">(.*?)</script>', text, re.S)[1])


def whole(pieces, name):
    """All items of a series, in order."""
    return [item for at in range(99) for item in pieces.get(f"{name}-{at}", [])]


@pytest.fixture(scope="module")
def run():
    return made_up(LOSES)


@pytest.fixture(scope="module")
def text(run):
    return render_page(*run)


def test_the_signs_are_the_scores_of_every_cell(run, text):
    samples, [model] = run[1].samples(), head(text)["models"]
    scores = samples.set_index(["task", "sample", "strategy", "budget"])["score"]
    rows = whole(pieces_in(text), "index-0")
    assert len(rows) == model["count"] == 80
    for task, key, asked_for, signs in rows:
        assert asked_for == "What is there?"
        for (strategy, budget), sign in zip(model["cells"], signs, strict=True):
            assert sign == str(int(scores[model["tasks"][task], key, strategy, budget]))


def test_kept_tokens_and_answers_are_those_of_the_run(run, text):
    samples, [model] = run[1].samples(), head(text)["models"]
    rows = samples.set_index(["task", "sample", "strategy", "budget"])
    found = pieces_in(text)
    index = whole(found, "index-0")
    for number, scene in whole(found, "scenes-0"):
        task, key = model["tasks"][index[number][0]], index[number][1]
        target, words, given, scores, rest = whole(found, "answers-0")[number]
        assert (target, scores, rest) == ("yes", 0, "")
        for (strategy, budget), cell, said in zip(model["cells"], scene["cells"], given, strict=True):
            row = rows.loc[(task, key, strategy, budget)]
            mask, count, tokens, _ = cell
            assert (unpack(mask) if mask else set(range(tokens))) == set(row["kept"])
            assert (count, tokens, words[said]) == (len(row["kept"]), 36, row["answer"])
    assert len(whole(found, "pictures")) == 40  # both tasks ask about the same forty


def test_counts_are_those_of_the_scores(run):
    samples = run[1].samples()
    index = make_index(samples, ())
    a, b = index.cell("good", "1/4"), index.cell("vanilla", "1/4")
    table = samples[samples["budget"].isin(["1/4", "all"])].pivot_table(
        index=["task", "sample"], columns="strategy", values="score"
    )
    good, full = table["good"] >= 0.5, table["vanilla"] >= 0.5
    wanted = [
        [int((good & full).sum()), int((good & ~full).sum())],
        [int((~good & full).sum()), int((~good & ~full).sum())],
    ]
    assert index.count(a, b) == wanted
    assert index.cell("nobody", "1/4") is None
    assert len(index.divided(b, a, 3)) == 3


def test_an_answer_that_is_missing_or_graded_is_neither_right_nor_wrong(run):
    samples = run[1].samples()
    gone = samples[~((samples["strategy"] == "good") & (samples["sample"] == "read-3"))]
    index = make_index(gone, ["count"])
    place = index.questions.index(("read", "read-3"))
    signs = {cell[0]: int(sign) for cell, sign in zip(index.cells, index.verdicts[place], strict=True)}
    assert signs["good"] == NONE
    assert signs["vanilla"] in (YES, NO)
    graded = [at for at, (task, _) in enumerate(index.questions) if task == "count"]
    assert (index.verdicts[graded] == NONE).all()


def test_of_several_stages_the_page_holds_what_each_one_kept(run):
    samples = run[1].samples()
    leaves = [2] * 18 + [1] * 9 + [-1] * 9  # 36 tokens, 27 from layer 1 on, 9 from layer 2 on
    pruned = samples["strategy"] == "good"
    samples = samples.assign(leaves=[leaves if one else None for one in pruned])
    found = pieces_in(render_page(run[0], MadeUpRun(samples, run[1].questions())))
    for _, scene in whole(found, "scenes-0"):
        for cell in scene["cells"]:
            if len(cell) == 5:
                stages = {layer: unpack(mask) for layer, mask in cell[4]}
                assert stages == {1: {*range(18), *range(27, 36)}, 2: set(range(27, 36))}
        assert sum(len(cell) == 5 for cell in scene["cells"]) == 3  # budgets


def test_unknown_kept_tokens_are_unknown_and_not_zero(run):
    samples = run[1].samples()
    samples = samples.assign(kept=None, visual_tokens=None, lattice=None, tokens_per_layer=None)
    text = render_page(run[0], MadeUpRun(samples, run[1].questions()))
    for _, scene in whole(pieces_in(text), "scenes-0"):
        assert scene["lattice"] is None
        assert all(cell == [None, None, None, -1] for cell in scene["cells"])
    assert "how many tokens it kept is unknown" in text


def test_a_question_that_the_suite_changed_is_shown_by_its_key(run):
    samples = run[1].samples()
    changed = samples.assign(target=samples["target"].where(samples["sample"] != "read-3", "other"))
    found = pieces_in(render_page(run[0], MadeUpRun(changed, run[1].questions())))
    texts = {key: said for _, key, said, _ in whole(found, "index-0")}
    assert texts["read-3"] == "read-3"
    assert texts["read-4"] == "What is there?"
    scenes = {whole(found, "index-0")[at][1]: scene for at, scene in whole(found, "scenes-0")}
    assert scenes["read-3"]["frames"] == []
    assert scenes["read-4"]["frames"]


def test_pictures_that_cannot_be_loaded_are_said_once_and_kept_tokens_stay(run):
    def broken():
        raise MachineError("the data folder is gone")

    questions = {
        pair: type(one)(one.key, one.cluster, one.question, one.target, broken)
        for pair, one in run[1].questions().items()
    }
    text = render_page(run[0], MadeUpRun(run[1].samples(), questions))
    [model] = head(text)["models"]
    assert model["notes"] == ["The images cannot be shown: the data folder is gone."]
    assert all(scene["cells"][0][0] for _, scene in whole(pieces_in(text), "scenes-0"))


def test_without_the_suite_the_keys_stand_for_the_questions(run):
    def unknown():
        raise UsageError("unknown suite 'gone'")

    other = MadeUpRun(run[1].samples())
    other.questions = unknown
    text = render_page(run[0], other)
    assert "the keys of the samples are shown instead" in head(text)["models"][0]["notes"][0]
    assert {key == said for _, key, said, _ in whole(pieces_in(text), "index-0")} == {True}


def test_of_a_large_run_the_questions_that_divide_most_have_pictures_and_html_full_has_all(run, tmp_path):
    some = render_page(*run, most=10)
    assert len(whole(pieces_in(some), "scenes-0")) == 10
    assert "10 of the 80 questions" in head(some)["models"][0]["notes"][0]
    spoilt = {number for number, _ in whole(pieces_in(some), "scenes-0")}
    rows = whole(pieces_in(some), "index-0")
    cells = head(some)["models"][0]["cells"]
    full = cells.index(["vanilla", "all"])
    assert all(rows[at][3][full] == "1" and "0" in rows[at][3] for at in spoilt)
    assert FullHtmlReport.most is None
    FullHtmlReport().write(*run, tmp_path, io.StringIO())
    assert len(whole(pieces_in((tmp_path / "report.html").read_text()), "scenes-0")) == 80


def test_much_data_lies_beside_the_page_in_pieces_of_bounded_size(run, tmp_path):
    pieces = Pieces(tmp_path, one_file=1000)
    text = render_page(*run, pieces)
    assert "piece-" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert head(text)["folder"] == FOLDER
    assert "'strict-dynamic'" in unescape(text)
    assert "'strict-dynamic'" not in unescape(render_page(*run))
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {MARK, *(path.name for path in pieces.files)}
    found = {}
    for path in pieces.files:
        stamp, name, content = json.loads(
            f"[{path.read_text().removeprefix('tokenbenchPiece(').removesuffix(');' + chr(10))}]"
        )
        assert (stamp, name) == (head(text)["stamp"], path.stem)
        found[name] = content
    assert found == pieces_in(render_page(*run))


def test_a_small_report_takes_away_what_a_large_one_left_beside_the_page(run, tmp_path):
    render_page(*run, Pieces(tmp_path, one_file=1000))
    assert (tmp_path / FOLDER).is_dir()
    [page] = HtmlReport().write(*run, tmp_path, io.StringIO())
    assert [path.name for path in tmp_path.iterdir()] == [page.name]
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "mine.txt").write_text("mine")
    HtmlReport().write(*run, tmp_path, io.StringIO())
    assert (tmp_path / FOLDER / "mine.txt").read_text() == "mine"


def test_a_piece_ends_when_it_is_full():
    pieces = Pieces(None)
    series = Series(pieces, "s")
    for number in range(5):
        series.add(10 * number, "x" * (PIECE // 2))
    series.flush()
    assert series.starts == [0, 20, 40]
    assert [len(json.loads(text)) for text in pieces.inside.values()] == [2, 2, 1]


def test_masks_hold_which_tokens_are_kept():
    assert unpack(pack([0, 3, 9], 10)) == {0, 3, 9}
    assert pack(np.arange(10), 10) == ""
    assert unpack(pack([], 10)) == set()
    assert pack([0, 9], 10) == "AQI="


def test_no_text_of_a_run_ends_a_script(run):
    samples = run[1].samples().assign(answer="</script><script>alert(1)</script><!--")
    text = render_page(run[0], MadeUpRun(samples, asked(samples, "</script><b>")))
    assert "</script><script>alert" not in text
    assert "</script><b>" not in text
    assert whole(pieces_in(text), "index-0")[0][2] == "</script><b>"

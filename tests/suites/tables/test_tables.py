"""Tables of one's own: what they may look like, how they are scored, and what is said about wrong ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import tokenbench
from tests.films import write_film
from tests.tokenbench.commands.test_running import call
from tokenbench import Run, TokenBenchError
from tokenbench.contract.suite import Suite
from tokenbench.errors import SampleError
from tokenbench.registry.plugins import Registry
from tokenbench.registry.suites import name_files, resolve_suite
from tokenbench.runner.dialogues import form_dialogues

COLORS = ["red", "green", "blue", "yellow"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with four pictures."""
    (tmp_path / "pics").mkdir()
    for i, color in enumerate(COLORS):
        Image.new("RGB", (32, 32 + i), color).save(tmp_path / "pics" / f"{color}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(**more: Any) -> list[dict[str, Any]]:
    """Eight questions on four pictures."""
    return [
        {"image": f"pics/{c}.png", "question": f"what color {k} ?", "answer": c, **more} for c in COLORS for k in (1, 2)
    ]


def write(values: list[dict[str, Any]], path: Path) -> None:
    if path.suffix == ".parquet":
        pd.DataFrame(values).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(values[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(values)


def suite_of(text: str) -> Suite:
    registry = Registry()
    name, data = name_files(text, (), registry)
    return resolve_suite(name, (), registry, data)[0]


def only(text: str) -> tokenbench.Task:
    (task,) = suite_of(text).tasks
    return task


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_table_gives_the_same_samples(ending: str, folder: Path) -> None:
    write(rows(), folder / f"mine.{ending}")
    write(rows(), folder / "same.csv")
    task, same = only(f"mine.{ending}"), only("same.csv")
    samples = task.samples()
    assert [s.digest for s in samples] == [s.digest for s in same.samples()]
    assert (task.name, len(samples), len({s.cluster for s in samples})) == ("mine", 8, 4)
    for sample in samples:
        (image,) = sample.load()
        assert isinstance(image, Image.Image)
        assert image.getpixel((0, 0)) == Image.new("RGB", (1, 1), sample.target).getpixel((0, 0))
        assert task.score(f" {sample.target.upper()}.", sample) == 1
        assert task.score("purple", sample) == 0


def test_the_order_is_not_that_of_the_table(folder: Path) -> None:
    values = rows()
    write(values, folder / "mine.csv")
    write(values[::-1], folder / "other.csv")
    pictures = [s.target for s in only("mine.csv").samples()]
    assert pictures == [s.target for s in only("other.csv").samples()]
    assert pictures != [value["answer"] for value in values]


def test_questions_about_a_picture_are_asked_in_the_order_of_the_table(folder: Path) -> None:
    """The first turn holds the first rows alone, under every limit, and rows that are added later change no dialogue."""
    values = [
        {"image": f"pics/{c}.png", "question": f"{what} ?", "answer": c}
        for what in ("first", "later", "last")
        for c in COLORS
    ]
    write(values, folder / "mine.csv")
    samples = only("mine.csv").samples()
    for limit in range(1, len(values) + 1):
        asked = {one.turn: set() for one in form_dialogues(samples[:limit], 3)}
        for one in form_dialogues(samples[:limit], 3):
            asked[one.turn].add(one.question)
        assert (
            asked == dict(zip((1, 2, 3), ({"first ?"}, {"later ?"}, {"last ?"}), strict=False))
            if limit > 2
            else len(asked) == limit
        )
    write([*values, {**values[0], "question": "one more ?"}], folder / "mine.csv")
    before = {one.key: one.digest for one in form_dialogues(samples, 3)}
    assert before.items() <= {one.key: one.digest for one in form_dialogues(only("mine.csv").samples(), 3)}.items()


def write_clips(folder: Path) -> None:
    """Four films of twenty frames or more, and a table that asks about them."""
    names = [f"{i}.mp4" for i in range(4)]
    for i, name in enumerate(names):
        write_film(folder / name, 20 + i, codec="mpeg4")  # of unequal lengths, so that they are unlike
    write([{"image": name, "question": "what color ?", "answer": "red"} for name in names], folder / "films.csv")


def test_a_table_with_clips_is_asked_of_a_model_for_clips(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(folder)
    write(rows(), folder / "mine.csv")
    assert [suite_of(name).model for name in ("mine.csv", "films.csv")] == ["toy-llava", "toy-video-llava"]
    options = ["--models", "toy-llava", "--strategies", "fastv", "--no-floors", "-o", "run"]
    assert call("run", "--suite", "films.csv", *options) == 2
    assert "does not accept videos (use a model that does, such as toy-video-llava" in capsys.readouterr().err


def test_clips_that_are_too_long_for_the_model_are_refused_with_the_number_that_fits(
    folder: Path, capsys: pytest.CaptureFixture[str], without_reports: None
) -> None:
    """A frame of toy-video-llava has 6 x 6 tokens and [CLS]: with n words, 512 tokens hold (512 - n) / 37 frames."""
    write_clips(folder)
    options = ["--suite", "films.csv", "--strategies", "fastv", "--budgets", "1/9", "--no-floors"]
    assert call("run", *options, "--frames", "20", "-o", "run") == 2
    said = capsys.readouterr().err
    assert not (folder / "run").exists()
    length = int(said.partition("samples have ")[2].partition(" ")[0])
    most = (512 - (length - 20 * 37)) // 37
    assert f"use --frames {most}, with which they fit" in said
    assert "resume" not in said
    assert call("run", *options, "--frames", str(most), "-o", "fits") == 0
    run = Run.open(folder / "fits")
    assert len(run.samples()) == 2 * 4
    assert set(run.samples()["visual_tokens"]) == {37 * most}


def test_no_resume_is_suggested_where_prompts_are_too_long(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the first clips of a task fit into the context, and those of a run that was extended do not."""
    write_clips(folder)
    monkeypatch.setattr("tokenbench.runner.execute.check_clips", lambda works: None)
    options = ["--suite", "films.csv", "--strategies", "fastv", "--budgets", "1/9", "--no-floors", "--limit", "1"]
    assert call("run", *options, "--frames", "20", "-o", "run") != 0
    said = capsys.readouterr().err
    assert "the model's context 512; --frames can show fewer frames" in said
    assert "start another run" in said
    assert "retry-failed" not in said


def test_pictures_in_a_parquet_file_and_a_folder_with_a_table(folder: Path) -> None:
    data = [{**row, "image": {"bytes": (folder / row["image"]).read_bytes(), "path": None}} for row in rows()]
    (folder / "set").mkdir()
    write(data, folder / "set" / "train.parquet")
    task = only("set")
    assert task.name == "train"
    write(rows(), folder / "same.csv")
    assert {s.cluster for s in task.samples()} == {s.cluster for s in only("same.csv").samples()}


def test_columns_are_found_by_name_or_given(folder: Path) -> None:
    renamed = [{"Photo": row["image"], "frage": row["question"], "Label": row["answer"]} for row in rows()]
    write(renamed, folder / "mine.csv")
    assert {s.target for s in only("mine.csv:question=frage").samples()} == set(COLORS)


def test_options_make_a_multiple_choice(folder: Path) -> None:
    write(rows(options=" | ".join(COLORS)), folder / "one.csv")
    write([{**row, **dict(zip("ABCD", COLORS, strict=True))} for row in rows()], folder / "two.csv")
    write(
        [{**row, "answer": "ABCD"[COLORS.index(row["answer"])], "options": COLORS} for row in rows()],
        folder / "three.jsonl",
    )
    for name in ("one.csv", "two.csv", "three.jsonl"):
        task = only(name)
        for sample in task.samples():
            (color,) = {
                c for c in COLORS if sample.load()[0].getpixel((0, 0)) == Image.new("RGB", (1, 1), c).getpixel((0, 0))
            }  # type: ignore[union-attr]
            letter = "ABCD"[COLORS.index(color)]
            assert f"\n{letter}. {color}" in sample.question
            assert [task.score(text, sample) for text in (letter, f"({letter})", color, "E", "")] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "answer", "said", "score"),
    [
        ("scorer=contains", "dark red", "It is dark red.", 1.0),
        ("scorer=numeric", "100", "104", 1.0),
        ("scorer=numeric:tolerance=0.01", "100", "104", 0.0),
        ("scorer=anls", "abcd", "abxy", 0.5),
        ("scorer=vqa", "stop|stop|stop|go|go|go|go|go|go|go", "stop", 0.9),
        ("scorer=iou", "[0, 0, 2, 2]", "[0, 0, 2, 1]", 1.0),
        ("scorer=iou:threshold=0.6", "[0, 0, 2, 2]", "[0, 0, 2, 1]", 0.0),
    ],
)
def test_scorers_are_chosen_by_name(settings: str, answer: str, said: str, score: float, folder: Path) -> None:
    write([{**row, "answer": answer} for row in rows()], folder / "mine.csv")
    task = only(f"mine.csv:{settings}")
    assert task.score(said, task.samples()[0]) == pytest.approx(score)


BAD = [
    ({}, {"answer": ""}, "", "line 4: column 'answer' is empty"),
    ({}, {"question": " "}, "", "line 4: column 'question' is empty"),
    ({}, {"image": "pics/gone.png"}, "", "line 4: column 'image' names the file 'pics/gone.png', which is not in"),
    ({}, {"image": "pics"}, "", "line 4: column 'image' names the folder 'pics', not a file"),
    ({}, {"image": "https://x.org/a.png"}, "", "names the address 'https://x.org/a.png', not a file"),
    ({}, {"answer": "NaN"}, "", "line 4: column 'answer' is empty"),
    ({}, {"answer": "['red' 'blue']"}, "", "line 4: column 'answer' looks like a list, but is none"),
    ({"options": "red|green|blue|yellow"}, {"options": "red|green|red"}, "", "has the option 'red' twice"),
    ({"A": "red", "B": "green", "C": "blue", "D": "x"}, {"B": ""}, "", "has no text in B, but has one after it"),
    ({}, {}, ":scorer=numeric:tolerance=-1", "tolerance=-1 is not a number of 0 or more"),
    ({}, {}, ":scorer=numeric:tolerance=nan", "tolerance=nan is not a number of 0 or more"),
    ({}, {"image": ""}, "", "line 4: column 'image' is empty"),
    (
        {"options": "red|green|blue|yellow"},
        {"answer": "pink"},
        "",
        "line 4: column 'answer' cannot be right: 'pink' is neither",
    ),
    ({"options": "red|green|blue|yellow"}, {"options": ""}, "", "line 4: column 'options' has no two options"),
    ({}, {}, ":scorer=numeric", "column 'answer' cannot be right: 'red' is not a number"),
    ({}, {}, ":scorer=iou", "has no four numbers"),
    ({"cluster": "a"}, {}, "", "line 4: column 'cluster' is 'a' as in line 2, which shows another picture"),
    ({"picture": "x"}, {}, "", ""),
    ({"photo": "x", "images": "y"}, {}, ":image=fotos", "unknown column of mine.csv 'fotos'"),
    ({}, {}, ":scorer=exakt", "unknown scorer 'exakt': did you mean exact"),
    ({}, {}, ":tolerance=0.1", "the scorer 'exact' takes no tolerance"),
    ({}, {}, ":scorer=numeric:tolerance=x", "tolerance=x is not a number of 0 or more"),
    ({}, {}, ":contains", "'contains' is not a setting of a table"),
]


@pytest.mark.parametrize(("more", "wrong", "settings", "message"), BAD)
def test_a_wrong_table_is_one_line_that_names_row_column_and_mend(
    more: dict[str, str], wrong: dict[str, str], settings: str, message: str, folder: Path
) -> None:
    values = rows(**more)
    values[2].update(wrong)
    write(values, folder / "mine.csv")
    if not message:
        assert len(only(f"mine.csv{settings}").samples()) == 8
        return
    with pytest.raises(TokenBenchError) as error:
        only(f"mine.csv{settings}").samples()
    assert message in str(error.value)
    assert error.value.hint or "did you mean" in message or "unknown" in message
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.csv", b"", "mine.csv has no rows"),
        ("mine.csv", b"image,question,answer\n", "mine.csv has no rows"),
        ("mine.csv", b"image,question\na.png,what\n", "has no column for the answer; its columns are image, question"),
        ("mine.csv", b"image,image,answer\na,b,c\n", "has two columns named 'image'"),
        ("mine.csv", b"image,question,answer\na.png,what,red,green\n", "line 2: 4 values, but 3 columns"),
        ("mine.csv", b"img,photo,question,answer\na,b,c,d\n", "several columns that could be the image: img, photo"),
        ("mine.csv", b"image,question,answer\n\xff,b,c\n", "mine.csv, line 2 is not UTF-8 text"),
        ("mine.csv", "image,question,answer\na,b,c\n".encode("utf-16"), "mine.csv, line 1 is not UTF-8 text"),
        ("mine.csv", b'image,question,answer\na.png,"b\nc",d\ne.png,"f,g\n', "mine.csv, line 4 cannot be read"),
        ("mine.csv", b'image,question,answer\na.png,"a "b" c",d\n', "mine.csv, line 2 cannot be read"),
        (
            "mine.csv",
            b"image,question,answer,,\na.png,what, and,red,\n",
            "line 2: 'red' stands in a column without a name",
        ),
        (
            "mine.csv",
            b'image,question,answer\npics/red.png,"a\nb",c\npics/red.png,b,\n',
            "line 4: column 'answer' is empty",
        ),
        (
            "mine.jsonl",
            b'{"image": "pics/red.png", "question": ["q"], "answer": "a"}\n',
            "line 1: column 'question' holds a list",
        ),
        (
            "mine.jsonl",
            b'{"image": "pics/red.png", "question": "q", "answer": NaN}\n',
            "line 1: column 'answer' is empty",
        ),
        (
            "mine.jsonl",
            b'{"image": "pics/red.png", "question": "q", "answer": "\\ud800"}\n',
            "line 1: column 'answer' holds half",
        ),
        (
            "mine.jsonl",
            b'{"image": "pics/red.png", "question": "q", "answer": {"a": 1}}\n',
            "line 1: column 'answer' holds a mapping",
        ),
        ("mine.jsonl", b'{"image": "a"}\n{', "line 2 is not JSON"),
        ("mine.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("mine.parquet", b"junk", "cannot be read as a table"),
        ("mine.xlsx", b"junk", "mine.xlsx is not a table that can be read"),
    ],
)
def test_a_damaged_table_is_one_line(name: str, content: bytes, message: str, folder: Path) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(TokenBenchError) as error:
        only(name).samples()
    assert message in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffimage,question,answer\n{0},a b,red\n",
        "image;question;answer\n{0};a b;red\n",
        "image\tquestion\tanswer\n{0}\ta b\tred\n",
        "image,question,answer,,\n{0},a b,red,,\n\n",
        "image, question, answer\r\n{0}, a b, red\r\n",
        "image,question,answer\n{1},a b,red\n",
        "image,question,answer\n{2},a b,red\n",
        "image,question,answer\n{0},a b,\"['red']\"\n",
    ],
    ids=["BOM", "semicolons", "tabs", "empty columns", "spaces", "absolute", "Windows", "Python's list"],
)
def test_what_other_programs_write_is_read_alike(content: str, folder: Path) -> None:
    text = content.format("pics/red.png", folder / "pics" / "red.png", "pics\\red.png")
    (folder / "mine.csv").write_bytes(text.encode())
    write([{"image": "pics/red.png", "question": "a b", "answer": "red"}], folder / "plain.csv")
    assert [s.digest for s in only("mine.csv").samples()] == [s.digest for s in only("plain.csv").samples()]


def test_a_name_in_other_case_is_found_for_the_user(folder: Path) -> None:
    write([{**rows()[0], "image": "pics/Red.PNG"}], folder / "mine.csv")
    if (folder / "pics" / "Red.PNG").exists():
        pytest.skip("the file system ignores case")
    with pytest.raises(TokenBenchError) as error:
        only("mine.csv").samples()
    assert error.value.hint == "it is called red.png there"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"no picture"])
def test_a_damaged_picture_is_an_error_of_its_row(content: bytes, folder: Path) -> None:
    (folder / "pics" / "red.png").write_bytes(content)
    write(rows()[:1], folder / "mine.csv")
    with pytest.raises(SampleError, match=r"the picture of mine\.csv, line 2"):
        only("mine.csv").samples()[0].load()


def test_a_picture_needs_no_ending(folder: Path) -> None:
    (folder / "pics" / "red.png").rename(folder / "pics" / "0001")
    write([{**rows()[0], "image": "pics/0001"}], folder / "mine.csv")
    assert only("mine.csv").samples()[0].load()[0].size == (32, 32)  # type: ignore[union-attr]


def test_the_target_is_what_most_people_say(folder: Path) -> None:
    write([{**rows()[0], "answer": "stop|go|go|go"}], folder / "mine.csv")
    (sample,) = only("mine.csv:scorer=vqa").samples()
    assert sample.target == "go"


def test_a_missing_table_and_a_folder_without_one(folder: Path) -> None:
    with pytest.raises(TokenBenchError, match=r"the table gone\.csv does not exist"):
        suite_of("gone.csv")
    with pytest.raises(TokenBenchError, match="must hold one table of questions, but holds none"):
        suite_of("pics")
    for name in ("a.csv", "b.csv"):
        write(rows(), folder / "pics" / name)
    with pytest.raises(TokenBenchError, match=r"but holds a\.csv, b\.csv"):
        suite_of("pics")


def test_a_registered_suite_is_no_file(folder: Path) -> None:
    (folder / "image").mkdir()
    assert suite_of("image").name == "image"


def test_show_reads_a_table_as_a_run_would(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(rows(options="red|green|blue|yellow"), folder / "mine.csv")
    assert call("show", "mine.csv") == 0
    shown = capsys.readouterr().out
    assert "questions: 8, about 4 images" in shown
    assert "  A. red\n  B. green" in shown
    (folder / "mine.csv").write_text("image,question,answer\npics/red.png,what,\n")
    assert call("show", "mine.csv") == 2
    assert "mine.csv, line 2: column 'answer' is empty" in capsys.readouterr().err
    (folder / "clse").mkdir()
    assert call("show", "clse") == 0, "a folder hides no strategy"


def test_from_a_table_to_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(rows(), folder / "mine.csv")
    arguments = ["--suite", "mine.csv", "--strategies", "fastv", "--budgets", "1/3", "--no-floors", "-q", "-o", "run"]
    assert call("run", *arguments) == 0
    frame = tokenbench.Run.open("run").samples()
    assert set(frame["task"]) == {"mine"}
    assert frame["cluster"].nunique() == 4
    assert (folder / "run" / "report" / "report.html").exists()
    assert call("resume", "run", "-q") == 2
    assert "--data mine=" in capsys.readouterr().err
    assert call("resume", "run", "--data", "mine=mine.csv", "-q") == 0
    with (folder / "mine.csv").open("a") as file:
        file.write("pics/red.png,what else ?,red\n")
    assert call("run", *arguments) == 0
    grown = tokenbench.Run.open("run").samples()
    assert len(grown.query("strategy == 'vanilla'")) == 9
    there = ["strategy", "sample", "seconds"]
    assert set(map(tuple, frame[there].to_numpy())) < set(map(tuple, grown[there].to_numpy())), "stored answers stay"


def test_a_suite_from_a_file_has_the_name_by_which_runs_know_it(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "mine.jsonl").write_text('{"image": "a.png", "question": "q", "answer": "a"}\n')
    name, data = name_files(str(tmp_path / "mine.jsonl"), (), Registry())
    suite, _ = resolve_suite(name, (), Registry(), data)
    assert name == f"{suite.name}:mine" == "jsonl:mine"

"""Data sets of the Hugging Face hub as tables: from a cache as the hub leaves it, and from folders. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.tokenbench.commands.test_running import call
from tokenbench import TokenBenchError
from tokenbench.contract.suite import Task
from tokenbench.registry.plugins import Registry
from tokenbench.registry.suites import name_files, resolve_suite

datasets = pytest.importorskip("datasets", reason='needs datasets: pip install "tokenbench[lmms]"')

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COLORS = ["red", "green", "blue"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three pictures and a table of them, and a cache of its own."""
    for i, color in enumerate(COLORS):
        Image.new("RGB", (32, 32 + i), color).save(tmp_path / f"{color}.png")
    table = "".join(f"{color}.png,what color ?,{color}\n" for color in COLORS)
    (tmp_path / "mine.csv").write_text("image,question,answer\n" + table)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder: Path, **more: list[object]) -> datasets.Dataset:
    """The same questions as a data set with pictures in it."""
    columns = {
        "image": [{"bytes": (folder / f"{color}.png").read_bytes(), "path": None} for color in COLORS],
        "question": ["what color ?"] * 3,
        "answer": COLORS,
        **more,
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def cache(folder: Path, splits: dict[str, datasets.Dataset], config: str = "data") -> None:
    """Put a data set into the cache as a download would."""
    home = folder / "hub" / "datasets--me--squares"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "snapshots" / COMMIT / config).mkdir(parents=True)
    for name, split in splits.items():
        split.to_parquet(str(home / "snapshots" / COMMIT / config / f"{name}-00000-of-00001.parquet"))


def only(text: str, *data: str) -> Task:
    registry = Registry()
    name, given = name_files(text, data, registry)
    (task,) = resolve_suite(name, (), registry, given)[0].tasks
    return task


def digests(task: Task) -> list[str]:
    return [sample.digest for sample in task.samples()]


def test_a_cached_data_set_asks_what_the_table_asks(folder: Path) -> None:
    cache(folder, {"test": made(folder), "train": made(folder).select([0])})
    task = only("hf:me/squares@main:test")
    assert digests(task) == digests(only("mine.csv"))
    assert task.name == "squares"
    assert COMMIT in task.identity, "a branch may move on"
    for sample in task.samples():
        (image,) = sample.load()
        assert isinstance(image, Image.Image)
        assert image.getpixel((0, 0)) == Image.new("RGB", (1, 1), sample.target).getpixel((0, 0))
    assert len(only("hf:me/squares:split=train").samples()) == 1
    assert only("hf:me/squares:train").identity != task.identity


def test_folders_serve_in_place_of_the_hub(folder: Path) -> None:
    made(folder).save_to_disk(str(folder / "saved"))
    datasets.DatasetDict({"test": made(folder)}).save_to_disk(str(folder / "split"))
    (folder / "files").mkdir()
    made(folder).to_parquet(str(folder / "files" / "test.parquet"))
    for name in ("saved", "split", "files"):
        assert digests(only("hf:me/squares", f"squares={name}")) == digests(only("mine.csv")), name


def test_lists_of_pictures_names_of_classes_and_settings(folder: Path) -> None:
    one = made(folder)
    pairs = one.add_column(
        "images", [[cell, cell] for cell in one.cast_column("image", datasets.Image(decode=False))["image"]]
    )
    pairs = pairs.remove_columns("image").cast_column("images", datasets.List(datasets.Image()))
    labels = (
        pairs.remove_columns("answer")
        .add_column("label", [0, 1, 2])
        .cast_column("label", datasets.ClassLabel(names=COLORS))
    )
    labels.save_to_disk(str(folder / "saved"))
    task = only("hf:me/squares:scorer=contains", "squares=saved")
    assert {sample.target for sample in task.samples()} == set(COLORS)
    assert [len(sample.load()) for sample in task.samples()] == [2, 2, 2]
    sample = task.samples()[0]
    assert task.score(f"it is {sample.target} .", sample) == 1


def test_a_run_stores_the_commit(folder: Path, without_reports: None) -> None:
    cache(folder, {"test": made(folder)})
    few = ["--strategies", "fastv", "--budgets", "1/3", "--no-floors", "-q"]
    assert call("run", "--suite", "hf:me/squares", *few, "-o", "run") == 0
    assert COMMIT in Path("run/run.json").read_text()
    assert call("resume", "run", "-q") == 0


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("hf:squares", 2, "'squares' is not the name of a data set", "hf:owner/name@main:test"),
        ("hf:me/squares@../..", 2, "is not the name of a data set", "hf:owner/name@main:test"),
        ("hf:me/squares", 2, "hf:me/squares has several splits", "choose one of test, train: hf:me/squares:SPLIT"),
        ("hf:me/squares:dev", 2, "hf:me/squares has no split 'dev'", "choose one of test, train"),
        ("hf:me/squares:test:config=x", 2, "hf:me/squares has no configuration 'x'", "choose one of default"),
        ("hf:me/squares:test:question=frage", 2, "unknown column of squares 'frage'", ""),
        ("hf:me/squares:test:scorer", 2, "'scorer' is not a setting of a table", "write, for example"),
        ("hf:me/gone", 4, "the data set me/gone is not in the local cache, and could not be downloaded", "--data gone=FOLDER"),
        ("hf:me/squares@v2:test", 4, "the data set me/squares is not in the local cache", "--revision v2 --local-dir"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_line(text: str, code: int, message: str, hint: str, folder: Path) -> None:
    cache(folder, {"test": made(folder), "train": made(folder)})
    with pytest.raises(TokenBenchError) as error:
        only(text).samples()
    assert error.value.exit_code == code
    assert message in str(error.value)
    assert hint in error.value.hint
    assert "\n" not in str(error.value)


def test_a_wrong_row_is_named_by_its_number(folder: Path) -> None:
    made(folder, answer=["red", "", "blue"]).save_to_disk(str(folder / "saved"))
    with pytest.raises(TokenBenchError, match="hf:me/squares, row 1: column 'answer' is empty"):
        only("hf:me/squares", "squares=saved").samples()


def test_a_damaged_picture_is_an_error_of_its_row(folder: Path) -> None:
    pd.DataFrame({"image": [{"bytes": b"no picture", "path": None}], "question": ["q"], "answer": ["a"]}).to_parquet(
        "x.parquet"
    )
    (folder / "files").mkdir()
    Path("x.parquet").rename(folder / "files" / "test.parquet")
    loaded = datasets.load_dataset(str(folder / "files"), split="test").cast_column(
        "image", datasets.Image(decode=False)
    )
    loaded.cast_column("image", datasets.Image()).save_to_disk(str(folder / "saved"))
    (sample,) = only("hf:me/squares", "squares=saved").samples()
    with pytest.raises(TokenBenchError, match="the picture of hf:me/squares, row 0 cannot be loaded"):
        sample.load()

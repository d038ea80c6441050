"""A few rows each of further benchmarks that papers report, in the columns of the public sets, with pictures and clips that are drawn here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Image as Picture

from tests.suites.lmms.made_up import (
    ASKED,
    LETTERS,
    NAMES,
    NUMBER,
    OPTIONS,
    PICTURES,
    PLACES,
    RIGHT,
    ROWS,
    SHAPES,
    TEXTS,
    clip,
    drawn,
    refcoco,
    save,
    save_split,
)

ABILITIES = ["image emotion", "object counting", "object counting", "geometry"] * 2


def mmstar(folder: Path) -> list[str]:
    """Abilities of unequal size, so that the mean over them is another number than the mean over questions."""
    letters = [LETTERS[place] for place in PLACES]
    columns = {
        "index": ROWS,
        "question": [f"{text} Options: {options}" for text, options in zip(ASKED, OPTIONS, strict=True)],
        "image": PICTURES,
        "answer": letters,
        "category": ["coarse perception", "fine-grained perception", "fine-grained perception", "math"] * 2,
        "l2_category": ABILITIES,
    }
    save_split(folder, "val", columns, index=NUMBER, image=Picture())
    return letters


def naturalbench(folder: Path) -> list[str]:
    """Three groups of two questions about two pictures; the last one has letters."""
    right = ["yes", "no", "no", "yes"] * 2 + ["A", "B", "B", "A"]
    columns = {
        "Index": range(12),
        "Image": [drawn(10 + 2 * (i // 4) + i % 2) for i in range(12)],
        "Question": [f"Is it thing {i // 2}?" for i in range(12)],
        "Question_Type": ["yes_no"] * 8 + ["multiple_choice"] * 4,
        "Answer": right,
    }
    save_split(folder, "test", columns, Index=NUMBER, Image=Picture())
    return right


DIRECTIONS = [f"object_rel_direction_{name}" for name in ("easy", "medium", "hard")]
KINDS = [*DIRECTIONS, "object_rel_distance", "object_counting", "room_size_estimation", *DIRECTIONS, "object_counting"]


def vsibench(folder: Path) -> list[str]:
    """Letters and numbers; two questions about each room."""
    right = ["A", "B", "C", "D", "4", "20.5", "B", "C", "A", "3"]
    for number in range(5):
        clip(folder / "videos" / "scannet" / f"scene{number}.mp4", number)
    columns = {
        "id": range(10),
        "dataset": ["scannet"] * 10,
        "scene_name": [f"scene{i // 2}" for i in range(10)],
        "question_type": KINDS,
        "question": [f"What of thing {i}?" for i in range(10)],
        "options": [["A. left", "B. right", "C. back", "D. front"] if text.isalpha() else [] for text in right],
        "ground_truth": right,
    }
    save(folder / "questions.parquet", columns, id=NUMBER, options=TEXTS)
    return right


def tempcompass(folder: Path) -> list[str]:
    """Yes or no about clips."""
    right = [("yes", "no")[i % 2] for i in ROWS]
    for number in range(4):
        clip(folder / "videos" / f"{number}.mp4", number)
    columns = {
        "video_id": [str(i // 2) for i in ROWS],
        "question": [f"Is it thing {i}?" for i in ROWS],
        "answer": right,
        "dim": ["speed", "direction", "order", "speed"] * 2,
    }
    save(folder / "questions.parquet", columns)
    return right


def realworldqa(folder: Path) -> list[str]:
    letters = [LETTERS[place] for place in PLACES]
    save_split(
        folder, "test", {"question": ASKED, "answer": letters, "image": PICTURES, "image_path": RIGHT}, image=Picture()
    )
    return letters


def chartqa(folder: Path) -> list[str]:
    columns = {
        "type": ["human_test", "augmented_test"] * 4,
        "question": ASKED,
        "answer": RIGHT,
        "image": PICTURES,
    }
    save_split(folder, "test", columns, image=Picture())
    return RIGHT


def infovqa(folder: Path) -> list[str]:
    columns = {
        "questionId": [str(i) for i in ROWS],
        "question": ASKED,
        "answers": [[right, right.upper()] for right in RIGHT],
        "image": PICTURES,
    }
    save_split(folder, "validation", columns, answers=TEXTS, image=Picture())
    return RIGHT


CAPTIONS = [
    [f"a {NAMES[i % 4]} {SHAPES[i % 4]} on a white ground", f"{NAMES[i % 4]} {SHAPES[i // 4]}", "a man's drawing"]
    for i in ROWS
]


def captions(split: str, references: str, named: str, number: bool = False, **others: Any) -> Any:
    """A function that writes captions.

    Args:
        split: The split.
        references: The column of the references.
        named: The column of the image's name.
        number: Whether that is a number.
        others: Further columns.
    """

    def write(folder: Path) -> list[str]:
        pictures = [drawn(i, second=NAMES[(i + 1) % 4] if i > 3 else "") for i in ROWS]
        numbers = [100 + i for i in ROWS] if number else [str(100 + i) for i in ROWS]
        columns = {named: numbers, references: CAPTIONS, "image": pictures, **others}
        types = {references: TEXTS, **({named: NUMBER} if number else {}), **dict.fromkeys(others, NUMBER)}
        save_split(folder, split, columns, image=Picture(), **types)
        return [texts[0] for texts in CAPTIONS]

    return write


# task -> function that writes it and returns right answers by row
MORE: dict[str, Any] = {
    "mmstar": mmstar,
    "naturalbench_groups": naturalbench,
    "vsibench": vsibench,
    "tempcompass_yes_no": tempcompass,
    "realworldqa": realworldqa,
    "chartqa": chartqa,
    "infovqa_val": infovqa,
    "refcoco+_bbox_rec_val": refcoco,
    "refcocog_bbox_rec_val": refcoco,
    "coco2014_cap_val": captions("val", "answer", "question_id", id=ROWS),
    "nocaps_val": captions("validation", "annotations_captions", "image_id", number=True),
    "flickr30k_test": captions("test", "caption", "img_id"),
    "textcaps_val": captions("val", "caption_str", "image_id"),
}


def make(root: Path) -> dict[str, list[str]]:
    """Write all below a folder; task -> right answers by row."""
    return {task: write(root / task) for task, write in MORE.items()}

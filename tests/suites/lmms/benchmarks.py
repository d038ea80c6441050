"""Small data in the real schema of each of the nine image benchmarks, laid out as `hf download` leaves it, and answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

PICTURE = datasets.Image()
TEXT = datasets.Value("string")
YESNO = ("yes", "no")


def picture(seed: int) -> Image.Image:
    """Noise: another picture for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write(rows: Sequence[dict[str, Any]], path: Path, image: bool = True) -> None:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    data = datasets.Dataset.from_dict(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    (data.cast_column("image", PICTURE) if image else data).to_parquet(str(path))


def gqa(folder: Path) -> list[str]:
    rows = [
        {"id": f"q{i}", "imageId": f"n{i // 3}", "question": f"What is thing {i}?", "answer": ("red", "dog")[i % 2]}
        for i in range(12)
    ]
    write(rows, folder / "testdev_balanced_instructions" / "testdev-00000-of-00001.parquet", image=False)
    images = [{"id": f"n{i}", "image": picture(i)} for i in range(4)]
    write(images, folder / "testdev_balanced_images" / "testdev-00000-of-00001.parquet")
    return [str(row["answer"]) for row in rows]


def mmbench(folder: Path, language: str) -> list[str]:
    rows = []
    for question in range(6):
        options = ["cat", "dog", "bird", "fish"]
        for turn in range(3):
            turned = options[turn:] + options[:turn]
            rows.append(
                {
                    "index": turn * 1_000_000 + 7 + question,
                    "question": f"What is it, number {question}?",
                    "hint": "nan" if question % 2 else "Look well.",
                    "answer": "ABCD"[turned.index(options[question % 4])],
                    **dict(zip("ABCD", turned, strict=True)),
                    "category": ("identity", "color")[question % 2],
                    "image": picture(100 + question),
                    "source": "made",
                    "L2-category": "coarse",
                    "comment": "nan",
                    "split": "dev",
                }
            )
    write(rows, folder / language / "dev-00000-of-00001.parquet")
    return [str(row["answer"]) for row in rows]


def mme(folder: Path) -> list[str]:
    categories = {"existence": 4, "OCR": 2, "code_reasoning": 3}
    rows = [
        {
            "question_id": f"{category}/{n}.png",
            "image": picture(200 + n),
            "question": f"Is it {answer}? Please answer yes or no.",
            "answer": answer.capitalize(),
            "category": category,
        }
        for category, count in categories.items()
        for n in range(count)
        for answer in YESNO
    ]
    write(rows, folder / "data" / "test-00000-of-00001.parquet")
    return [str(row["answer"]) for row in rows]


def pope(folder: Path) -> list[str]:
    rows = [
        {
            "id": str(i),
            "question_id": str(i % 6),
            "question": f"Is there a thing {i % 6} in the image?",
            "answer": YESNO[i % 2],
            "image_source": f"COCO_{i % 3}",
            "image": picture(300 + i % 3),
            "category": ("random", "popular", "adversarial")[i // 6],
        }
        for i in range(18)
    ]
    write(rows, folder / "data" / "test-00000-of-00001.parquet")
    return [str(row["answer"]) for row in rows]


def scienceqa(folder: Path) -> list[str]:
    rows = [
        {
            "image": picture(400 + i),
            "question": f"Which is it, {i}?",
            "choices": ["north", "south", "west"][: 2 + i % 2],
            "answer": i % 2,
            "hint": "" if i % 2 else "A map.",
            "lecture": "",
            "solution": "",
        }
        for i in range(8)
    ]
    write(rows, folder / "ScienceQA-IMG" / "test-00000-of-00001.parquet")
    return ["AB"[int(row["answer"])] for row in rows]


def textvqa(folder: Path) -> list[str]:
    rows = [
        {
            "image_id": f"t{i // 2}",
            "question_id": i,
            "question": f"what does sign {i} say?",
            "image": picture(500 + i // 2),
            "answers": ["stop"] * (i + 1) + ["the stop"] + ["go"] * (8 - i),
            "ocr_tokens": ["stop"],
            "set_name": "val",
        }
        for i in range(8)
    ]
    write(rows, folder / "data" / "validation-00000-of-00001.parquet")
    return ["stop" for _ in rows]


def vizwiz(folder: Path) -> list[str]:
    rows = [
        {
            "question_id": f"VizWiz_val_{i}",
            "image": picture(600 + i),
            "question": f"what is this, number {i}?",
            "answers": ["soup"] * (i + 1) + ["unanswerable"] * (9 - i),
            "category": "other",
        }
        for i in range(8)
    ]
    write(rows, folder / "data" / "val-00000-of-00001.parquet")
    return ["soup" for _ in rows]


def ocrbench(folder: Path) -> list[str]:
    kinds = ("Regular Text Recognition", "Doc-oriented VQA", "Handwritten Mathematical Expression Recognition")
    rows = [
        {
            "dataset": ("IIIT5K", "docVQA", "HME100k")[i % 3],
            "question": "what is written in the image?",
            "question_type": kinds[i % 3],
            "answer": [f"word {i}", f"Word{i}"],
            "image": picture(700 + i // 2),
        }
        for i in range(9)
    ]
    write(rows, folder / "data" / "test-00000-of-00001.parquet")
    return [f"word {i}" for i in range(9)]


# task -> (folder, function that writes it and returns right answers)
NINE: dict[str, tuple[str, Any]] = {
    "gqa": ("gqa", gqa),
    "mmbench_en_dev_static": ("mmbench", lambda folder: mmbench(folder, "en")),
    "mmbench_cn_dev": ("mmbench", lambda folder: mmbench(folder, "cn")),
    "mme": ("mme", mme),
    "pope": ("pope", pope),
    "scienceqa_img": ("scienceqa", scienceqa),
    "textvqa_val": ("textvqa", textvqa),
    "vizwiz_vqa_val": ("vizwiz", vizwiz),
    "ocrbench": ("ocrbench", ocrbench),
}


def make(root: Path) -> dict[str, list[str]]:
    """Write all nine below a folder; task -> right answers by row."""
    return {task: write_data(root / name) for task, (name, write_data) in NINE.items()}


def data_option(root: Path) -> str:
    """`--data` for all nine."""
    return ",".join(dict.fromkeys(f"{name}={root / name}" for name, _ in NINE.values()))


def answer(right: str, i: int, parsable: bool = False) -> str:
    """What a made-up model says to row i: mostly right, sometimes in other words, sometimes wrong, sometimes nothing."""
    wrong = {"yes": "no", "no": "yes", "A": "B", "B": "C", "C": "D", "D": "A"}.get(right, "something else")
    if parsable:
        return wrong if i % 7 == 3 else right
    said = [right, right, f"{right}.", wrong, right.upper(), f"The answer is {right}", "", right]
    return said[i * 5 % 8]

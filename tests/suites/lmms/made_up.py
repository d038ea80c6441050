"""Eight rows each of twelve benchmarks, in the columns and types of the public sets, with pictures and clips that are drawn here.

Rows 2k and 2k + 1 show one picture or clip, so that eight questions are four clusters; COCO has eight pictures, MMVP eight in four pairs.
The right answers alternate.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import datasets
from datasets import Features, Value
from datasets import Image as Picture
from PIL import Image, ImageDraw

COLORS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (40, 80, 220), "yellow": (235, 205, 40)}
NAMES = list(COLORS)
SHAPES = ["circle", "square", "triangle", "cross"]
WAYS = ["right", "left", "up", "down"]
LETTERS = "ABCDE"
ROWS = range(8)
TEXT, NUMBER = Value("string"), Value("int64")
TEXTS = datasets.Sequence(TEXT)


def drawn(number: int, size: int = 112, second: str = "") -> Image.Image:
    """A large shape and a small square; the number determines the shape and its color."""
    image = Image.new("RGB", (size, size), (240, 240, 240))
    pen, shape, fill = ImageDraw.Draw(image), SHAPES[number % 4], COLORS[NAMES[number % 4]]
    if shape == "circle":
        pen.ellipse((20, 20, 70, 70), fill=fill)
    elif shape == "square":
        pen.rectangle((20, 20, 70, 70), fill=fill)
    elif shape == "triangle":
        pen.polygon([(45, 20), (20, 70), (70, 70)], fill=fill)
    else:
        pen.rectangle((38, 20, 52, 70), fill=fill)
        pen.rectangle((20, 38, 70, 52), fill=fill)
    pen.rectangle((85, 85, 105, 105), fill=COLORS[second] if second else (120, 120, 120))
    file = io.BytesIO()
    image.save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue()))


PICTURES = [drawn(i // 2) for i in ROWS]
ASKED = [("What color is the large shape?", "Which shape is large?")[i % 2] for i in ROWS]
OPTIONS = [(NAMES, SHAPES)[i % 2] for i in ROWS]
PLACES = [i // 2 % 4 for i in ROWS]
RIGHT = [options[place] for options, place in zip(OPTIONS, PLACES, strict=True)]
VIDEO_ASKED = [("What color is the shape that moves?", "Which way does it move?")[i % 2] for i in ROWS]
VIDEO_OPTIONS = [(NAMES, WAYS)[i % 2] for i in ROWS]
VIDEO_PLACES = [i // 2 % 4 if i % 2 == 0 else i // 2 % 2 for i in ROWS]
VIDEO_LETTERS = [LETTERS[place] for place in VIDEO_PLACES]


def save(path: Path, columns: dict[str, Sequence[Any]], **features: Any) -> None:
    """Write rows; columns without a type are texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    types = Features({name: features.get(name, TEXT) for name in columns})
    datasets.Dataset.from_dict({name: list(values) for name, values in columns.items()}, types).to_parquet(str(path))


def save_split(folder: Path, split: str, columns: dict[str, Sequence[Any]], **features: Any) -> None:
    save(folder / "data" / f"{split}-00000-of-00001.parquet", columns, **features)


def clip(path: Path, number: int, frames: int = 8, size: int = 96) -> None:
    """A shape that moves to the right or to the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for k in range(frames):
            image = Image.new("RGB", (size, size), (240, 240, 240))
            pen, x = ImageDraw.Draw(image), (4 + 8 * k if number % 2 == 0 else 60 - 8 * k)
            (pen.ellipse if number < 2 else pen.rectangle)((x, 34, x + 24, 58), fill=COLORS[NAMES[number % 4]])
            file.mux(stream.encode(av.VideoFrame.from_image(image)))
        file.mux(stream.encode(None))


def seedbench(folder: Path) -> list[str]:
    """Rows 6 and 7 are a "video" of two frames."""
    letters = [LETTERS[place] for place in PLACES]
    save_split(
        folder,
        "test",
        {
            "answer": letters,
            **{f"choice_{letter.lower()}": [o[k] for o in OPTIONS] for k, letter in enumerate("ABCD")},
            "data_type": ["image"] * 6 + ["video"] * 2,
            "question": ASKED,
            "question_id": [str(101669 + i) for i in ROWS],
            "question_type_id": [1 + i % 2 for i in ROWS],
            "image": [[PICTURES[i]] if i < 6 else [drawn(3), drawn(3, second="red")] for i in ROWS],
        },
        question_type_id=NUMBER,
        image=datasets.Sequence(Picture()),
    )
    return letters


def mmmu(folder: Path) -> list[str]:
    """Row 6 has no options; row 7 shows two pictures."""
    subjects = ["Accounting", "Art", "Biology", "Computer_Science"]
    said = [LETTERS[PLACES[i]] if i != 6 else RIGHT[6] for i in ROWS]
    pictures = {
        f"image_{k}": [PICTURES[i] if k == 1 else drawn(3, second="red") if (k, i) == (2, 7) else None for i in ROWS]
        for k in range(1, 8)
    }
    asked = [f"<image 1> {text}" for text in ASKED[:7]] + ["<image 1> and <image 2>: which shape do both show?"]
    save_split(
        folder,
        "validation",
        {
            "id": [f"validation_{subjects[i // 2]}_{i + 1}" for i in ROWS],
            "question": asked,
            "options": [repr(OPTIONS[i]) if i != 6 else "[]" for i in ROWS],
            **pictures,
            "answer": said,
            "question_type": ["multiple-choice"] * 6 + ["open", "multiple-choice"],
        },
        **dict.fromkeys(pictures, Picture()),
    )
    return said


def refcoco(folder: Path) -> list[str]:
    """The task makes a row of each of the twelve expressions."""
    large, small = [20.0, 20.0, 50.0, 50.0], [85.0, 85.0, 20.0, 20.0]
    expressions = [
        [f"the {NAMES[i // 2]} {SHAPES[i // 2]}", "the large shape"] if i % 2 == 0 else ["the small square"]
        for i in ROWS
    ]
    boxes = [large if i % 2 == 0 else small for i in ROWS]
    save_split(
        folder,
        "val",
        {
            "question_id": [str(1000 + i) for i in ROWS],
            "image": PICTURES,
            "question": ["Please carefully observe the area circled in the image."] * 8,
            "answer": expressions,
            "bbox": boxes,
            "file_name": [f"COCO_train2014_{i // 2:012d}_{i % 2}.jpg" for i in ROWS],
        },
        image=Picture(),
        answer=TEXTS,
        bbox=datasets.Sequence(Value("float32")),
    )
    corners = [[x / 112, y / 112, (x + w) / 112, (y + h) / 112] for x, y, w, h in boxes]
    return [str(box) for box, texts in zip(corners, expressions, strict=True) for _ in texts]


def coco(folder: Path) -> list[str]:
    captions = [
        [f"a {NAMES[i % 4]} {SHAPES[i % 4]} on a white ground", f"{NAMES[i % 4]} {SHAPES[i % 4]}", "a drawing"]
        for i in ROWS
    ]
    save_split(
        folder,
        "val",
        {
            "question_id": [f"{i:012d}.jpg" for i in ROWS],
            "image": [drawn(i, second=NAMES[(i + 1) % 4] if i > 3 else "") for i in ROWS],
            "question": ["Please carefully observe the image and come up with a caption for the image"] * 8,
            "answer": captions,
            "id": ROWS,
        },
        image=Picture(),
        answer=TEXTS,
        id=NUMBER,
    )
    return [texts[0] for texts in captions]


def hallusion(folder: Path) -> list[str]:
    """Two sets of two figures, about each of which the same two questions are asked."""
    right = [str(int(NAMES[i // 2] == "red")) if i % 2 == 0 else str(int(SHAPES[i // 2] == "square")) for i in ROWS]
    save_split(
        folder,
        "image",
        {
            "category": ["VD"] * 4 + ["VS"] * 4,
            "subcategory": ["illusion"] * 4 + ["chart"] * 4,
            "set_id": ["0"] * 4 + ["1"] * 4,
            "figure_id": ["1", "1", "2", "2"] * 2,
            "question_id": [str(i % 2) for i in ROWS],
            "question": [("Is the large shape red?", "Is the large shape a square?")[i % 2] for i in ROWS],
            "gt_answer_details": [""] * 8,
            "gt_answer": right,
            "image": PICTURES,
        },
        image=Picture(),
    )
    return [("no", "yes")[int(value)] for value in right]


def vqav2(folder: Path) -> list[str]:
    """Seven of ten people say the right answer, and three say "shape"."""
    kind = {"answer": TEXT, "answer_confidence": TEXT, "answer_id": NUMBER}
    save_split(
        folder,
        "validation",
        {
            "question_type": ["what color is the"] * 8,
            "multiple_choice_answer": RIGHT,
            "answers": [
                [{"answer": right if k < 7 else "shape", "answer_confidence": "yes", "answer_id": k} for k in range(10)]
                for right in RIGHT
            ],
            "image_id": [500 + i // 2 for i in ROWS],
            "answer_type": ["other"] * 8,
            "question_id": [500000 + i for i in ROWS],
            "question": ASKED,
            "image": PICTURES,
        },
        answers=[kind],
        image_id=NUMBER,
        question_id=NUMBER,
        image=Picture(),
    )
    return RIGHT


def docvqa(folder: Path) -> list[str]:
    save_split(
        folder,
        "validation",
        {
            "questionId": [str(49000 + i) for i in ROWS],
            "question": ASKED,
            "image": PICTURES,
            "docId": [14000 + i // 2 for i in ROWS],
            "answers": [[right, right.upper()] for right in RIGHT],
        },
        docId=NUMBER,
        answers=TEXTS,
        image=Picture(),
    )
    return RIGHT


def ai2d(folder: Path) -> list[str]:
    """The answer is an index, and the prompt wants a letter."""
    columns = {"question": ASKED, "options": OPTIONS, "answer": [str(at) for at in PLACES], "image": PICTURES}
    save_split(folder, "test", columns, options=TEXTS, image=Picture())
    return [LETTERS[at] for at in PLACES]


def mmvp(folder: Path) -> list[str]:
    """Rows 2k and 2k + 1 show two pictures, with opposite answers to one question."""
    columns = {
        "Index": [i + 1 for i in ROWS],
        "Question": ["Is the large shape red?"] * 8,
        "Options": ["(a) Yes (b) No"] * 8,
        "Correct Answer": [("(a)", "(b)")[i % 2] for i in ROWS],
        "image": [drawn(i % 2, 112 + i // 2) for i in ROWS],
    }
    save_split(folder, "train", columns, Index=NUMBER, image=Picture())
    return [("A", "B")[i % 2] for i in ROWS]


def videomme(folder: Path) -> list[str]:
    for number in range(4):
        clip(folder / "videos" / f"madeup{number}.mp4", number)
    columns = {
        "video_id": [f"{i // 2 + 1:03d}" for i in ROWS],
        "duration": ["short"] * 2 + ["medium"] * 4 + ["long"] * 2,
        "domain": ["Knowledge"] * 4 + ["Sports Competition"] * 4,
        "sub_category": ["Humanity & History"] * 4 + ["Football"] * 4,
        "videoID": [f"madeup{i // 2}" for i in ROWS],
        "question_id": [f"{i // 2 + 1:03d}-{i % 2 + 1}" for i in ROWS],
        "task_type": [("Attribute Perception", "Action Recognition")[i % 2] for i in ROWS],
        "question": VIDEO_ASKED,
        "options": [[f"{LETTERS[k]}. {text}." for k, text in enumerate(options)] for options in VIDEO_OPTIONS],
        "answer": VIDEO_LETTERS,
    }
    save(folder / "questions.parquet", columns, options=TEXTS)
    return VIDEO_LETTERS


MLVU_TYPES = ["plotQA", "order", "needle", "count", "ego", "anomaly_reco", "topic_reasoning", "plotQA"]


def mlvu(folder: Path) -> list[str]:
    """Two clips have the same name and lie in folders of their own, as in the benchmark."""
    names = ["1_plotQA/movie.mp4", "2_needle/movie.mp4", "3_ego/ego.mp4", "4_count/count.mp4"]
    for number, name in enumerate(names):
        clip(folder / "videos" / name, number)
    asked = [
        "\n".join([text, *(f"({LETTERS[k]}) {option}" for k, option in enumerate(options))])
        for text, options in zip(VIDEO_ASKED, VIDEO_OPTIONS, strict=True)
    ]
    columns = {
        "video_name": [names[i // 2] for i in ROWS],
        "question": asked,
        "candidates": VIDEO_OPTIONS,
        "answer": VIDEO_LETTERS,
        "task_type": MLVU_TYPES,
        "question_id": [str(i) for i in ROWS],
    }
    save(folder / "questions.parquet", columns, candidates=TEXTS)
    return VIDEO_LETTERS


def egoschema(folder: Path) -> list[str]:
    for number in range(4):
        clip(folder / "videos" / f"{number:08x}-made-up.mp4", number)
    columns = {
        "question_idx": [str(i) for i in ROWS],
        "question": VIDEO_ASKED,
        "video_idx": [f"{i // 2:08x}-made-up" for i in ROWS],
        "option": [[f"{LETTERS[k]}. {o}" for k, o in enumerate([*options, "none"])] for options in VIDEO_OPTIONS],
        "answer": [str(place) for place in VIDEO_PLACES],
    }
    save(folder / "questions.parquet", columns, option=TEXTS)
    return VIDEO_LETTERS


# task -> (function that writes it and returns right answers by row, the YAML in lmms-eval, split)
TWELVE: dict[str, tuple[Any, str, str]] = {
    "seedbench": (seedbench, "seedbench/seedbench.yaml", "test"),
    "mmmu_val": (mmmu, "mmmu/mmmu_val.yaml", "validation"),
    "refcoco_bbox_rec_val": (refcoco, "refcoco/refcoco_bbox_rec_val.yaml", "val"),
    "coco2017_cap_val": (coco, "coco_cap/coco2017_cap_val.yaml", "val"),
    "hallusion_bench_rules": (hallusion, "", "image"),
    "vqav2_val": (vqav2, "vqav2/vqav2_val.yaml", "validation"),
    "docvqa_val": (docvqa, "docvqa/docvqa_val.yaml", "validation"),
    "ai2d": (ai2d, "ai2d/ai2d.yaml", "test"),
    "mmvp": (mmvp, "mmvp/mmvp.yaml", "train"),
    "videomme": (videomme, "videomme/videomme.yaml", "test"),
    "mlvu_dev": (mlvu, "mlvu/mlvu_dev.yaml", "test"),
    "egoschema_subset": (egoschema, "egoschema/egoschema_subset.yaml", "test"),
}


def make(root: Path) -> dict[str, list[str]]:
    """Write all twelve below a folder; task -> right answers by row."""
    return {task: write(root / task) for task, (write, _, _) in TWELVE.items()}

"""The data behind the recorded logs in tests/data/logs: rendered scenes in the schemas of POPE and MME, and as plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.suites.lmms.benchmarks import write
from tokenbench_suites.image import eval_scene
from tokenbench_suites.lmms.index import find_lmms_eval
from tokenbench_suites.scenes import ASKERS, render

__all__ = ["make_tasks"]

WORDS = """
output_type: generate_until
test_split: test
doc_to_visual: !function utils.visual
doc_to_text: question
doc_to_target: answer
generation_kwargs: {max_new_tokens: 4}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, ignore_punctuation: true}
"""


def make_tasks(folder: Path) -> Path:
    """Write the data of the tasks tb_pope, tb_mme and tb_words (108 questions on 56 images), and return the folder with their definitions."""
    for name, rows in (("pope", _pope()), ("mme", _mme()), ("words", _words())):
        write(rows, _file(folder, name))
    definitions = folder / "yaml"
    definitions.mkdir()
    (definitions / "utils.py").write_text("def visual(doc):\n    return [doc['image'].convert('RGB')]\n")
    for name in ("pope", "mme", "words"):
        source = {"dataset_path": "parquet", "dataset_kwargs": {"data_files": {"test": str(_file(folder, name))}}}
        plain = {"default": {"pre_prompt": "", "post_prompt": ""}}
        known = {"include": str(find_lmms_eval() / "tasks" / name / f"{name}.yaml"), "lmms_eval_specific_kwargs": plain}
        task = {"task": f"tb_{name}", **source, **({} if name == "words" else known)}
        text = yaml.safe_dump(task) + (WORDS if name == "words" else "")
        (definitions / f"tb_{name}.yaml").write_text(text)
    return definitions


def _file(folder: Path, name: str) -> Path:
    return folder / name / "data" / "test-00000-of-00001.parquet"


def _asked(kind: str, scene: int, turns: tuple[int, ...]) -> list[Any]:
    made = [ASKERS[kind](eval_scene(scene), np.random.default_rng((7, scene, turn)), turn) for turn in turns]
    return [question for question in made if question]


def _image(scene: int) -> Image.Image:
    return Image.fromarray(render(eval_scene(scene)))


def _pope() -> list[dict[str, Any]]:
    asked = [(scene, question) for scene in range(20) for question in _asked("existence", scene, (0, 1))][:40]
    return [
        {"id": str(at), "question_id": str(at), "question": question.text, "answer": question.answer}
        | {"image_source": f"scene_{scene:03d}", "image": _image(scene)}
        | {"category": ("random", "popular", "adversarial")[scene % 3]}
        for at, (scene, question) in enumerate(asked)
    ]


def _mme() -> list[dict[str, Any]]:
    scenes = {"existence": range(20, 27), "OCR": range(27, 31), "code_reasoning": range(31, 34)}
    pairs = [(name, scene, _asked("existence", scene, (0, 1))) for name, own in scenes.items() for scene in own]
    return [
        {"question_id": f"{name}/{scene}.png", "image": _image(scene), "question": question.text}
        | {"answer": question.answer.capitalize(), "category": name}
        for name, scene, pair in pairs
        if len(pair) == 2
        for question in pair
    ]


def _words() -> list[dict[str, Any]]:
    asked = [
        (scene, question)
        for scene in range(40, 80)
        for question in _asked("attribute", scene, (scene % 2,)) + _asked("counting", scene, (scene,))
    ][:40]
    return [
        {"id": f"r{at}", "question": question.text, "answer": question.answer, "image": _image(scene)}
        for at, (scene, question) in enumerate(asked)
    ]

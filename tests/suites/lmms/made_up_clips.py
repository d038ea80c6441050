"""Eight rows each of three more benchmarks on clips, in the columns of the public sets; two rows show one clip."""

from __future__ import annotations

import json
from pathlib import Path

from tests.suites.lmms.made_up import (
    LETTERS,
    NUMBER,
    ROWS,
    VIDEO_ASKED,
    VIDEO_LETTERS,
    VIDEO_OPTIONS,
    VIDEO_PLACES,
    clip,
    save,
)


def longvideobench(folder: Path) -> list[str]:
    """Clips of three groups of durations; two or four options, and the others are not there."""
    for number in range(4):
        clip(folder / "videos" / f"made-up-{number}.mp4", number)
    columns = {
        "video_id": [f"made-up-{i // 2}" for i in ROWS],
        "id": [f"made-up-{i // 2}_{i % 2}" for i in ROWS],
        "video_path": [f"made-up-{i // 2}.mp4" for i in ROWS],
        "question": VIDEO_ASKED,
        **{f"option{k}": [o[k] if k < len(o) else "N/A" for o in VIDEO_OPTIONS] for k in range(5)},
        "correct_choice": VIDEO_PLACES,
        "duration_group": [(15, 15, 60, 600)[i // 2] for i in ROWS],
        "question_category": [("S2E", "T2A")[i % 2] for i in ROWS],
        "duration": [2 for _ in ROWS],
    }
    numbers = dict.fromkeys(("correct_choice", "duration_group", "duration"), NUMBER)
    save(folder / "questions.parquet", columns, **numbers)
    return VIDEO_LETTERS


def mvbench(folder: Path) -> list[str]:
    """Two of the twenty tasks, as the hub has them; clips of one name lie in the folders of two sources."""
    sources = {"moving_direction": "clevrer/video_validation", "action_antonym": "ssv2_video_mp4"}
    configs = [{"config_name": name, "data_files": f"json/{name}.json"} for name in sources]
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    (folder / "json").mkdir()
    for offset, (name, source) in enumerate(sources.items()):
        for number in range(4):
            clip(folder / "video" / source / f"clip_{number}.mp4", (number + offset) % 4)
        rows = [
            {
                "video": f"clip_{i // 2}.mp4",
                "question": VIDEO_ASKED[i],
                "candidates": VIDEO_OPTIONS[i],
                "answer": VIDEO_OPTIONS[i][VIDEO_PLACES[i]],
            }
            for i in ROWS
        ]
        (folder / "json" / f"{name}.json").write_text(json.dumps(rows))
    return VIDEO_LETTERS


def nextqa(folder: Path) -> list[str]:
    """The answer is an index among five; clips have numbers for names, and lie in folders."""
    for number in range(4):
        clip(folder / "videos" / f"10{number}" / f"32387375{number}.mp4", number)
    options = [(*o, *["none of these"] * (5 - len(o))) for o in VIDEO_OPTIONS]
    columns = {
        "video": [f"32387375{i // 2}" for i in ROWS],
        "question": VIDEO_ASKED,
        **{f"a{k}": [o[k] for o in options] for k in range(5)},
        "answer": VIDEO_PLACES,
        "qid": [str(i % 2) for i in ROWS],
        "type": [("DL", "TN")[i % 2] for i in ROWS],
    }
    save(folder / "questions.parquet", columns, answer=NUMBER)
    return [LETTERS[place] for place in VIDEO_PLACES]


MORE = {
    "longvideobench_val_v": (
        "longvideobench",
        longvideobench,
        "longvideobench/longvideobench_val_v.yaml",
        "validation",
    ),
    "nextqa_mc_test": ("nextqa", nextqa, "nextqa/nextqa_mc_test.yaml", "test"),
    "mvbench_moving_direction": ("mvbench", mvbench, "mvbench/mvbench_moving_direction.yaml", "train"),
    "mvbench_action_antonym": ("mvbench", mvbench, "mvbench/mvbench_action_antonym.yaml", "train"),
}
"""task -> (folder, function that writes it and returns right answers by row, the YAML in lmms-eval, split)"""

"""A finished run whose answers a test chooses, and the suite that knows its questions."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.made import IDS, made_run

STRATEGIES = ("vanilla", "good", "bad")
SUITE = """
import tokenbench
from tokenbench import Sample, Suite, Task


class Colours(Task):
    name, description = "attribute", "What colour is it?"

    def samples(self):
        return [Sample(f"s{i}", f"image-{i}", f"What color is ball {i}?", "red", list) for i in range(COUNT)]

    def score(self, answer, sample):
        return float(answer == sample.target)


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("asked", lambda: Suite("asked", "", (Colours(),), "toy-llava"))
"""


def answered(folder: Path, vanilla: list[str], good: list[str], bad: list[str]) -> list[str]:
    """A run in `folder` / run with these answers; the arguments with which `tokenbench judge` finds it."""
    run = made_run(folder / "run", len(vanilla))
    manifest = json.loads((run / "run.json").read_text())
    manifest["spec"]["suite"] = "asked"
    (run / "run.json").write_text(json.dumps(manifest))
    (folder / "suite.py").write_text(SUITE.replace("COUNT", str(len(vanilla))))
    for cell, answers in zip(IDS, (vanilla, good, bad), strict=True):
        path = run / "cells" / f"{cell}.parquet"
        table = pq.read_table(path)
        at = table.schema.get_field_index("answer")
        pq.write_table(table.set_column(at, "answer", pa.array(answers)), path)
    return [str(run), "--plugin", str(folder / "suite.py"), "--model", "some/judge-1"]

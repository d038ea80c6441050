"""Bad run directories: damaged, foreign, or made to do harm."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.bad import MACHINE, USAGE, Bad
from tests.fuzz.made import IDS
from tests.systems import link, pipe
from tokenbench.store.run_json import SCHEMA_VERSION

READERS = (("report", "RUN"), ("compare", "RUN"), ("judge", "RUN", "--model", "m", "--url", "http://localhost:1/v1"))
PILOT = (*READERS, ("plan", "--pilot", "RUN"))
WHOLE = (
    READERS[-1],
    ("export", "RUN", "--to", "there"),
)  # what reads every column; a comparison reads those that it needs
EVERY = (*PILOT, ("status", "RUN"), ("resume", "RUN", "-q"), ("export", "RUN", "--to", "there"))
REPORT = (("report", "RUN"), ("report", "RUN", "--format", "json,latex"))
Change = Callable[[Path, random.Random], object]


def bad_runs(rng: random.Random, run: Path) -> list[Bad]:
    """A hundred copies of a good run, each damaged in one place."""
    found = [
        *(_bad(f"run.json is {text[:30]!r}", MACHINE, EVERY, _written("run.json", text), run, rng) for text in _documents(rng)),
        *(_bad(f"run.json: {'.'.join(map(str, path))} = {str(value)[:30]!r}", code, EVERY, _manifest(path, value), run, rng) for path, value, code in FIELDS),
        *(_bad(f"records: {what}", MACHINE, WHOLE if "lattice" in what else PILOT, _records(change), run, rng) for what, change in COLUMNS.items()),
        *(_bad(f"{name}: {text[:30]!r}", MACHINE, REPORT, _written(name, text), run, rng) for name, text in BESIDE),
        *(_bad(f"failed.json: {text[:30]!r}", MACHINE, REPORT, _failed(text), run, rng) for text in FAILED),
        *(_bad(what, code, PILOT, change, run, rng) for what, code, change in FILES),
        *(_bad(what, code, REPORT, change, run, rng) for what, code, change in LINKS),
    ]  # fmt: skip
    return rng.sample(found, 100)


def _bad(what: str, code: int, commands: Sequence[Sequence[str]], change: Change, run: Path, rng: random.Random) -> Bad:
    command, seed = rng.choice(commands), rng.random()

    def prepare(folder: Path) -> Sequence[str]:
        target = folder / "run"
        shutil.copytree(run, target, symlinks=True)
        change(target, random.Random(seed))
        return ["run" if part == "RUN" else part for part in command]

    return Bad(f"{what} [{command[0]}]", code, prepare)


def _documents(rng: random.Random) -> list[bytes]:
    return [
        b"", b"{", b"null", b"1", b'"x"', b"[]", b"{}", b"[[]]", b"true", b"[" * 100_000, b'{"a":' * 100_000, b"\x00" * 50,
        b"\xff\xfe\x00", rng.randbytes(300), b"9" * 5000, b'{"schema_version": %d}' % SCHEMA_VERSION, b'{"schema_version": %d, "cells": []}' % SCHEMA_VERSION,
    ]  # fmt: skip


def _written(name: str, text: bytes) -> Change:
    return lambda run, rng: (run / name).write_bytes(text)


def _manifest(path: Sequence[str | int], value: Any) -> Change:
    """run.json with another value in one place; None takes it away."""

    def change(run: Path, rng: random.Random) -> None:
        content = json.loads((run / "run.json").read_text())
        place = content
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        (run / "run.json").write_text(json.dumps(content))

    return change


FIELDS: list[tuple[tuple[str | int, ...], Any, int]] = [
    *((("schema_version",), value, MACHINE) for value in (str(SCHEMA_VERSION), [], 2.5, None)),
    *((("schema_version",), value, USAGE) for value in (SCHEMA_VERSION + 1, 10**30, SCHEMA_VERSION - 1, -1)),
    *((("spec",), value, MACHINE) for value in ([], "x", 5, None)),
    *((("spec", "limit"), value, MACHINE) for value in ("3", -1, [], 1.5)),
    (("spec", "suite"), 7, MACHINE), (("spec", "tasks"), "attribute", MACHINE), (("spec", "strategies"), [1], MACHINE),
    *((("cells",), value, MACHINE) for value in ({}, "x", [1], [[]], [{}], None)),
    *(
        (("cells", 0, "id"), value, MACHINE)
        for value in ("../../x", "../cells/" + IDS[0], "/etc/passwd", "", ".", "a\x00b", "x" * 300, 5, None, IDS[0].upper() + "\n")
    ),
    *((("cells", 1, "seed"), value, MACHINE) for value in ("0", [], 1.5)),
    *((("cells", 1, name), value, MACHINE) for name in ("model", "strategy", "budget", "task") for value in (5, "a\nb", "\x1b[2J", "\ud800")),
    *((("tasks",), value, MACHINE) for value in ([], {"attribute": 5}, {"attribute": {"unit_rule": "median"}})),
    *((("models",), value, MACHINE) for value in ([], {"toy-llava": []})),
    *((("notes",), value, MACHINE) for value in ("x", [1], {})),
    (("versions",), [], MACHINE), (("hardware",), "x", MACHINE),
]  # fmt: skip
BESIDE: list[tuple[str, bytes]] = [
    *(("bench.json", text) for text in (b"{", b"[]", b'{"schema_version": 1}', b'{"schema_version": 1, "models": [1]}', b"[" * 100_000,
      b'{"schema_version": 1, "models": [{"model": "toy-llava"}]}', b'{"schema_version": 1, "models": {"a": 1}}')),
    *((f"cells/{IDS[1]}.json", text) for text in (b"", b"[]", b"{}", b"\xff", b'{"samples": "x"}', b'{"samples": 6, "official": []}',
      b'{"samples": 6, "official": {"a": "b"}}', b"[" * 100_000)),
]  # fmt: skip
FAILED = (b"", b"[]", b"{}", b"5", b"[" * 100_000, b'{"model": "m", "strategy": 5}', b'{"kind": "other"}')


def _failed(text: bytes) -> Change:
    def change(run: Path, rng: random.Random) -> None:
        (run / "cells" / f"{IDS[2]}.parquet").unlink()
        (run / "cells" / f"{IDS[2]}.failed.json").write_bytes(text)

    return change


def _records(edit: Callable[[pa.Table], pa.Table]) -> Change:
    def change(run: Path, rng: random.Random) -> None:
        path = run / "cells" / f"{rng.choice(IDS)}.parquet"
        pq.write_table(edit(pq.read_table(path)), path)

    return change


def _column(name: str, values: Any, type_: Any = None) -> Callable[[pa.Table], pa.Table]:
    def edit(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        column = pa.array([values] * len(table), type_ or table.schema.field(name).type)
        return table.set_column(at, name, column)

    return edit


INVALID = pa.Array.from_buffers(pa.string(), 6, [None, pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in range(0, 14, 2))), pa.py_buffer(b"\xff\xfe" * 6)])  # fmt: skip
COLUMNS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "another table": lambda table: pa.table({"a": [1, 2], "b": ["x", "y"]}),
    "no columns": lambda table: table.select([]),
    **{f"no {name}": lambda table, name=name: table.drop_columns(name) for name in ("sample", "score", "kept", "answer", "visual_tokens", "flops")},
    "scores are text": _column("score", "1.0", pa.string()),
    "kept is text": _column("kept", "0", pa.string()),
    "a score of 2": _column("score", 2.0),
    "a score that is no number": _column("score", float("nan")),
    "no scores": _column("score", None),
    "no names": _column("sample", None),
    "one name": _column("sample", "s0"),
    "no answers": _column("answer", None),
    "no kept tokens": _column("kept", None),
    "kept tokens beyond the last": _column("kept", [0, 9]),
    "kept tokens below 0": _column("kept", [-1]),
    "no visual tokens": _column("visual_tokens", None),
    "visual tokens below 0": _column("visual_tokens", -5),
    "more visual tokens than memory": _column("visual_tokens", 2**31 - 1),
    "a lattice of one number": _column("lattice", [9]),
    "a lattice of nothing": _column("lattice", [0, 0, 0, 0]),
    "a lattice larger than the image": _column("lattice", [1, 60_000, 30_000, 0]),
    "text that is none": lambda table: table.set_column(table.schema.get_field_index("answer"), "answer", INVALID),
    "a column twice": lambda table: table.append_column("score", table["score"]),
}  # fmt: skip


def _cut(run: Path, rng: random.Random) -> None:
    path = run / "cells" / f"{rng.choice(IDS)}.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) - 1)])


def _flipped(run: Path, rng: random.Random) -> None:
    """The footer, of which every byte counts."""
    path = run / "cells" / f"{rng.choice(IDS)}.parquet"
    content = bytearray(path.read_bytes())
    content[-12:-4] = rng.randbytes(8)
    path.write_bytes(content)


def _instead(name: str, make: Callable[[Path], object]) -> Change:
    """Something else in the place of a file or folder."""

    def change(run: Path, rng: random.Random) -> None:
        path = run / name
        moved = path.rename(run.parent / "elsewhere")
        make(path)
        assert moved.exists()

    return change


CELL = f"cells/{IDS[0]}.parquet"
FILES: list[tuple[str, int, Change]] = [
    *(("a cut file", MACHINE, _cut) for _ in range(6)),
    *(("a broken footer", MACHINE, _flipped) for _ in range(4)),
    ("records that are text", MACHINE, _written(CELL, b"sample,score\na,1\n")),
    ("records that are empty", MACHINE, _written(CELL, b"")),
    ("records in a folder", MACHINE, _instead(CELL, Path.mkdir)),
    ("records that are a pipe", MACHINE, _instead(CELL, pipe)),
    ("records elsewhere", MACHINE, _instead(CELL, lambda path: link(path, "../../elsewhere"))),
    ("records that are a device", MACHINE, _instead(CELL, lambda path: link(path, "/dev/zero"))),
    ("cells elsewhere", MACHINE, _instead("cells", lambda path: link(path, "../elsewhere"))),
    ("run.json elsewhere", MACHINE, _instead("run.json", lambda path: link(path, "../elsewhere"))),
    ("run.json that is a link to a device", MACHINE, _instead("run.json", lambda path: link(path, "/dev/zero"))),
    ("run.json in a folder", USAGE, _instead("run.json", Path.mkdir)),
    ("run.json that is a pipe", USAGE, _instead("run.json", pipe)),
    ("no run.json", USAGE, lambda run, rng: (run / "run.json").unlink()),
]  # fmt: skip
LINKS: list[tuple[str, int, Change]] = [
    ("no vanilla", USAGE, lambda run, rng: (run / CELL).unlink()),
    ("no cells", USAGE, lambda run, rng: shutil.rmtree(run / "cells")),
    ("no summary", MACHINE, lambda run, rng: (run / "cells" / f"{IDS[1]}.json").unlink()),
    ("reports elsewhere", MACHINE, _instead("report", lambda path: link(path, "../elsewhere"))),
    ("a file in the place of reports", MACHINE, _instead("report", Path.touch)),
    ("a measurement elsewhere", MACHINE, _instead("bench.json", lambda path: link(path, "../elsewhere"))),
    ("a measurement by another version", USAGE, _written("bench.json", b'{"schema_version": 9, "models": []}')),
]

"""Bad run specs (TOML)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.bad import USAGE, Bad, junk
from tests.systems import link, pipe

GOOD = """
suite = "image"
tasks = ["attribute"]
budgets = ["1/9", 64]
limit = 2
floors = false

[[strategies]]
name = "clse"
temp = 0.2
layers = [1, 3]
merger = "tome"
"""
TABLE = '[[strategies]]\nname = "clse"\n'
WRONG = {
    "suite": ("1", "[]", "{}", "true", '""', '"zz"', '"image:"'),
    "tasks": ("1", '"attribute"', '["zz"]', "[[1]]", "[{}]", '["\\u0000"]'),
    "strategies": ("1", '"fastv"', "[1]", '["zz"]', "[[]]", "[{}]", "[{name = 1}]", '["fastv@"]'),
    "budgets": ("1", '"1/3"', "[0]", "[1.0]", "[nan]", "[true]", "[[]]", '["1/0"]', "[-3]", "[]"),
    "models": ("1", "[{}]", '["zz"]', '["\\u0000"]', '["\\u001b[2J"]'),
    "seeds": ("1", "[-1]", "[1.5]", '["x"]', "[99999999999999999999999]", "[true]"),
    "data": ('["x"]', '["="]', "1", "{}"),
    "tasks_dir": ("1", "{}", '"x"'),
    "floors": ("1", '"yes"', "[]"),
    "match": ("1", '"cost"', "[]"),
    "limit": ("0", "-1", "1.5", "true", '"1"', "nan", "[]"),
    "batch_size": ("0", "true", '"x"', "inf"),
    "device": ("1", '"zz"', "[]", '"cuda:x"'),
    "dtype": ("1", '"int8"', "[]"),
    "attention": ("1", '"slow"', "{}"),
}
TABLES = (
    "[[strategies]]\ntemp = 1", '[[strategies]]\nname = "zz"', TABLE + "tmp = 1", TABLE + "temp = -1", TABLE + "temp = nan",
    TABLE + "temp = inf", TABLE + "temp = [1]", TABLE + "temp = {a = 1}", TABLE + "layers = [[1]]", TABLE + "layers = 'x'",
    TABLE + "layers = [1.5]", TABLE + "schedule = 1", TABLE + "schedule = []", TABLE + "merger = 1", TABLE + "merger = {}",
    TABLE + 'schedule = "zz"', TABLE + 'merger = "zz\\n"', TABLE + "temp = 1979-05-27", '[[strategies]]\nname = ""',
    '[[strategies]]\nname = "clse:temp=1"', TABLE + 'schedule = ""\ntemp = -1',
)  # fmt: skip


def bad_specs(rng: random.Random, run: Path) -> list[Bad]:
    """A hundred: half of them well-formed with a wrong value, the others damaged, or no files at all."""
    keys = list(WRONG)
    found = [_file(f"{key}", _wrong(rng, key)) for key in (keys * 3)[:40]]
    found += [_file("table of strategies", f"floors = false\n{text}\n".encode()) for text in rng.sample(TABLES, 20)]
    found += [
        _file("unknown key", f"{rng.choice(['suit', 'Suite', 'plugin', 'output', 'self'])} = 1\n".encode())
        for _ in range(6)
    ]
    found += [
        _file("junk name", f'strategies = ["zz{_quoted(junk(rng))}"]\n'.encode(errors="replace")) for _ in range(8)
    ]
    found += [_file("damaged", _damaged(rng)) for _ in range(18)]
    return found + [Bad(f"special file {i}", USAGE, make) for i, make in enumerate(_SPECIAL)]


def _wrong(rng: random.Random, key: str) -> bytes:
    strategies = "" if key == "strategies" else 'strategies = ["fastv"]\n'
    return f"{strategies}{key} = {rng.choice(WRONG[key])}\n".encode()


def _quoted(text: str) -> str:
    return "".join(sign if sign.isalnum() else f"\\U{min(ord(sign), 0xD7FF):08x}" for sign in text)


def _damaged(rng: random.Random) -> bytes:
    good = GOOD.encode()
    at = rng.randrange(1, len(good) - 1)
    return rng.choice((
        b"x = " + b"[" * 50_000, b"x = " + b"{a=" * 20_000, b"\x00" * 100, b"\xff\xfe" + GOOD.encode("utf-16-le"), b"PK\x03\x04" + rng.randbytes(500),
        good[: good.index(b'"image"') + 3], good + b"\n]" + good, good[:at] + b"\x00" + good[at:], good[:at] + b"\xc3\x28" + good[at:],
        good + good, b"limit = " + b"9" * 5000, b'"' * 3 + good, b"#" * 3_000_000,
    ))  # fmt: skip


def _file(what: str, content: bytes) -> Bad:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / "spec.toml").write_bytes(content)
        return "run", "--spec", "spec.toml", "-q"

    return Bad(f"{what}: {content[:60]!r}", USAGE, prepare)


def _special(make: Callable[[Path], object]) -> Callable[[Path], Sequence[str]]:
    def prepare(folder: Path) -> Sequence[str]:
        make(folder / "spec.toml")
        return "run", "--spec", "spec.toml"

    return prepare


_SPECIAL = (
    _special(Path.mkdir),
    _special(lambda path: link(path, "/dev/zero")),
    _special(lambda path: link(path, "spec.toml")),
    _special(lambda path: link(path, "nowhere")),
    _special(pipe),
    lambda folder: ("run", "--spec", ""),
    lambda folder: ("run", "--spec", "spec\x00.toml"),
    lambda folder: ("run", "--spec", "x" * 5000),
)

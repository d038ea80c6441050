"""Bad command lines of every command."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.bad import MACHINE, USAGE, Bad, junk
from tests.systems import only_posix

only_posix("no folder can be made in /proc, which Windows would make")

RUN = ("run", "--strategies", "fastv", "--limit", "1", "-q")
COST = ("cost", "--models", "llava-1.5-7b", "--strategies", "fastv")
BENCH = ("bench", "--models", "toy-llava", "--strategies", "fastv", "--launches", "1", "-q")
JUDGE = ("judge", "run", "--model", "m", "--url")


def bad_command_lines(rng: random.Random, run: Path) -> list[Bad]:
    """A hundred. run: a good run directory, for the commands that want one."""
    return [_bad(what, code, arguments, run) for what, code, arguments in [make(rng) for make in _KINDS * 3][:100]]


def _bad(what: str, code: int, arguments: Sequence[str], run: Path) -> Bad:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / "file").write_text("in the way")
        return [str(run) if argument == "run" and at else argument for at, argument in enumerate(arguments)]

    return Bad(what, code, prepare)


Made = tuple[str, int, Sequence[str]]


def _option(base: Sequence[str], name: str, code: int = USAGE) -> Callable[[random.Random], Made]:
    """A command with junk as the value of an option."""
    return lambda rng: (f"{base[0]} {name}", code, (*base, f"{name}={junk(rng)}"))


def _value(base: Sequence[str], name: str, values: Sequence[str], code: int = USAGE) -> Callable[[random.Random], Made]:
    """A command with one of several bad values of an option."""
    return lambda rng: (f"{base[0]} {name}", code, (*base, f"{name}={rng.choice(values)}"))


def _text(
    what: str, make: Callable[[random.Random], Sequence[str]], code: int = USAGE
) -> Callable[[random.Random], Made]:
    return lambda rng: (what, code, make(rng))


NUMBERS = ("nan", "inf", "-inf", "1e999", "-1", "x", "")
GATES = (
    "clse",
    "a<b",
    "@",
    "<@1/9",
    "a<b@",
    "vanilla<a@1/9",
    "a<b@x",
    "nobody<fastv@1/2",
    "good<bad@1/7",
    "a<vanilla-x@1/2",
)
_KINDS: list[Callable[[random.Random], Made]] = [
    _option(RUN, "--strategies"),
    _text("run parameter", lambda rng: ("run", "--strategies", f"fastv:layer={junk(rng)}")),
    _text("run parameter name", lambda rng: ("run", "--strategies", f"clse:{junk(rng)}=1")),
    _text("run composition", lambda rng: ("run", "--strategies", rng.choice(("fastv@", "fastv+", "@pdrop", "+", "a@b@c", "fastv@pdrop@pdrop")))),
    _value(RUN, "--strategies", ("clse:temp=inf", "clse:temp=nan", "clse:layers=1/x", "clse:layers=", "fastv:layer=1e9", ":", "fastv:")),
    _option(RUN, "--budgets"),
    _value(RUN, "--budgets", ("1/0", "0/0", "1.0", "-3", "1e3", "1/3/3", "100%", "0", "%", "1 / 3")),
    _option(RUN, "--tasks"),
    _option(RUN, "--suite"),
    _value(RUN, "--suite", ("", ",", "image:", "image:reading", "image,image:x", "lmms", "lmms:", "lmms:zz", "video:a")),
    _option(RUN, "--models"),
    _value(RUN, "--models", ("zz/zz", "no-body/nothing@main", "a/b@c"), MACHINE),
    _option(RUN, "--seeds"),
    _value(RUN, "--seeds", ("²", "-1", "9" * 5000, "1.5", str(2**70), "1,x", "")),
    _value(RUN, "--limit", ("0", "-1", "x", "1.5", "nan", "²")),
    _value(RUN, "--batch-size", ("0", "-1", "x", "1e3")),
    _option(RUN, "--device"),
    _option(RUN, "--dtype"),
    _option(RUN, "--attention"),
    _option(RUN, "--match"),
    _value(RUN, "--data", ("x", "=", "a=", "=b", "pope", "\x00", "pope=nowhere", "a=\x00", "a=" + "x" * 5000, "a=file")),
    _text("run --tasks-dir", lambda rng: ("run", "--suite", "lmms:zz", "--strategies", "fastv", f"--tasks-dir=zz{junk(rng)}")),
    _text("run -o", lambda rng: (*RUN, "-o", rng.choice(("file", "x" * 5000, "\x00")))),
    _text("run -o", lambda rng: (*RUN, "-o", rng.choice(("file/below", "/proc/nowhere/run"))), MACHINE),
    _text("run --spec", lambda rng: ("run", f"--spec=zz{junk(rng)}")),
    _text("run --plugin", lambda rng: (*RUN, f"--plugin=zz{junk(rng)}")),
    _text("run argument", lambda rng: (*RUN, f"zz{junk(rng)}")),
    _text("run option", lambda rng: (*RUN, f"--zz{junk(rng)}")),
    _text("command", lambda rng: (f"zz{junk(rng)}",)),
    _text("report folder", lambda rng: ("report", f"zz{junk(rng)}")),
    _text("report --format", lambda rng: ("report", "run", f"--format=zz{junk(rng)}")),
    _text("compare folder", lambda rng: ("compare", f"zz{junk(rng)}")),
    _text("compare folders", lambda rng: ("compare", "run", "run", f"zz{junk(rng)}")),
    _text("compare gate", lambda rng: ("compare", "run", f"--fail-if=zz{junk(rng)}")),
    _value(("compare", "run"), "--fail-if", GATES),
    _value(("compare", "run"), "--margin", NUMBERS),
    _text("compare -o", lambda rng: ("compare", "run", "-o", "file")),
    _value(("plan",), "--difference", (*NUMBERS, "1e-300", "101")),
    _value(("plan",), "--margin", (*NUMBERS, "0", "101")),
    _value(("plan",), "--score", (*NUMBERS, "0", "80")),
    _value(("plan",), "--questions", (*NUMBERS, "0.5")),
    _value(("plan",), "--sizes", ("0", "-1", "x", "a=3,4", "a=1,a=2", "=1", "a=", "9" * 400)),
    _value(("plan",), "--discordance", (*NUMBERS, "1.5", "0")),
    _value(("plan",), "--deff", NUMBERS),
    _value(("plan",), "--seconds", NUMBERS),
    _value(("plan",), "--samples", ("0", "-1", "x", "9" * 400)),
    _text("plan --pilot", lambda rng: ("plan", f"--pilot=zz{junk(rng)}")),
    _option(("claims",), "--methods"),
    _option(("claims",), "--backbones"),
    _value(JUDGE[:-1], "--url", ("file:///etc/passwd", "nonsense", "http://", "http://a b/v1", "http://localhost:99x/v1", "ftp://x/v1", "")),
    _text("judge url", lambda rng: (*JUDGE, f"zz{junk(rng)}")),
    _text("judge folder", lambda rng: ("judge", f"zz{junk(rng)}", "--model", "m", "--url", "http://localhost:1/v1")),
    _text("judge --tasks", lambda rng: (*JUDGE, "http://localhost:1/v1", f"--tasks=zz{junk(rng)}")),
    _option(("list",), "zz"),
    _text("list kind", lambda rng: ("list", f"zz{junk(rng)}")),
    _text("show name", lambda rng: ("show", f"zz{junk(rng)}")),
    _option(COST, "--strategies"),
    _option(COST, "--budgets"),
    _option(COST, "--models"),
    _value(COST, "--visual-tokens", ("0", "-1", "x", "9" * 5000)),
    _value(COST, "--dtype", ("int8", "x", "")),
    _option(BENCH, "--strategies"),
    _option(BENCH, "--models"),
    _option(BENCH, "--visual-tokens"),
    _value(BENCH, "--launches", ("0", "-1", "x")),
    _option(BENCH, "--device"),
    _text("bench -o", lambda rng: (*BENCH, f"-ozz{junk(rng)}")),
]  # fmt: skip

"""Bad plug-in files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.bad import SAMPLE as BROKEN
from tests.fuzz.bad import USAGE, Bad, junk
from tests.systems import link, pipe

GOOD = '''
import tokenbench
from tokenbench import Stage, Strategy, Suite, Task


class Mine(Strategy):
    """Keeps the first ones."""

    layer: int = 1

    def schedule(self, depth, budget):
        return [(self.layer, budget.keep)]

    def score(self, view):
        return -view.alive.float()


@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("mine", Mine)
'''
SUITE = """
import tokenbench
from tokenbench import Sample, Suite, Task


class One(Task):
    name = "one"

    def samples(self):
        return [Sample("a", "a", "What?", "x", lambda: [])]

    def score(self, answer, sample):
        return 0.0


def made():
    return Suite("own", "", (One(),), model="toy-llava")


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("own", made)
"""
LIST = ("list", "strategies", "--plugin", "plug.py")
OWN = ("run", "--suite", "own", "--strategies", "fastv", "-q", "--plugin", "plug.py")
COST = ("cost", "--models", "llava-1.5-7b", "--strategies", "mine", "--plugin", "plug.py")
LOADED = (
    "def (", "x = 1", "import nothing_of_that_name", "raise RuntimeError('no\\nluck')", "raise SystemExit(0)", "import sys; sys.exit('bye')",
    "raise KeyError", "1 / 0", "f = lambda: f()\nf()", "x = '" + "\x00'", "class A(B): pass", "import tokenbench.nothing", "quit()", "assert False",
    "raise Exception('\\x1b[2J')", "return 5", "await x", "raise SystemExit", "# coding: zz\n", "\ufeff\ufeff", "(" * 300,
)  # fmt: skip
NAMES = ("5", "None", "''", "'a\\nb'", "'a b'", "'a:b'", "'a@b'", "'a+b'", "'a,b'", "'\\x1b[2J'", "b'mine'", "'fastv'", "('a', 'b')", "['a']", "'../x'", "'a=b'", "'\\ud800'", "'-x'", "'x' * 5000")  # fmt: skip
VALUES = ("5", "None", "Strategy", "tokenbench", "Mine()", "'no.such:Thing'", "'tokenbench'", "':'", "''", "'os:system'", "Mine.score", "[Mine]", "'tokenbench:'", "'..:x'")  # fmt: skip
SUITES = (
    "return None", "return 5", "raise ValueError('no\\nluck')", "1 / 0", "return [One()]", "return Suite('own', '', (5,), model='toy-llava')",
    "return Suite('own', '', (), model='toy-llava')", "return Suite('own', '', None, model='toy-llava')", "return Suite('own', '', (One,), model='toy-llava')",
    "raise SystemExit(0)", "return Suite('own', '', (One(), One()), model='toy-llava')", "return Suite('own', '', (One(),), model='zz')", "return Suite('own', '', (One(),))",
)  # fmt: skip
SCHEDULES = ("None", "5", "[5]", "[(1,)]", "[('a', 1)]", "[(1, 'x')]", "[(1, -3)]", "1 / 0", "[(1, float('nan'))]")  # fmt: skip
IMPOSSIBLE = ("[(-1, 2)]", "[(99, 2)]", "[(2, 5), (1, 3)]")


def bad_plugins(rng: random.Random, run: Path) -> list[Bad]:
    """A hundred: files that do not load, register the wrong thing, or fail when they are asked."""
    found = [_file(f"code {text!r}", USAGE, text, LIST) for text in LOADED]
    found += [_file(f"name {name}", USAGE, GOOD.replace('"mine"', name), LIST) for name in NAMES]
    found += [
        _file(f"value {value}", USAGE, GOOD.replace('register("mine", Mine)', f'register("mine", {value})'), LIST)
        for value in VALUES
    ]
    found += [
        _file(f"suite {body}", USAGE, SUITE.replace('return Suite("own", "", (One(),), model="toy-llava")', body), OWN)
        for body in SUITES
    ]
    for code, bodies in ((BROKEN, SCHEDULES), (USAGE, IMPOSSIBLE)):
        found += [
            _file(f"schedule {body}", code, GOOD.replace("[(self.layer, budget.keep)]", body), COST) for body in bodies
        ]
    hook = "def tokenbench_register_strategies(register):"
    found += [_file(f"hook {text}", USAGE, GOOD.replace(hook, text), LIST) for text in HOOKS]
    found += [_file("random bytes", USAGE, "".join(map(chr, rng.randbytes(60))), LIST) for _ in range(4)]
    found += [_file("junk in an error", USAGE, f"raise Exception({junk(rng)!a})", LIST) for _ in range(6)]
    found += [Bad(f"special file {i}", USAGE, make) for i, make in enumerate(_SPECIAL)]
    return rng.sample(found, 100)


HOOKS = ("def tokenbench_register_strategy(register):", "def tokenbench_register_strategies(register, more):", "def tokenbench_register_strategies():\n    register = print\n    1 / 0", "def tokenbench_register_strategies(register):\n    register()", "def tokenbench_register_strategies(register):\n    raise SystemExit(0)")  # fmt: skip


def _file(what: str, code: int, text: str, command: Sequence[str]) -> Bad:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / "plug.py").write_text(text, encoding="utf-8", errors="surrogateescape")
        return command

    return Bad(what[:80], code, prepare)


def _folder(folder: Path) -> Sequence[str]:
    (folder / "plug.py").mkdir()
    return LIST


def _not_python(folder: Path) -> Sequence[str]:
    (folder / "plug.txt").write_text(GOOD)
    return "list", "strategies", "--plugin", "plug.txt"


def _twice(folder: Path) -> Sequence[str]:
    (folder / "plug.py").write_text(GOOD)
    return *LIST, "--plugin", "plug.py"


def _device(folder: Path) -> Sequence[str]:
    link(folder / "plug.py", "/dev/zero")
    return LIST


def _pipe(folder: Path) -> Sequence[str]:
    pipe(folder / "plug.py")
    return LIST


_SPECIAL = (_folder, _not_python, _twice, _device, _pipe, lambda folder: LIST)

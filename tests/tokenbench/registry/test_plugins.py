"""The plug-in door: names, clashes, failures, single files."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call
from tokenbench import UsageError
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import Registry, registry

GOOD = '''
import tokenbench
from tokenbench import Attn, Stage, Strategy

class Mine(Strategy):
    """Keeps what the question looks at."""
    layer: int = 1
    def stages(self, depth, budget):
        return [Stage(self.layer, budget.keep, attention=(Attn(self.layer - 1, "question"),))]
    def score(self, view):
        return view.attention[view.stage.attention[0]].mean((0, 1))

@tokenbench.hookimpl
def tokenbench_register_strategies(register):
    register("mine", Mine)
'''


def plugin(folder: Path, text: str) -> Path:
    path = folder / "plug.py"
    path.write_text(text)
    return path


def test_the_built_ins_come_through_the_entry_points() -> None:
    assert {p.name for p in registry().plugins} >= {
        f"tokenbench-{k}" for k in ("strategies", "backbones", "suites", "reports")
    }
    assert not [p.error for p in registry().plugins if p.error]


def test_a_file_brings_a_strategy(tmp_path: Path) -> None:
    known = Registry([plugin(tmp_path, GOOD)])
    assert parse_strategy("mine:layer=2", known).name == "mine:layer=2"
    assert parse_strategy("mine:layer=1", known).name == "mine"


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown strategy 'fastvv': did you mean fastv"):
        parse_strategy("fastvv", registry())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clse:tmp=1", "did you mean temp"),
        ("clse:temp=-1", "greater than 0"),
        ("clse:temp=warm", "valid number"),
        ("clse:temp", "no value"),
        ("clse:score=magic", "'product' or 'evolution'"),
        ("fastv:layer=0", "greater than or equal to 1"),
    ],
)
def test_a_bad_parameter_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_strategy(text, registry())


def test_lists_are_written_with_slashes() -> None:
    named = parse_strategy("clse:layers=2/5/9:temp=0.2", registry())
    assert named.strategy.layers == (2, 5, 9)  # type: ignore[attr-defined]
    assert named.name == "clse:temp=0.2:layers=2/5/9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("x = 1", "registers nothing"),
        (
            GOOD.replace("def tokenbench_register_strategies(register)", "def tokenbench_register_strategy(register)"),
            "unknown hook",
        ),
        (GOOD.replace("(register):", "(register, more):"), "more"),
        (GOOD.replace('"mine", Mine', '"mine", 5'), "must be a subclass of tokenbench.Strategy"),
        (GOOD.replace('"mine", Mine', '"mine", "no.such:Thing"'), "cannot provide 'mine'"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / ("long-" * 40)  # which must not take the place of what is wrong
    folder.mkdir()
    path = plugin(folder, text)
    with pytest.raises(UsageError, match=message) as error:
        Registry([path])
    assert "\n" not in str(error.value)
    assert "plug" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        Registry([tmp_path / "none.py"])


def test_a_clash_names_both_plug_ins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'fastv' is registered by .*tokenbench-strategies.* and .*plug.py"):
        Registry([plugin(tmp_path, GOOD.replace('"mine"', '"fastv"'))])


def installed(site: Path, name: str, code: str) -> None:
    """A distribution with one module and one entry point, as pip leaves it."""
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[tokenbench]\n{name} = {name}\n")


def test_a_broken_distribution_stops_only_who_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "tb_broken", "raise RuntimeError('no luck')")
    installed(tmp_path, "tb_good", GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    known = Registry()
    (broken,) = (p for p in known.plugins if p.error)
    assert (broken.name, broken.origin, broken.error) == ("tb_broken", "tb_broken 2.0", "RuntimeError: no luck")
    assert known.get("strategies", "mine").__name__ == "Mine"
    with pytest.raises(UsageError) as error:
        known.get("strategies", "theirs")
    assert "tb_broken" in error.value.hint


@pytest.mark.parametrize(
    ("entry", "metadata"),
    [
        ("tb_junk = :::", "Name: tb_junk\nVersion: 2.0\n"),
        ("tb_junk = tb_junk:nothing.of.that", "Name: tb_junk\nVersion: 2.0\n"),
        ("tb junk \x1b[2J = tb_junk", ""),
        ("= tb_junk", "\x00\xff"),
        ("tb_junk = tb_junk [extra", "Name: \nVersion: \n"),
        ("tb_junk", "Name: tb_junk\nVersion: 2.0\n"),
    ],
)
def test_junk_in_metadata_stops_nothing_else(
    entry: str, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "tb_junk-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[tokenbench]\n{entry}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert parse_strategy("fastv", Registry()).name == "fastv"
    assert call("list", "plugins") == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_two_distributions_with_one_name_clash_only_for_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "tb_rival", GOOD.replace('"mine"', '"clse"'))
    monkeypatch.syspath_prepend(tmp_path)
    known = Registry()
    assert known.get("strategies", "fastv")
    with pytest.raises(
        UsageError, match=r"tb_rival \(tb_rival 2\.0\) and tokenbench-strategies \(tokenbench 0\.2\.0\)"
    ):
        known.get("strategies", "clse")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import asyncio; raise asyncio.CancelledError('no')", "CancelledError: no"),
        ("class Odd(BaseException): pass\nraise Odd('no')", "Odd: no"),
        (GOOD.replace('register("mine", Mine)', "raise SystemExit(3)"), "SystemExit: 3"),
    ],
)
def test_a_plug_in_cannot_end_the_command(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, "tb_rude", text)
    monkeypatch.syspath_prepend(tmp_path)
    assert call("list", "plugins") == 0
    assert f"tb_rude  (tb_rude 2.0)  FAILED: {reason}" in capsys.readouterr().out
    assert call("list", "strategies", "--plugin", str(plugin(tmp_path, text))) == 2
    assert f"failed to load: {reason}" in capsys.readouterr().err
    clash = GOOD.replace('"mine", Mine', '"mine", "tb_rude_part:Mine"')
    (tmp_path / "tb_rude_part.py").write_text("raise KeyboardInterrupt")
    assert call("show", "mine", "--plugin", str(plugin(tmp_path, clash))) == 2
    assert "cannot provide 'mine': KeyboardInterrupt" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_user_can_end_the_command_while_a_plug_in_loads(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "tb_slow", f"import signal; signal.raise_signal({int(number)})")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("list", "strategies") == 128 + number


def test_what_a_plug_in_does_while_it_loads_stays_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, "tb_loud", f"import os\nprint('hello')\nos.chdir({str(tmp_path)!r})\n{GOOD}")
    monkeypatch.syspath_prepend(tmp_path)
    before = Path.cwd()
    assert call("list", "strategies") == 0
    told = capsys.readouterr()
    assert "hello" not in told.out
    assert "hello" in told.err
    assert Path.cwd() == before


@pytest.mark.parametrize("name", ["\u217dlse", "\u0441lse", "cl\u017fe", "\uff43lse", "clse\u200d", "clse\u0301", "１"])
def test_a_name_that_looks_like_another_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="may contain only a-z") as error:
        Registry([plugin(tmp_path, GOOD.replace('"mine"', repr(name)))])
    assert str(error.value).isascii()


def test_a_command_that_something_ends_from_within_has_not_succeeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rude = GOOD.replace(
        "def stages(self, depth, budget):", "def stages(self, depth, budget):\n        raise SystemExit(0)"
    )
    path = plugin(tmp_path, rude)
    assert call("cost", "--models", "toy-llava", "--strategies", "mine", "--plugin", str(path)) not in (0, 1)
    assert "SystemExit: 0" in capsys.readouterr().err

"""TokenBench runs where Python and torch run: nothing in it asks for what Linux alone has, or for an encoding of this machine."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fuzz.made import made_run
from tests.tokenbench.commands.test_running import call

ROOT = Path(__file__).parents[1]
PRODUCT = [
    path
    for name in ("tokenbench", "strategies", "backbones", "suites", "reports", "tools")
    for path in (ROOT / name).rglob("*.py")
]
LINUX_ALONE = {"fcntl", "resource", "pwd", "grp", "termios", "posix", "syslog"}
NOT_EVERYWHERE = {
    "sysconf", "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getloadavg", "mkfifo", "mknod", "chown", "fchmod", "fchown",
    "statvfs", "fstatvfs", "uname", "nice", "killpg", "setsid", "wait", "sched_getaffinity", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY",
    "O_CLOEXEC", "O_NOCTTY", "pread", "pwrite", "sendfile", "getpgid", "setpgid", "fdatasync", "sync", "pthread_kill", "alarm", "setitimer",
    "SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "SIGSTOP", "SIGCONT", "pthread_sigmask",
}  # fmt: skip

PLACES = ("/dev/", "/proc/", "/sys/", "/tmp/", "/usr/", "/bin/")
SKIPS = ("only_posix", "only_linux")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))


def encodes(call: ast.Call) -> bool:
    """Whether a call that reads or writes text says how it is encoded; calls of other kinds do, too."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" in given or len(call.args) > (name == "write_text")
    mode = given.get(
        "mode", call.args[isinstance(call.func, ast.Name)] if len(call.args) > isinstance(call.func, ast.Name) else None
    )
    if name == "open" and (isinstance(call.func, ast.Name) or isinstance(mode, ast.Constant)):
        text = not (isinstance(mode, ast.Constant) and "b" in str(mode.value))
        return not text or "encoding" in given
    return name not in ("run", "Popen", "check_output") or "text" not in given or "encoding" in given


def test_every_text_is_read_and_written_as_utf_8() -> None:
    wanting = [f"{path.relative_to(ROOT)}:{one.lineno}" for path in PRODUCT for one in calls(path) if not encodes(one)]
    assert not wanting


def test_modules_that_linux_alone_has_are_imported_where_they_may_be_missing() -> None:
    for path in PRODUCT:
        for node in parsed(path).body:  # not inside a function or a try
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not LINUX_ALONE & set(names), path


def test_names_that_linux_alone_has_are_asked_for_with_care() -> None:
    """`getattr` and `hasattr` name them in a string."""
    for path in PRODUCT:
        text = path.read_text(encoding="utf-8")
        guarded = {name for name in NOT_EVERYWHERE if f'"{name}")' in text}
        for node in ast.walk(parsed(path)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("os", "signal")
            ):
                assert node.attr not in NOT_EVERYWHERE - guarded, f"{path}:{node.lineno}"


def beyond_every_system(source: str) -> list[str]:
    """What a test uses that not every system has, without a word before: see `tests/systems.py`."""
    return [f"{found.lineno}: {ast.unparse(found)}" for found in _unguarded(ast.parse(source), False)]


def _unguarded(node: ast.AST, told: bool) -> Iterator[Any]:
    """told: an enclosing function, or the module, has skipped the systems that lack it."""
    if not told and _asks_for_a_system(node):
        yield node
    elif not (_called(node) == "link" and len(getattr(node, "args", ())) == 2):  # makes it or skips, wherever it leads
        scope = isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)
        for name, value in ast.iter_fields(node):
            within = told
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _unguarded(child, within)
                    within |= scope and name == "body" and _called(getattr(child, "value", None)) in SKIPS


def _asks_for_a_system(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os" | "signal" | "socket" | "select"), attr=name):
            return name in NOT_EVERYWHERE | {"kill", "umask", "symlink", "AF_UNIX", "poll", "epoll"}
        case ast.Attribute(attr="symlink_to" | "send_signal"):
            return True
        case ast.Import(names=names):
            return any(alias.name in LINUX_ALONE | {"pty"} for alias in names)
        case ast.ImportFrom(module=module):
            return module in LINUX_ALONE | {"pty"}
        case ast.Call(args=[ast.Constant(value="fork" | "forkserver"), *_]):
            return _called(node) == "get_context"
        case ast.List(elts=[ast.Constant(value="bash" | "sh" | "mount" | "umount" | "unshare"), *_]):
            return True
        case ast.Constant(value=str(text)):
            return text.startswith(PLACES)
    return False


def _called(node: object) -> str:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name
    return ""


def test_what_not_every_system_has_is_used_by_tests_after_a_word_only() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__) and (lines := beyond_every_system(path.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "use",
    [
        "os.fork()", "os.mkfifo(path)", "os.kill(pid, 9)", "os.umask(0)", "signal.alarm(3)", "number = signal.SIGKILL", "path.symlink_to(x)",
        "process.send_signal(15)", "import resource", "from pty import openpty", "get_context('fork')", "multiprocessing.get_context('forkserver')",
        "run(['bash', '-c', 'x'])", "open('/dev/full')", "Path(f'/proc/{pid}/cmdline')", "socket.socket(socket.AF_UNIX)", "select.poll()",
    ],
)  # fmt: skip
def test_such_a_use_is_seen_wherever_it_is(use: str) -> None:
    word = "only_posix('why')"
    assert beyond_every_system(use)
    assert not beyond_every_system(f"{word}\n{use}")
    assert beyond_every_system(f"{use}\n{word}")
    assert not beyond_every_system(f"def test():\n    'Why.'\n    {word}\n    if x:\n        {use}")
    assert beyond_every_system(f"def test():\n    {use}\n    {word}")
    assert beyond_every_system(f"def test():\n    {word}\n\ndef other():\n    {use}")
    assert beyond_every_system(f"if x:\n    {word}\n{use}")


def test_what_every_system_has_needs_no_word() -> None:
    fine = [
        "os.link(a, b)",
        "signal.SIGTERM",
        "get_context('spawn')",
        "link(path, '/dev/zero')",
        "os.getpid()",
        "['python', 'sh']",
    ]
    assert not beyond_every_system("\n".join(fine))


def test_places_of_one_system_are_read_by_the_product_where_they_may_be_missing() -> None:
    for path in PRODUCT:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tried = [part for one in ast.walk(tree) if isinstance(one, ast.Try) and one.handlers for part in one.body]
        cared_for = {id(node) for part in tried for node in ast.walk(part)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PLACES):
                assert id(node) in cared_for, f"{path}:{node.lineno}"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system that has what Windows has: no names of POSIX, no folders that can be opened, no /proc."""
    for name in NOT_EVERYWHERE:
        if name.startswith("O_"):  # filelock has a part of its own for Windows
            continue
        monkeypatch.delattr(os, name, raising=False)
    for name in LINUX_ALONE - {"posix", "fcntl"}:
        monkeypatch.setitem(sys.modules, name, None)
    there, read, write = os.open, Path.read_text, Path.write_text

    def opened(path: Any, *more: Any, **named: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return there(path, *more, **named)

    def missing(method: Any) -> Any:
        def asked(path: Path, *more: Any, **named: Any) -> Any:
            if path.is_relative_to("/proc"):
                raise FileNotFoundError(2, "No such file", str(path))
            return method(path, *more, **named)

        return asked

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(Path, "read_text", missing(read))
    monkeypatch.setattr(Path, "write_text", missing(write))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, elsewhere: None) -> None:
    """As far as a product module asks for the name of the system."""
    from tokenbench.store import files

    class Os:
        name = "nt"

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr(files, "os", Os())


def test_free_memory_is_known_everywhere(elsewhere: None) -> None:
    from tokenbench.runner.memory import free_bytes

    assert free_bytes("cpu") == pytest.approx(psutil.virtual_memory().available, rel=0.3)
    assert free_bytes("mps") > 0


def test_a_run_goes_from_beginning_to_end(windows: None, tmp_path: Path) -> None:
    few = ["--strategies", "fastv", "--budgets", "1/9", "--tasks", "attribute", "--limit", "2", "--no-floors", "-q"]
    assert call("run", *few, "-o", str(tmp_path / "run")) == 0
    assert call("resume", str(tmp_path / "run"), "-q") == 0


def test_looking_at_a_run_works(windows: None, tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    assert call("status", str(run)) == 0
    assert call("report", str(run), "--format", "terminal,markdown,csv,html,json,latex") == 0
    assert call("compare", str(run)) == 0
    (tmp_path / "data").mkdir()
    assert call("export", str(run), "--to", str(tmp_path / "data")) == 0


def test_the_doctor_and_the_measurements_work(windows: None, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenbench_tools.bench.machine import conditions, fingerprint
    from tokenbench_tools.bench.memory import peak_bytes, reset_peak
    from tokenbench_tools.doctor.findings import _memory

    assert _memory().found.endswith(" GB")
    assert fingerprint("cpu")["cores"]
    assert conditions("cpu") == {}
    reset_peak(False)
    assert peak_bytes(False) > 2**20

"""A run directory made to do harm, with links, pipes, devices and names of networks in every place that a run has.

Whatever is done with it: nothing outside changes, nothing is requested, nothing hangs, and all that is said is one line.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.faults import READS, Points, watched
from tests.fuzz.bad import snapshot
from tests.systems import link, only_posix, pipe, socket_file
from tests.tokenbench.commands.test_running import call
from tokenbench.registry.plugins import registry
from tokenbench.runner import execute as running
from tokenbench.runner import work
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve

only_posix("links, pipes and devices, and an alarm that ends what hangs")

OPTIONS = {
    "strategies": ["fastv"],
    "budgets": ["1/9"],
    "tasks": ["attribute"],
    "limit": 3,
    "seeds": [0],
    "floors": False,
}
LONGEST = 20
CODES = (0, 2, 4)


class Server:
    """A server on this machine that remembers what it was asked. It knows nothing, but says yes to whatever is posted."""

    def __init__(self) -> None:
        asked = self.asked = []  # type: list[tuple[str, str, str | None]]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.command, self.path, self.headers.get("Authorization")))
                self.send_error(404)

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                said = json.dumps({"choices": [{"message": {"content": "yes"}}], "model": "m"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _same_works() -> Iterator[None]:
    """The work of the good run, made once; of any other it is made anew."""
    run, made = resolve(Request.of(OPTIONS), registry()), work.works_of
    works = made(run, registry(), "cpu")
    with pytest.MonkeyPatch.context() as patch:
        for module in (running, work):
            patch.setattr(module, "works_of", lambda of, *more: works if of.spec == run.spec else made(of, *more))
        yield


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A finished run with something of everything."""
    folder = tmp_path_factory.mktemp("good") / "run"
    options = [
        f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in OPTIONS.items()
        if value
    ]
    assert call("run", *options, "--no-floors", "-o", str(folder), "-q") == 0
    assert call("judge", str(folder), "--url", f"{server.address}/v1", "--model", "m") == 0
    assert call("report", str(folder), "--format", "json,latex,figures") == 0
    (folder / "bench.json").write_text('{"schema_version": 1, "models": []}')
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What lies outside: files, an empty folder, a pipe."""
    folder = tmp_path / "victim"
    (folder / "empty").mkdir(parents=True)
    (folder / "keys").write_text("ssh-ed25519 AAAA\n")
    (folder / "config.json").write_text('{"model_type": "llava"}')
    pipe(folder / "pipe")
    return folder


def places(run: Path) -> list[str]:
    """Every place that a run has, or may come to have, relative to it."""
    first, second = (cell["id"] for cell in json.loads((run / "run.json").read_text())["cells"])
    there = [
        str(path.relative_to(run)) for path in run.rglob("*") if not path.is_relative_to(run / "report" / "figures")
    ]
    writer = f"{socket.gethostname()}.{os.getpid()}"
    return [
        *there, f"journal/{second}.{writer}.jsonl", f"journal/{first}.other.1.jsonl", f"cells/{second}.failed.json", "running.json", "workers.json",
        "report/figures", "report/figures/ranks.pdf", "report/figures/accuracy-cost.png", "report/official.csv", "report/wandb",
        "report/mlflow", f"cells/{second}.parquet.broken", "logs/traceback.txt", "logs/slurm", "left-out", "left-out/other.1.jsonl",
    ]  # fmt: skip


Make = Callable[[Path, Path], object]
KINDS: dict[str, Make] = {
    "a link to a file": lambda path, victim: link(path, victim / "keys"),
    "a link to a folder": lambda path, victim: link(path, victim / "empty"),
    "a link to nothing yet": lambda path, victim: link(path, victim / "new"),
    "a link to a pipe": lambda path, victim: link(path, victim / "pipe"),
    "a link to a device": lambda path, victim: link(path, "/dev/zero"),
    "a link to itself": lambda path, victim: link(path, path.name),
    "a hard link": lambda path, victim: os.link(victim / "keys", path),
    "a pipe": lambda path, victim: pipe(path),
    "a socket": lambda path, victim: socket_file(path),
    "a folder": lambda path, victim: path.mkdir(),
    "a file without end": lambda path, victim: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40),
}


def commands(run: Path, server: Server, folder: Path) -> dict[str, Sequence[str]]:
    name = str(run)
    return {
        "status": ("status", name, "--thorough"),
        "report": ("report", name, "--format", "csv,json,figures"),
        "compare": ("compare", name, "-o", str(folder / "out"), "--fail-if", "fastv<vanilla@1/9"),
        "plan": ("plan", "--pilot", name),
        "export": ("export", name, "--to", str(folder / "export")),
        "judge": ("judge", name, "--url", f"{server.address}/v1", "--model", "m", "--format", "csv"),
        "resume": ("resume", name, "-q"),
    }


def hostile(good: Path, target: Path, place: str, make: Make, victim: Path) -> Path:
    """A copy of the good run, unfinished, with something else in one place."""
    shutil.copytree(good, target)
    second = json.loads((good / "run.json").read_text())["cells"][1]["id"]
    if place != f"cells/{second}.parquet":
        (target / "cells" / f"{second}.parquet").unlink()  # a cell is left to be run and published
    path = target / place
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path, victim)
    return target


def problem(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with the way a command takes it; empty if nothing is."""
    capsys.readouterr()
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST)
    try:
        code = call(*arguments)
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:150]!r}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if code not in CODES or len(errors) != (code != 0) or "Traceback" in said:
        return f"exit code {code}: {said[-400:]!r}"
    return ""


def _hangs(*_: object) -> NoReturn:
    raise TimeoutError("no answer")


def tried(
    cases: Sequence[tuple[str, str, str]], good: Path, victim: Path, server: Server, tmp_path: Path, capsys: Any
) -> list[str]:
    """What went wrong in cases of a place, a kind of thing in it, and a command."""
    outside, wrong = snapshot(victim), []
    for number, (place, kind, command) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = hostile(good, folder / "run", place, KINDS[kind], victim)
        if trouble := problem(commands(run, server, folder)[command], capsys):
            wrong.append(f"{kind} at {place} [{command}]: {trouble}")
        if snapshot(victim) != outside:
            wrong.append(
                f"{kind} at {place} [{command}]: {sorted(set(snapshot(victim).items()) ^ set(outside.items()))}"
            )
            return wrong
        shutil.rmtree(folder)
    return wrong


def every_case(good: Path) -> list[tuple[str, str, str]]:
    names = ("status", "report", "compare", "plan", "export", "judge", "resume")
    return [(place, kind, command) for place in places(good) for kind in KINDS for command in names]


def test_nothing_in_the_place_of_a_file_does_harm(
    good: Path, victim: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = random.Random(17).sample(every_case(good), 15)
    wrong = tried(cases, good, victim, server, tmp_path, capsys)
    assert not wrong, "\n".join(wrong)


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", ["status", "report", "compare", "plan", "export", "judge", "resume"])
def test_nothing_in_the_place_of_any_file_does_harm(
    command: str, good: Path, victim: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = [case for case in every_case(good) if case[2] == command]
    links = [case for case in every if case[1] in ("a link to a file", "a hard link")]
    cases = [*links, *random.Random(4).sample(sorted({*every} - {*links}), 60)]
    wrong = tried(cases, good, victim, server, tmp_path, capsys)
    assert not wrong, f"{len(wrong)} of {len(cases)}\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("run.json", "status"), ("lock", "status"), ("cells", "status"), ("journal", "status"), ("cells/FIRST.parquet", "report"),
        ("report", "report"), ("report/figures", "report"), ("bench.json", "report"), ("cells/FIRST.json", "report"), ("logs/ID.log", "resume"),
        ("journal/ID.WRITER.jsonl", "resume"), ("lock", "resume"), ("judge", "judge"), ("judge/NAME/verdicts.jsonl", "judge"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["a link to a file", pytest.param("a pipe", marks=pytest.mark.slow)])
def test_what_is_no_file_of_the_run_is_named(
    place: str,
    command: str,
    kind: str,
    good: Path,
    victim: Path,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = (cell["id"] for cell in json.loads((good / "run.json").read_text())["cells"])
    (judge,) = (path.name for path in (good / "judge").iterdir())
    name = (
        place.replace("FIRST", first)
        .replace("ID", second)
        .replace("WRITER", f"{socket.gethostname()}.{os.getpid()}")
        .replace("NAME", judge)
    )
    run = hostile(good, tmp_path / "run", name, KINDS[kind], victim)
    code = call(*commands(run, server, tmp_path)[command])
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == (2 if (place, kind) == ("run.json", "a pipe") else 4)
    assert str(run / name) in line or place == "run.json"


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The hub, as if HF_ENDPOINT named the server and a token were there."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_dummy")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    server.asked.clear()
    return server


def naming(good: Path, target: Path, spec: dict[str, Any]) -> Path:
    """A copy of the good run whose spec names something else."""
    shutil.copytree(good, target)
    manifest = json.loads((target / "run.json").read_text())
    manifest["spec"] |= spec
    (target / "run.json").write_text(json.dumps(manifest))
    second = manifest["cells"][1]["id"]
    (target / "cells" / f"{second}.parquet").unlink()
    return target


EVIL = "evil/exfil-beacon@deadbeef"


def test_the_hub_of_this_test_is_asked_by_a_run_that_the_user_names(hub: Server, tmp_path: Path) -> None:
    """Without this, the tests below would show nothing."""
    assert (
        call("run", "--models", EVIL, "--strategies", "fastv", "--limit", "1", "-o", str(tmp_path / "run"), "-q") == 4
    )
    assert ("HEAD", "/evil/exfil-beacon/resolve/deadbeef/config.json", "Bearer hf_dummy") in hub.asked


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "report",
        "resume",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("compare", "plan", "export", "judge")),
    ],
)
@pytest.mark.parametrize("what", ["a model of the hub", "a model folder", "data", "definitions", "a plug-in"])
def test_what_only_the_run_names_is_neither_fetched_nor_read(
    what: str, command: str, good: Path, victim: Path, hub: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec: dict[str, Any] = {
        "a model of the hub": {"models": [EVIL]},
        "a model folder": {"models": [str(victim)]},
        "data": {"suite": "lmms:pope", "tasks": ["pope"], "data": [f"pope={victim}"]},
        "definitions": {"definitions": [str(victim)]},
        "a plug-in": {},
    }[what]
    run = naming(good, tmp_path / "run", spec)
    if what == "a plug-in":
        manifest = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**manifest, "plugin_files": [str(victim / "plug.py")]}))
    looks = Points((*READS, "open"))
    with watched(victim, looks):
        arguments = commands(run, hub, tmp_path)[command]
        assert not problem([part if part != "csv,json,figures" else "html" for part in arguments], capsys)
    assert not looks.seen
    assert not [asked for asked in hub.asked if asked[0] != "POST"]


def test_a_model_that_is_named_again_is_fetched_by_resume_only(good: Path, hub: Server, tmp_path: Path) -> None:
    run = naming(good, tmp_path / "run", {"models": [EVIL]})
    assert call("status", str(run), "--thorough", "--models", EVIL) == 0
    assert not hub.asked
    assert call("resume", str(run), "--models", EVIL, "-q") == 4
    assert hub.asked

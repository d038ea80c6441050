"""The judge's pass over stored answers, against a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.tokenbench.test_run import call
from tokenbench.errors import UsageError
from tokenbench.judge import ATTEMPTS, Asked, Judge, _read
from tokenbench.runner.progress import progress

SMALL = [
    "--strategies",
    "fastv",
    "--budgets",
    "1/9",
    "--tasks",
    "attribute,counting",
    "--limit",
    "4",
    "--no-floors",
    "-q",
]


class Server:
    """Says yes to answers that begin with r; remembers what it was asked. fail_after: then it is out of order."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.fail_after = 10**6
        self.reply: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                failing = len(outer.asked) > outer.fail_after
                self.send_response(500 if failing else 200)
                self.end_headers()
                given = body["messages"][0]["content"].split("Given answer: ")[1]
                content = outer.reply or ("Yes." if given.startswith("r") else "no")
                said = {"model": "judge-2026", "choices": [{"message": {"content": content}}]}
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged") / "run"
    assert call("run", *SMALL, "-o", str(folder)) == 0
    return folder


def test_every_distinct_answer_is_judged_once(
    finished: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = tokenbench.Run.open(finished).samples()
    distinct = len(samples[["task", "sample", "answer"]].drop_duplicates())
    assert call("judge", str(finished), "--url", server.url, "--model", "some/judge-1") == 0
    assert len(server.asked) == distinct < len(samples)
    assert all(body["model"] == "some/judge-1" and body["temperature"] == 0 for body in server.asked)
    (folder,) = (finished / "judge").glob("some-judge-1-*")
    rated = pd.read_parquet(folder / "samples.parquet")
    assert (rated["score"] == rated["answer"].str.startswith("r")).all()
    assert set(rated["judge"]) == {folder.name}
    assert "some-judge-1" in (folder / "summary.md").read_text()
    assert (folder / "pairs.csv").exists()
    assert call("judge", str(finished), "--url", server.url, "--model", "some/judge-1") == 0
    assert len(server.asked) == distinct
    assert tokenbench.Run.open(finished).samples().equals(samples)


def test_another_judge_has_its_own_verdicts(finished: Path, server: Server) -> None:
    assert (
        call("judge", str(finished), "--url", server.url, "--model", "other", "--tasks", "attribute", "--format", "csv")
        == 0
    )
    (folder,) = (finished / "judge").glob("other-*")
    assert set(pd.read_parquet(folder / "samples.parquet")["task"]) == {"attribute"}


def test_what_was_said_before_a_failure_is_kept(tmp_path: Path, server: Server) -> None:
    asked = [Asked("what?", "red", f"r{i}") for i in range(6)]
    judge = Judge(server.url, "judge", pause=0.0)
    server.fail_after = 4
    with pytest.raises(tokenbench.MachineError, match=r"judge 'judge' at .*: status 500"):
        judge.verdicts(asked, tmp_path, 1, lambda total: progress(total, open("/dev/null", "w"), True))  # noqa: SIM115
    with (tmp_path / "verdicts.jsonl").open("a") as file:
        file.write('{"key": "torn')
    server.fail_after, before = 10**6, len(server.asked)
    found = judge.verdicts(asked, tmp_path, 1, lambda total: progress(total, open("/dev/null", "w"), True))  # noqa: SIM115
    assert [found[one.key] for one in asked] == [1.0] * 6
    assert len(server.asked) - before == 2
    assert before <= 4 + 2 * ATTEMPTS


def test_what_is_wrong_is_one_line(finished: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.reply = "I would rather not say"
    judge = ["judge", str(finished), "--model", "shy"]
    assert call(*judge, "--url", server.url, "--tasks", "reading") == 2
    assert "unknown task of the run 'reading'" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenbench.judge.time.sleep", lambda seconds: None)
        assert call(*judge, "--url", server.url) == 4
        assert "neither yes nor no but 'I would rather not say'" in capsys.readouterr().err
        assert call(*judge, "--url", "http://127.0.0.1:9/v1") == 4
        assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://a b/v1", "http://localhost:99x/v1", "http://[::1/v1", "", "http://"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        Judge(url, "m")


def test_a_key_is_never_part_of_a_message() -> None:
    with pytest.raises(UsageError, match="key holds signs") as error:
        Judge("http://localhost:1/v1", "m", "secret\n")
    assert "secret" not in str(error.value)


def test_junk_between_verdicts_is_no_verdict(tmp_path: Path) -> None:
    lines = [
        b'{"key": "a", "right": 1.0}',
        b"[" * 50_000,
        b"\xff",
        b'{"key": "b", "right": NaN}',
        b'{"key": "c", "right": 5}',
        b"5",
        b'{"key": "d", "right": 0}',
        b"{",
    ]
    (tmp_path / "verdicts.jsonl").write_bytes(b"\n".join(lines))
    assert _read(tmp_path / "verdicts.jsonl") == {"a": 1.0, "d": 0.0}

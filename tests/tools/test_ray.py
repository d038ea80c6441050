"""A Ray cluster whose workers and nodes are lost: each answer is computed once, and what is said is true."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.ray_cluster import ADDRESS, Cluster, cluster
from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call, table
from tokenbench.errors import MachineError, UsageError
from tokenbench.runner.worker import WorkUnit
from tokenbench_tools.executors import ray_pool
from tokenbench_tools.executors.ray_pool import Pool

ray = pytest.importorskip("ray")
from ray.exceptions import ActorUnavailableError, RayActorError  # noqa: E402

UNITS = [WorkUnit("toy-llava", at, at + 1) for at in range(3)]
FEW = [
    *("--strategies", "fastv", "--budgets", "1/9", "--tasks", "attribute,counting", "--no-floors"),
    *("--limit", "60", "--batch-size", "4", "-q"),
]


class Actor:
    """Stands for an actor; its calls are handed to the script."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.place = self.answer = self
        self.killed = False

    def remote(self, unit: WorkUnit | None = None) -> tuple[Actor, WorkUnit | None, object]:
        return self, unit, object()


class Script:
    """Stands for Ray. `outcomes` says what the calls of each actor return or raise, in their order; after that, they succeed.

    Whatever an actor is asked for stands in `asked`.
    """

    exceptions = ray.exceptions

    def __init__(self, **outcomes: list[Any]) -> None:
        self.outcomes = {int(name[1:]): iter(given) for name, given in outcomes.items()}
        self.actors: list[Actor] = []
        self.asked: list[tuple[int, WorkUnit | None]] = []
        self.absent: set[int] = set()

    def make(self) -> Actor:
        self.actors.append(Actor(len(self.actors)))
        return self.actors[-1]

    def wait(self, calls: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        there = [call for call in calls if call[0].number not in self.absent]
        return there[:1], calls

    def get(self, call: Any) -> Any:
        actor, unit, _ = call
        self.asked.append((actor.number, unit))
        outcome = next(self.outcomes.get(actor.number, iter(())), None)
        if isinstance(outcome, Exception) and not isinstance(outcome, UsageError):
            raise outcome
        return outcome if unit else f"host{actor.number}"

    def kill(self, actor: Actor) -> None:
        actor.killed = True


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(ray_pool, "PAUSE", 0)
    return []


def died(reason: str = "The actor died because its node has died.") -> RayActorError:
    return RayActorError(
        None, f"The actor died unexpectedly before finishing this task.\n\tclass_name: _Actor\n{reason}"
    )


def test_an_actor_that_cannot_be_reached_for_a_moment_is_asked_again_and_not_replaced(told: list[str]) -> None:
    away = ActorUnavailableError("The actor is unavailable: RpcError", None)
    script = Script(a0=[None, *[away] * 10])
    assert list(Pool(script, script.make, 1, told.append).do(UNITS)) == UNITS
    assert script.asked == [(0, None), *[(0, UNITS[0])] * 11, (0, UNITS[1]), (0, UNITS[2])]
    assert told == []


def test_the_unit_of_a_lost_actor_is_done_by_another_one(told: list[str]) -> None:
    script = Script(a0=[None, died()])
    assert sorted(Pool(script, script.make, 2, told.append).do(UNITS), key=UNITS.index) == UNITS
    first, second = (number for number, unit in script.asked if unit == UNITS[0])
    assert first == 0 != second
    assert (2, None) in script.asked, "a new actor takes its place"
    assert told == [
        "the worker on host0 was lost (The actor died because its node has died.); "
        "another one continues with toy-llava, batches 0 to 1"
    ]
    assert all(actor.killed for actor in script.actors[1:])


def test_an_idle_actor_takes_over_before_a_new_one_is_started(told: list[str]) -> None:
    script = Script(a0=[None, died()])
    assert sorted(Pool(script, script.make, 2, told.append).do(UNITS[:2]), key=UNITS.index) == UNITS[:2]
    assert len(script.actors) <= 3
    idle = Script(a1=[None, None, died()])  # it dies after its unit, with nothing to do
    idle.absent = {0}
    pool = Pool(idle, idle.make, 2, told.append).do(UNITS[:2])
    assert next(pool) == UNITS[0]
    idle.absent = set()
    assert next(pool) == UNITS[1]


def test_a_unit_that_loses_every_worker_ends_the_run_with_their_number(told: list[str]) -> None:
    script = Script(**{f"a{at}": [None, died("out of memory")] for at in range(10)})
    with pytest.raises(MachineError) as raised:
        list(Pool(script, script.make, 1, told.append).do(UNITS))
    lost = [number for number, unit in script.asked if unit == UNITS[0]]
    assert str(raised.value) == (
        f"toy-llava, batches 0 to 1: {len(lost)} workers were lost with this unit, the last one on host{lost[-1]}: out of memory"
    )
    assert len(told) == len(lost) - 1


def test_losses_of_different_units_do_not_add_up(told: list[str]) -> None:
    script = Script(**{f"a{at}": [None, died()] for at in range(2 * len(UNITS))} | {"a6": []})
    many = [WorkUnit("toy-llava", at, at + 1) for at in range(3)]
    outcomes = iter([died(), died(), None] * 3)  # each unit loses two workers
    script.get = lambda call: f"host{call[0].number}" if call[1] is None else _do(next(outcomes))  # type: ignore[method-assign]
    assert list(Pool(script, script.make, 1, told.append).do(many)) == many
    assert len(told) == 6


def _do(outcome: Exception | None) -> None:
    if outcome is not None:
        raise outcome


def test_workers_that_never_start_end_the_run_with_the_reason(told: list[str]) -> None:
    script = Script(**{f"a{at}": [died("ModuleNotFoundError: No module named 'tokenbench'")] for at in range(20)})
    with pytest.raises(MachineError, match="no worker can be started on the Ray cluster: ModuleNotFoundError"):
        list(Pool(script, script.make, 2, told.append).do(UNITS))
    assert not any(unit for _, unit in script.asked)


def test_a_cluster_without_room_is_waited_for_and_not_for_ever(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 30))
    monkeypatch.setattr(ray_pool.time, "monotonic", lambda: float(next(now)))
    script = Script()
    script.absent = {0, 1}
    with pytest.raises(MachineError, match="no worker could be started on the Ray cluster for 10 minutes"):
        list(Pool(script, script.make, 2, told.append).do(UNITS))
    assert told[0] == "waiting 30 s for a node with room for a worker; ray status shows the cluster"
    assert len(told) == 20
    assert all(actor.killed for actor in script.actors)


def test_an_error_that_an_actor_returns_ends_the_run_and_all_actors(told: list[str]) -> None:
    script = Script(a0=[None, UsageError("wrong")])
    with pytest.raises(UsageError, match="wrong"):
        list(Pool(script, script.make, 2, told.append).do(UNITS))
    assert all(actor.killed for actor in script.actors)


@pytest.fixture
def closed_port() -> Iterator[int]:
    only_posix("Windows words its errors otherwise")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        yield taken.getsockname()[1]


@pytest.fixture
def other_server() -> Iterator[int]:
    """A server that answers, but not in Ray's protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("server", "reason"), [("closed_port", "Connection refused"), ("other_server", "what answers there is not Ray")]
)
def test_a_head_that_is_not_there_is_one_line_at_once(
    server: str, reason: str, request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{request.getfixturevalue(server)}"
    begun = time.monotonic()
    assert call("run", *FEW, "--executor", "ray", "--ray-address", address, "-o", str(tmp_path / "run")) == 4
    assert time.monotonic() - begun < 60, "Ray itself tries for more than two minutes"
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        f"error: cannot reach the Ray cluster at {address}: {reason} (compare the address with the one that ray start --head printed)"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.mark.slow
def test_a_node_that_dies_is_replaced_by_one_that_joins_and_nothing_is_computed_twice(
    two_nodes: Cluster, tmp_path: Path
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    journals = Journals(folder)
    options = ["--executor", "ray", "--ray-address", ADDRESS, "-o", str(folder)]
    command = [sys.executable, "-m", "tokenbench", "run", *FEW[:-1], *options]
    empty = subprocess.run(two_nodes.inside(command), capture_output=True, text=True)
    assert empty.returncode == 4
    assert empty.stderr == (
        "error: the Ray cluster has neither a GPU nor a CPU for workers (add a node to it: ray start --address HOST:PORT)\n"
    )
    assert not folder.exists()

    first = two_nodes.join()
    assert call("run", *FEW, "-o", str(whole)) == 0
    error = tmp_path / "stderr"
    process = subprocess.Popen(two_nodes.inside(command), stdout=subprocess.DEVNULL, stderr=error.open("wb"))
    _until(lambda: journals.look() > 20, process)
    two_nodes.kill(first)
    _until(lambda: "was lost" in error.read_text(), process)
    assert journals.look() < 240, "it was lost in mid-run"
    two_nodes.join()
    while process.poll() is None:
        journals.look()
        time.sleep(0.05)

    assert process.returncode == 0, error.read_text()
    assert error.read_text().count("was lost") == 1
    assert "C++" not in error.read_text()
    assert ".cc:" not in error.read_text()
    pd.testing.assert_frame_equal(table(folder), table(whole))
    for name in ("summary.md", "summary.csv", "pairs.csv"):
        assert (folder / "report" / name).read_bytes() == (whole / "report" / name).read_bytes()
    assert journals.look() > 200
    assert journals.twice() == []


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Journals:
    """What the journals of a run held whenever somebody looked: a run removes them in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seen = folder, dict[str, bytes]()

    def look(self) -> int:
        """How many records they have held."""
        for path in self._folder.glob("journal/*.jsonl"):
            with suppress(FileNotFoundError):
                self._seen[path.name] = path.read_bytes()
        return sum(content.count(b"\n{") for content in self._seen.values())

    def twice(self) -> list[tuple[str, str]]:
        """The cells and questions that were answered more than once."""
        lines = [(name, line) for name, content in self._seen.items() for line in content.split(b"\n")[:-1] if line]
        found = Counter((name.split(".")[0], json.loads(line)["sample"]) for name, line in lines)
        return [key for key, number in found.items() if number > 1]

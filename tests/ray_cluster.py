"""A Ray cluster of processes of this machine, in a network of its own, whose nodes can die and join."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.systems import only_linux, only_posix

ADDRESS = "127.0.0.1:6379"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "0",  # a dead node is noticed after one second instead of half a minute
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "2",
}


class Cluster:
    """Its head, which runs no workers, and the nodes that joined it.

    Each node is a session of its own, so that exactly its processes can be killed.
    """

    def __init__(self, network: int, folder: Path) -> None:
        self._network, self._folder = network, folder
        self._nodes: list[subprocess.Popen[bytes]] = []

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command in the cluster's network. No token is needed there, whether or not this user has one."""
        return [*_enter(self._network), "env", "RAY_AUTH_MODE=disabled", *command]

    def start_head(self) -> None:
        options = ["--head", "--port", ADDRESS.rpartition(":")[2], "--include-dashboard", "false"]
        self._start([*options, "--temp-dir", str(self._folder), "--num-cpus", "0"])

    def join(self, cpus: int = 1) -> int:
        """Start a node; its number."""
        self._start(["--address", ADDRESS, "--num-cpus", str(cpus)])
        return len(self._nodes) - 1

    def kill(self, node: int) -> None:
        """Kill all processes of a node without any warning."""
        process = self._nodes[node]
        for one in _session(process.pid):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def stop(self) -> None:
        for node in reversed(range(len(self._nodes))):
            self.kill(node)

    def _start(self, options: Sequence[str]) -> None:
        own = ["--node-ip-address", "127.0.0.1", "--num-gpus", "0", "--object-store-memory", "80000000", "--block"]
        log = (self._folder / f"node-{len(self._nodes)}.log").open("wb")
        process = subprocess.Popen(
            self.inside(["ray", "start", *options, *own]),
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._nodes.append(process)
        deadline = time.monotonic() + 120
        while b"Ray runtime started" not in Path(log.name).read_bytes():
            waits = process.poll() is None and time.monotonic() < deadline
            assert waits, Path(log.name).read_text()
            time.sleep(0.1)
        log.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start the head of a cluster; in the end, all of its processes are killed and its files are removed."""
    only_linux("Ray's nodes get a network namespace of their own, since they listen on every address")
    holder = subprocess.Popen([*_unshare(), "sh", "-c", "ip link set lo up && echo ready && exec cat"], **_PIPES)
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets lie in it, and their names must be short
    made = Cluster(holder.pid, folder)
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.skip("network namespaces cannot be made here")
        made.start_head()
        yield made
    finally:
        made.stop()
        holder.kill()
        holder.communicate()
        shutil.rmtree(folder, ignore_errors=True)


_PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}


def _unshare() -> list[str]:
    only_linux("no other system has namespaces")
    return ["unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]


def _enter(process: int) -> list[str]:
    only_linux("no other system has namespaces")
    users = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
    return ["nsenter", f"--target={process}", "--net", *users]


def _session(leader: int) -> list[psutil.Process]:
    """All processes of a session."""
    only_posix("Windows has no sessions")
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found

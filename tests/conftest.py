"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start, too; `-n auto` uses the cores

# A busy machine is no failure: no deadlines. --hypothesis-profile chooses; without it, the examples are the same every time.
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.register_profile("long", deadline=None, max_examples=20_000)  # pytest tests/fuzz --hypothesis-profile long
settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _threads() -> Iterator[None]:
    """Two threads on tiny tensors only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        help="Where tests on tiny models run: cpu, cuda, cuda:1, or pretend (a GPU that is computed on the CPU, see tests/pretend.py).",
    )


def pytest_configure(config: pytest.Config) -> None:
    where = config.getoption("--device")
    os.environ["TOKENBENCH_TEST_DEVICE"] = "cuda" if where == "pretend" else where
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as a script starts what it does not wait for; processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    """A GPU whose numbers are compared with those of another computation rounds no product to 10 bits."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if request.config.getoption("--device") != "pretend":
        yield
        return
    from tests.pretend import PretendGPU

    with PretendGPU():
        yield


@pytest.fixture
def without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tokenbench run` and `resume` write no reports, which take as long as the answers of a small run. For tests of the answers."""
    monkeypatch.setattr("tokenbench.commands.carrying_out.write_reports", lambda *arguments: None)


@pytest.fixture(scope="module")
def module_without_reports() -> Iterator[None]:
    """The same for a whole module, and for what its tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenbench.commands.carrying_out.write_reports", lambda *arguments: None)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto`, as many workers as there are cores that this process may use; a machine may have more."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is exhaustive is slow, so that `-m "not slow"` leaves it out, too."""
    for item in items:
        if item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("gpu"):
            item.add_marker(_needs_gpu())


def _needs_gpu() -> pytest.MarkDecorator:
    import torch

    return pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The matrix of strategies and backbones, with the number of checks each pair passed."""
    counts: dict[tuple[str, str], list[int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            found = re.search(r"test_conformance.py::test_strategy\[([^-]+)-(.+)\]", report.nodeid)
            if found and report.when == "call":
                backbone = next(name for name in _backbones() if found[2].endswith(f"-{name}"))
                count = counts.setdefault((found[2].removesuffix(f"-{backbone}"), backbone), [0, 0])
                count[0] += outcome == "passed"
                count[1] += 1
    if counts:
        columns = sorted({backbone for _, backbone in counts})
        terminalreporter.section("checks passed: strategies x backbones")
        terminalreporter.line(" " * 16 + "".join(f"{name:>14}" for name in columns))
        for strategy in sorted({strategy for strategy, _ in counts}):
            cells = [counts.get((strategy, backbone), [0, 0]) for backbone in columns]
            terminalreporter.line(f"{strategy:16}" + "".join(f"{f'{passed}/{all_}':>14}" for passed, all_ in cells))


def _backbones() -> list[str]:
    """Longest first: one name may end with another."""
    from tests.tiny import BACKBONES

    return sorted(BACKBONES, key=len, reverse=True)

"""`bench --load`: what clients see of a server that answers in batches, and the energy of a stretch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.folders import save
from tests.tokenbench.commands.test_running import call
from tests.tools.importing.changed import run_of
from tokenbench_tools.bench import energy, rounds
from tokenbench_tools.bench.launch import measure
from tokenbench_tools.bench.load import Served, serve
from tokenbench_tools.bench.load_result import summarise_load
from tokenbench_tools.bench.protocol import Protocol, Way


def test_the_times_of_a_queue_are_those_counted_by_hand() -> None:
    """Three clients, batches of two at most, a first token after 1 s and the last after 4 s, whatever the batch."""
    asked: list[int] = []

    def answer(requests: int) -> tuple[float, float]:
        asked.append(requests)
        return 1.0, 4.0

    seconds, first = serve(clients=3, requests=2, largest=2, answer=answer)
    # A and B at 0; then C, who waited 4 s, with A; then B, who waited 4 s, with C.
    assert asked == [2, 2, 2]
    assert (seconds, first) == (12.0, [1, 1, 5, 1, 5, 1])


@pytest.mark.parametrize(("clients", "requests", "largest"), [(1, 5, 1), (4, 3, 4), (5, 2, 3), (7, 1, 2)])
def test_every_request_is_answered_once(clients: int, requests: int, largest: int) -> None:
    asked: list[int] = []
    seconds, first = serve(clients, requests, largest, lambda rows: (asked.append(rows) or 0.5, 1.0))  # type: ignore[func-returns-value]
    assert len(first) == sum(asked) == clients * requests
    assert seconds == len(asked)
    assert max(asked) <= largest


def test_rows_are_ratios_to_the_stock_model_under_the_same_load() -> None:
    protocol = Protocol("m", (Way("fastv", "1/3"),), load=(1, 4))
    launches = [
        [Served(way, 64, clients, seconds * factor, [0.1 * n for n in range(1, 4 * clients + 1)])
         for clients in (1, 4) for way, seconds in ((0, 8.0), (1, 4.0 * clients))]
        for factor in (1.0, 1.1)
    ]  # fmt: skip
    found = summarise_load(protocol, launches)
    assert [(row.strategy, row.clients) for row in found] == [
        ("vanilla", 1),
        ("fastv", 1),
        ("vanilla", 4),
        ("fastv", 4),
    ]
    assert [row.ratio.estimate for row in found] == pytest.approx([1, 0.5, 1, 2])
    assert found[0].requests_per_second == pytest.approx(4 / (8 * 1.1**0.5))
    assert (found[2].ttft_p50_seconds, found[2].ttft_p99_seconds) == pytest.approx((0.85, 1.585))


@pytest.mark.slow
def test_a_load_is_measured_printed_and_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save("llava", tmp_path / "model")
    run = run_of(folder, tmp_path / "run")
    monkeypatch.setattr(rounds, "_launch", lambda order: json.loads(json.dumps(measure(order))))
    options = ("--launches", "2", "--repetitions", "2", "--warm-up", "1", "--load", "1,3", "--largest-batch", "2", "-q")
    way = ("--strategies", "fastv", "--budgets", "1/4", "--new-tokens", "3", "--text-tokens", "12")
    assert call("bench", *way, *options, "--models", str(folder), "-o", str(run)) == 0
    (model,) = json.loads((run / "bench.json").read_text())["models"]
    load: list[dict[str, Any]] = model["load"]
    assert [(row["strategy"], row["clients"]) for row in load] == [
        ("vanilla", 1),
        ("fastv", 1),
        ("vanilla", 3),
        ("fastv", 3),
    ]
    for row in load:
        assert row["requests_per_second"] > 0
        assert 0 < row["ttft_p50_seconds"] <= row["ttft_p99_seconds"]
    assert set(model["break_even_clients"]) == {"fastv at 1/4, 16 visual tokens"}
    assert any("there is no continuous batching" in note for note in model["notes"])
    assert "requests/s" in capsys.readouterr().out


SCRIPT = """#!{python}
import sys, time
assert sys.argv[1:4] == ["-i", "GPU-1", "--query-gpu=power.draw"]
while True:
    print({told!r}, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs scripts that start by their first line")
@pytest.mark.parametrize(("told", "watts"), [("200.00", 200.0), ("[N/A]", None)])
def test_energy_is_mean_power_times_time(
    told: str, watts: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text(SCRIPT.format(python=sys.executable, told=told))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(energy, "STRETCH", 0.5)
    times: list[int] = []
    joules = energy._measure(lambda: times.append(1), "GPU-1", lambda: __import__("time").sleep(0.05))
    if watts is None:
        assert joules is None
    else:
        assert joules == pytest.approx(watts * 0.5 / len(times), rel=0.2)


def test_without_nvidia_smi_no_energy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert energy._measure(lambda: None, "GPU-1", lambda: None) is None

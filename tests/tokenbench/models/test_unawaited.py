"""What waits for the network ends with a signal, although the system's lookup of a name cannot be cancelled."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.signals import signal_when
from tokenbench.models.unawaited import wait_for

LOOKUP = """
import sys, threading, time
from pathlib import Path

asking = Path(sys.argv.pop(1))

def hang(*_, **__):
    asking.touch()
    end = time.monotonic() + 300
    while time.monotonic() < end:  # as the system's resolver, which no signal interrupts
        try:
            time.sleep(300)
        except BaseException:
            pass

import huggingface_hub

huggingface_hub.hf_hub_download = huggingface_hub.snapshot_download = hang
from tokenbench.cli import main
main()
"""


@pytest.mark.parametrize(
    ("model", "number", "code"),
    [
        pytest.param("nobody/nothing", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("llava-1.5-7b", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("nobody/nothing", signal.SIGINT, 130, marks=pytest.mark.exhaustive),
        pytest.param("llava-1.5-7b", signal.SIGTERM, 143, marks=pytest.mark.exhaustive),
    ],
)
def test_a_signal_ends_a_lookup_of_the_hub_at_once(tmp_path: Path, model: str, number: int, code: int) -> None:
    asking = tmp_path / "asking"
    arguments = ["run", "--strategies", "fastv", "--models", model, "--limit", "1", "-q", "-o", str(tmp_path / "run")]
    command = [sys.executable, "-c", LOOKUP, str(asking), *arguments]
    ended = signal_when(asking.exists, command, number)
    assert ended.seconds < 100  # most of it is the end of Python on a busy machine
    assert ended.code == code
    assert "Traceback" not in ended.told


def test_a_result_and_an_error_come_through() -> None:
    assert wait_for(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        wait_for(divmod, 7, 0)

"""`tokenbench doctor`: what is wrong is found by trying it, and every finding says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call
from tests.tokenbench.registry.test_plugins import installed
from tokenbench.registry import installation as tested
from tokenbench_tools.doctor import findings as doctor


@pytest.fixture(autouse=True)
def _nothing_tried(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Except where torch is the subject, its import in a new process is left out: it takes seconds."""
    if "torch" not in request.node.name and "sound" not in request.node.name:
        monkeypatch.setattr(doctor, "_try_code", lambda code: (1, "", "not tried"))


def found(folder: Path) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.findings(folder)}


@pytest.mark.slow  # torch and torchvision are imported for real
def test_a_sound_machine_has_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor", "--format", "json") == 0
    said = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert {"python", "libraries", "torch and torchvision", "GPU", "memory", "disk for runs", "plug-ins"} <= said.keys()
    assert all(finding["fix"] for finding in said.values() if finding["state"] == "warn")


TORCH = """
class version: cuda = None
class cuda: device_count = staticmethod(lambda: 0)
"""
"""In place of torch, whose import takes seconds: as much of it as is asked before torchvision fails."""


@pytest.mark.parametrize(
    ("raised", "fix"),
    [
        ("operator torchvision::nms does not exist", "from different builds"),
        ("no module of that name", "--force-reinstall"),
    ],
)
def test_a_torchvision_that_does_not_fit_torch_is_found_by_importing_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: str,
    fix: str,
) -> None:
    (tmp_path / "torchvision.py").write_text(f"raise RuntimeError({raised!r})")
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert call("doctor") == 4
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("FAIL")]
    assert f"torch and torchvision: RuntimeError: {raised}" in line
    assert fix in line
    assert "cannot run TokenBench as it is: torch and torchvision" in said.err


def with_versions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Let libraries seem to be installed in these versions; an empty one is not installed."""
    there = tested.installed_version
    for module in (doctor, tested):
        monkeypatch.setattr(module, "installed_version", lambda name: versions.get(name.replace("-", "_"), there(name)))


def test_a_library_out_of_its_range_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, transformers="4.57.0")
    finding = found(tmp_path)["transformers"]
    assert finding.state == "FAIL"
    assert finding.found.startswith("4.57.0, but ")
    assert finding.fix == f"pip install -c {tested.CONSTRAINTS} tokenbench"


def test_versions_that_were_not_tested_are_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_tested = {name.replace("-", "_"): version for name, version in tested.pins().items()}
    with_versions(monkeypatch, **as_tested)
    assert found(tmp_path)["tested versions"].state == "ok"
    with_versions(monkeypatch, **as_tested | {"torch": "2.99.0", "MarkupSafe".lower(): "99"})
    finding = found(tmp_path)["tested versions"]
    assert finding.state == "warn"
    pin = tested.pins()
    assert f"torch 2.99.0 (tested: {pin['torch']}), markupsafe 99 (tested: {pin['markupsafe']})" in finding.found
    assert finding.fix.startswith(f"pip install -c {tested.CONSTRAINTS} ")


def test_a_bound_that_an_extra_sets_is_told_only_if_the_extra_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_versions(monkeypatch, filelock="4.3.1", lmms_eval="")
    assert (found(tmp_path)["extra lmms"].state, found(tmp_path)["extra lmms"].found) == ("ok", "not installed")
    with_versions(monkeypatch, filelock="4.3.1", lmms_eval="0.7.3")
    finding = found(tmp_path)["extra lmms"]
    assert (finding.state, finding.found) == ("warn", "filelock 4.3.1, but <4.3 is required")


def test_plug_ins_that_fail_or_clash_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "tb_broken", "raise RuntimeError('no luck')")
    clash = "import tokenbench\n@tokenbench.hookimpl\ndef tokenbench_register_suites(register):\n    register('image', dict)\n"
    installed(tmp_path, "tb_clash", clash)
    monkeypatch.syspath_prepend(tmp_path)
    said = found(tmp_path)
    assert (said["plug-in tb_broken"].state, said["plug-in tb_broken"].found) == ("warn", "RuntimeError: no luck")
    assert "tb_clash 2.0" in said["suites image"].found


def test_switches_against_the_network_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in found(tmp_path)["network"].found
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "network" not in found(tmp_path)

"""`tokenbench check`: what is broken is named with the contract it breaks, what is right passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call
from tests.tokenbench.registry.test_plugins import GOOD, installed
from tests.tokenbench.testing.broken import BROKEN, REPORT, SUITE
from tokenbench import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.testing.plugin import SINGULAR, verdicts


@pytest.fixture
def _two_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of all of them, on which `tests/tools/test_scaffold.py` has a strategy checked."""
    some = [(name, registry().get("backbones", name)()) for name in ("internvl", "llava")]
    monkeypatch.setattr("tokenbench.testing.plugin.architectures", lambda known: iter(some))


def written(folder: Path, text: str) -> str:
    path = folder / "plug.py"
    path.write_text(text)
    return str(path)


@pytest.mark.slow
@pytest.mark.usefixtures("_two_architectures")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_with_the_contract_it_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source, check, finding = BROKEN[name]
    assert call("check", written(tmp_path, source)) == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if f" broken  {check}  FAILED" in line]
    assert finding in line
    assert " — " in line, "a verdict says how to mend it"
    assert "broken: " + check in said.err


def test_the_broken_plugins_cover_every_kind() -> None:
    hooks = {kind: sum(f"register_{kind}" in source for source, _, _ in BROKEN.values()) for kind in SINGULAR}
    assert len(BROKEN) == 12
    assert all(hooks.values()), hooks


@pytest.mark.parametrize("template", [SUITE, REPORT], ids=["suite", "report"])
def test_what_the_broken_ones_are_made_from_passes(tmp_path: Path, template: str) -> None:
    found = list(verdicts(written(tmp_path, template.format(more=""))))
    assert len(found) > 5
    assert {verdict.state for verdict in found} == {"ok"}


def test_a_file_that_cannot_load_is_a_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", written(tmp_path, "import nothing_of_that_name")) == 1
    assert "loads  FAILED: plug-in" in capsys.readouterr().out


def test_a_broken_distribution_is_named_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, "tb_broken", "raise RuntimeError('no luck')")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("check", "tb_broken") == 1
    assert "plug-in tb_broken  loads  FAILED: RuntimeError: no luck" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("_two_architectures")
def test_a_strategy_in_a_file_passes_with_a_figure_of_its_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", written(tmp_path, GOOD), "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {verdict["state"] for verdict in found} == {"ok"}
    assert found[-1]["check"] == "selection cost"
    assert "ms of CPU" in found[-1]["why"]


def test_an_unknown_name_is_one_line() -> None:
    with pytest.raises(UsageError, match="unknown plug-in 'fastvv': did you mean fastv"):
        list(verdicts("fastvv"))


def test_every_check_says_what_it_verifies_and_how_to_mend() -> None:
    from tokenbench import testing

    all_checks = [
        *testing.plan_checks(), *testing.strategy_checks(), *testing.merger_checks(), *testing.backbone_checks(),
        *testing.suite_checks(), *testing.report_checks(),
    ]  # fmt: skip
    assert all(check.verifies.endswith(".") and check.fix and "\n" not in check.fix for check in all_checks)
    assert len({check.name for check in testing.strategy_checks()}) == len(testing.strategy_checks())

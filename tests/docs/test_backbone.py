"""The adapter that the docs write keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks
from tokenbench import pruning, testing
from tokenbench.plugins import Registry


def test_the_adapter_of_the_docs_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deepseek_vl.py"
    (written,) = [b.text for b in blocks(ROOT / "docs/write-a-backbone.md") if b.file == file.name]
    file.write_text(written)
    known = Registry([file])
    for module in (testing, pruning):  # as if it were installed
        monkeypatch.setattr(module, "registry", lambda: known)
    model, prompts = known.get("backbones", "deepseek-vl")().tiny()
    testing.check_backbone(model, prompts)
    for name in ("fastv", "clse", "visionzip", "ficoco-v", "downsample"):
        testing.check_strategy(known.get("strategies", name)(), (model, prompts))

"""The adapter that the docs write keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tests.docs.blocks import ROOT, blocks
from tokenbench import testing
from tokenbench.plugins import Registry


def test_the_adapter_of_the_docs_keeps_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "deepseek_vl.py"
    (written,) = [b.text for b in blocks(ROOT / "docs/write-a-backbone.md") if b.file == file.name]
    file.write_text(written)
    known = Registry([file])
    adapter = known.get("backbones", "deepseek-vl")()
    model, prompts = adapter.tiny()
    testing.check_backbone(model, prompts, adapter)
    for name in ("fastv", "clse", "visionzip", "ficoco-v", "downsample"):
        case = testing.Case(known.get("strategies", name)(), model, prompts, backbone=adapter)
        for check in testing.strategy_checks():
            check(case)

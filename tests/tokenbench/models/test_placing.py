"""Modules on several devices, and quantized weights."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tokenbench
from tests.tokenbench.commands.test_running import call
from tokenbench.errors import MachineError, UsageError
from tokenbench.models.device import read_device_map
from tokenbench.models.model import Model
from tokenbench.models.quantization import describe_quantization
from tokenbench.models.source import locate
from tokenbench.registry.plugins import registry

FEW: dict[str, Any] = {"tasks": "attribute", "limit": 3, "budgets": "1/3", "floors": False, "device": "cpu"}
METHODS = ["fastv", "clse", "divprune", "visionzip"]
needs_accelerate = pytest.mark.skipif(find_spec("accelerate") is None, reason="needs accelerate")


def spread(vision_tower: str, layers: set[int]) -> dict[str, str]:
    """A device map of toy-llava with its vision encoder in a place, these decoder layers on the disk, and the rest on the CPU."""
    decoder = {f"layers.{i}": "disk" if i in layers else "cpu" for i in range(10)}
    parts = {**decoder, **dict.fromkeys(("embed_tokens", "norm", "rotary_emb"), "cpu")}
    own = {f"model.language_model.{part}": place for part, place in parts.items()}
    return {**own, "model.vision_tower": vision_tower, "model.multi_modal_projector": "cpu", "lm_head": "cpu"}


def answers(run: tokenbench.Run) -> pd.DataFrame:
    table = run.samples()
    return table.assign(kept=table["kept"].map(list))[["strategy", "sample", "answer", "kept"]]


@needs_accelerate
def test_modules_on_the_disk_answer_as_in_memory(tmp_path: Path) -> None:
    """The vision encoder and some decoder layers are read from the disk whenever they run."""
    folded = spread(vision_tower="disk", layers={3, 8, 9})
    here = tokenbench.run(METHODS, tmp_path / "memory", **FEW)
    there = tokenbench.run(METHODS, tmp_path / "disk", device_map=folded, **FEW)
    pd.testing.assert_frame_equal(answers(here), answers(there))
    assert any("spread over devices" in note for note in there.manifest["notes"])
    assert json.loads(there.manifest["spec"]["device_map"]) == folded
    ids = [
        set(run.manifest["parts"][cell["parts"]["numerics"]].items())
        for run in (here, there)
        for cell in run.manifest["cells"][:1]
    ]
    assert {name for name, _ in ids[1] - ids[0]} == {"device map"}


@pytest.mark.slow
@needs_accelerate
def test_a_map_may_be_a_file(tmp_path: Path, without_reports: None) -> None:
    (tmp_path / "map.json").write_text(json.dumps(spread("cpu", {0})))
    options = ("--strategies", "fastv", "--budgets", "1/3", "--tasks", "attribute", "--limit", "2", "--no-floors", "-q")
    assert call("run", *options, "--device-map", str(tmp_path / "map.json"), "-o", str(tmp_path / "run")) == 0
    assert len(tokenbench.Run.open(tmp_path / "run").samples()) == 4


@pytest.mark.parametrize(
    "text", ["everywhere", "{}", "[1]", '{"": "moon"}', '{"": -1}', '{"": true}', '{"": null}', "["]
)
def test_a_map_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--device-map"):
        read_device_map(text)


@pytest.mark.parametrize(
    ("name", "library", "smallest"),
    [("torchao-int8", "torchao", 0.5), ("bnb-8bit", "bitsandbytes", 0.5), ("bnb-4bit", "bitsandbytes", 0.4)],
)
def test_quantized_weights_are_near_the_stored_ones(name: str, library: str, smallest: float) -> None:
    """Correlation of logits, which rounding to so many bits leaves; the classes of the layers say that they are quantized."""
    pytest.importorskip(library, reason=f"needs {library}, of the extra `quantized`")
    logits, layers = [], []
    for quantization in ("", name):
        model = Model("toy-llava", locate("toy-llava", registry()), "cpu", quantization=quantization)
        with model.pruner(), torch.no_grad():
            logits.append(model._model(input_ids=torch.arange(5, 45)[None]).logits.float().flatten())
        layer = model._model.model.language_model.layers[3].self_attn.q_proj
        layers.append((type(layer), type(layer.weight)))
    assert layers[0] != layers[1]
    assert not torch.equal(*logits)
    assert torch.corrcoef(torch.stack(logits))[0, 1] > smallest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "library"), [("torchao-int8", "torchao"), ("bnb-8bit", "bitsandbytes")])
def test_a_run_is_quantized_and_says_so(name: str, library: str, tmp_path: Path) -> None:
    pytest.importorskip(library, reason=f"needs {library}, of the extra `quantized`")
    run = tokenbench.run(METHODS, tmp_path / "run", quantization=name, **FEW)
    assert not run.failures()
    assert (
        f"The weights of toy-llava are quantized while they are loaded (--quantization {name})."
        in run.manifest["notes"]
    )
    plain = tokenbench.run(METHODS, tmp_path / "plain", **FEW)
    assert not {cell["id"] for cell in run.manifest["cells"]} & {cell["id"] for cell in plain.manifest["cells"]}
    with pytest.raises(UsageError, match=f"quantization: none -> {name}"):
        tokenbench.run(METHODS, tmp_path / "plain", quantization=name, **FEW)


@pytest.mark.parametrize("name", ["torchao-int8", "bnb-4bit"])
def test_a_library_that_is_missing_is_named_with_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torchao", "torchao.quantization", "bitsandbytes"):
        monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("transformers.utils.import_utils._is_package_available", lambda *a, **k: (False, "N/A"))
    monkeypatch.setattr("transformers.quantizers.quantizer_bnb_4bit.is_bitsandbytes_available", lambda *a: False)
    with pytest.raises(MachineError, match="needs a library that is not installed") as error:
        Model("toy-llava", locate("toy-llava", registry()), "cpu", quantization=name).load()
    assert "tokenbench[quantized]" in error.value.hint
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"quant_method": "gptq", "bits": 4}, "The weights of m are stored quantized (gptq, 4 bits)."),
        (
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
            "The weights of m are stored quantized (bitsandbytes, 8 bits).",
        ),
        ({"quant_method": "torchao"}, "The weights of m are stored quantized (torchao)."),
        (None, ""),
    ],
)
def test_stored_quantization_is_said(stored: Any, says: str) -> None:
    assert describe_quantization("m", "", {"quantization_config": stored} if stored else {}) == says

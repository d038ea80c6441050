"""LoRA adapters, alone or beside the weights: they are applied, told apart and said."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tokenbench.commands.test_running import call
from tokenbench import Run
from tokenbench.errors import MachineError, UsageError
from tokenbench.models.model import Model
from tokenbench.models.source import configuration, locate
from tokenbench.registry.plugins import registry

TOY = Path(registry().get("backbones", "toy-llava").source)
RANK, ALPHA = 2, 16
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")


def queries(folder: Path) -> list[str]:
    """The names of the decoder's query weights, as the folder stores them."""
    return [name for name in load_file(folder / "model.safetensors") if "language_model" in name and "q_proj" in name]


def lora(folder: Path, base: str = str(TOY), **changes: Any) -> dict[str, torch.Tensor]:
    """Write an adapter on the decoder's queries, as peft does. Returns what it adds to each weight, computed here."""
    folder.mkdir(exist_ok=True)
    config = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": r".*language_model.*q_proj", "bias": "none",
        "inference_mode": True, "base_model_name_or_path": base, **changes,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    stored, added, weights = load_file(TOY / "model.safetensors"), {}, {}
    random = torch.Generator().manual_seed(0)
    for name in queries(TOY):
        out, width = stored[name].shape
        a, b = torch.randn(RANK, width, generator=random) / 8, torch.randn(out, RANK, generator=random) / 8
        added[name] = ALPHA / RANK * (b @ a)
        module = "model." + name.removeprefix("model.").replace("language_model.model.", "language_model.")
        weights |= {
            f"base_model.model.{module.removesuffix('.weight')}.lora_{n}.weight": w for n, w in (("A", a), ("B", b))
        }
    save_file(weights, folder / "adapter_model.safetensors")
    return added


def loaded(name: Path) -> Any:
    model = Model(str(name), locate(str(name), registry()), "cpu")
    model.load()
    return model


def answer(model: Any) -> torch.Tensor:
    """The logits of a few words."""
    with torch.no_grad():
        logits: torch.Tensor = model._model(input_ids=torch.arange(5, 25)[None]).logits
    return logits


@needs_peft
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the weights"])
def test_an_adapter_adds_the_product_of_its_matrices(beside: bool, tmp_path: Path) -> None:
    folder, merged = tmp_path / "adapter", tmp_path / "merged"
    if beside:
        shutil.copytree(TOY, folder)
    added = lora(folder, base="no-such-model" if beside else str(TOY))
    shutil.copytree(TOY, merged)
    weights = load_file(merged / "model.safetensors")
    save_file(
        {n: w + added[n].to(w) if n in added else w for n, w in weights.items()},
        merged / "model.safetensors",
        {"format": "pt"},
    )
    expected, found = answer(loaded(merged)), answer(loaded(folder))
    assert not torch.allclose(expected, answer(loaded(TOY)), atol=0.1)
    # Half-precision weights of the folder round the sums of the merged ones.
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.01)


@pytest.mark.slow
@needs_peft
def test_a_run_says_that_it_has_an_adapter_and_another_one_makes_other_cells(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    lora(folder)
    options = ("--strategies", "fastv", "--budgets", "1/3", "--tasks", "attribute", "--limit", "2", "--no-floors", "-q")
    assert call("run", *options, "--models", str(folder), "-o", str(tmp_path / "run")) == 0
    run = Run.open(tmp_path / "run")
    assert f"{folder} runs with an adapter (LORA of rank 2)." in run.manifest["notes"]
    assert "runs with an adapter" in (tmp_path / "run" / "report" / "summary.md").read_text()
    before = locate(str(folder), registry()).identity
    assert before.startswith(locate("toy-llava", registry()).identity)
    lora(folder, lora_alpha=4)
    assert locate(str(folder), registry()).identity != before


def test_an_adapter_needs_no_weights_for_its_configuration(tmp_path: Path) -> None:
    lora(tmp_path / "mine")
    backbone, config = configuration(str(tmp_path / "mine"), registry())
    assert (backbone.model_types, config.model_type) == (("llava",), "llava")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_model_name_or_path": None}, "does not say which model it changes"),
        ({"base_model_name_or_path": "/no/such/folder"}, "no folder with config.json here"),
    ],
)
def test_an_adapter_without_its_model_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    lora(tmp_path, **changes)
    with pytest.raises(MachineError, match=reason) as error:
        locate(str(tmp_path), registry())
    assert "base_model_name_or_path" in error.value.hint


@needs_peft
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("half", "weights are missing"),
        ("names", "weights are missing"),
        ("megatron", "layers of Megatron"),
        ("pickled", "there is no adapter_model.safetensors"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(broken: str, reason: str, tmp_path: Path) -> None:
    lora(tmp_path, **({"megatron_config": {"a": 1}, "megatron_core": "this"} if broken == "megatron" else {}))
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    if broken == "half":
        save_file(dict(list(weights.items())[1:]), file)
    if broken == "names":
        save_file({name.replace("q_proj", "k_proj"): weight for name, weight in weights.items()}, file)
    if broken == "pickled":
        torch.save(weights, tmp_path / "adapter_model.bin")
        file.unlink()
    with pytest.raises(MachineError, match=reason) as error:
        loaded(tmp_path)
    assert "\n" not in str(error.value)


def test_without_peft_an_adapter_is_not_left_out_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(TOY, folder)
    lora(folder)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MachineError, match="has an adapter, which needs the package peft") as error:
        loaded(folder)
    assert "tokenbench[adapters]" in error.value.hint


def test_a_name_that_is_neither_model_nor_adapter_stays_unknown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        locate(str(tmp_path), registry())

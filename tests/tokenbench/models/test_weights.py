"""Model folders from others: nothing in them runs, nothing is made up for what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tokenbench.errors import MachineError, UsageError
from tokenbench.models.device import resolve_device
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.plugins import registry

TOY = Path(registry().get("backbones", "toy-llava").source)
EVIL = "import pathlib\npathlib.Path(__file__).with_name('owned').touch()\n"


def configured(**values: Any) -> Callable[[Path], None]:
    """Other values in config.json, of the decoder where it has them."""

    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for key, value in values.items():
            (config["text_config"] if key in config["text_config"] else config)[key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def without_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in sorted(weights) if "projector" in name)]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_a_weight, "1 weights are missing"),
        (configured(num_hidden_layers=16), "weights are missing"),
        (configured(num_hidden_layers=10**9), "asks for 1000000000 layers"),
        (configured(hidden_size=6 * 10**5), "other sizes"),
        (configured(hidden_size="x"), "hidden_size"),
        (configured(vocab_size=-5), "cannot be loaded"),
        (pickled, "cannot be loaded"),
        (without_tokenizer, "cannot be loaded"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line(change: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TOY, folder)
    change(folder)
    with pytest.raises(MachineError, match=reason) as error:
        Model(str(folder), locate(str(folder), registry()), "cpu").load()
    assert "\n" not in str(error.value)


def test_code_in_a_model_folder_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TOY, folder)
    (folder / "evil.py").write_text(EVIL)
    names = ("AutoConfig", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer")
    own = {name: "evil.Thing" for name in names}
    for file in ("config.json", "processor_config.json", "tokenizer_config.json"):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, "auto_map": own}))
    Model(str(folder), locate(str(folder), registry()), "cpu").load()
    assert not (folder / "owned").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", '{"model_type": ["llava"]}', "\x00"])
def test_a_junk_configuration_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises((MachineError, UsageError)) as error:
        locate(str(tmp_path), registry())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["zz", "cuda:x", "", "²", "meta", "cuda:-1"])
def test_a_device_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="unknown --device"):
        resolve_device(text)


@pytest.mark.skipif(find_spec("flash_attn") is not None, reason="flash attention is installed")
def test_flash_attention_that_is_missing_is_named_with_what_works() -> None:
    with pytest.raises(MachineError, match="cannot run with flash attention here") as error:
        Model("toy-llava", locate("toy-llava", registry()), "cpu", "bfloat16", attention="flash_attention_2").load()
    assert "--attention sdpa" in error.value.hint
    assert "\n" not in str(error.value)

"""Greedy means greedy: the most likely token at every step, whatever else a checkpoint's folder asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.tokenbench.commands.test_running import call
from tokenbench import Budget, Sample
from tokenbench.engine import RowPlan
from tokenbench.errors import MachineError
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench_tools.bench.protocol import Protocol
from tokenbench_tools.bench.weights import load_model

TOY = Path(registry().get("backbones", "toy-llava").source)
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LIMIT = 6
SETTINGS: list[dict[str, Any]] = [
    {"repetition_penalty": 3.0},
    {"num_beams": 4, "length_penalty": -5.0},
    {"min_length": 500, "min_new_tokens": 5},
    {"do_sample": True, "temperature": 9.0, "top_k": 3, "top_p": 0.5},
    {"return_dict_in_generate": True, "output_scores": True, "num_return_sequences": 2, "num_beams": 2},
    {"stop_strings": ["a", "e"], "token_healing": True},
]
MORE: list[dict[str, Any]] = [
    {"max_time": 1e-9},
    {"suppress_tokens": list(range(3, 60)), "begin_suppress_tokens": [60, 61]},
    {"bad_words_ids": [[i] for i in range(3, 60)], "sequence_bias": [[[70], 50.0]]},
    {"forced_bos_token_id": 9, "forced_eos_token_id": 9},
    {"no_repeat_ngram_size": 1, "encoder_repetition_penalty": 0.1},
    {"watermarking_config": {"bias": 20.0, "seeding_scheme": "selfhash"}},
    {"prompt_lookup_num_tokens": 3, "is_assistant": True},
    {"guidance_scale": 4.0, "use_cache": False},
    {"cache_implementation": "static", "prefill_chunk_size": 3},
    {"max_length": 3, "renormalize_logits": True, "exponential_decay_length_penalty": [1, 5.0]},
]
ALL = [*SETTINGS, *(pytest.param(settings, marks=pytest.mark.slow) for settings in MORE)]


def folder_with(where: str, settings: dict[str, Any], folder: Path) -> Path:
    """The toy model, asking for that in generation_config.json, config.json or its text_config."""
    shutil.copytree(TOY, folder)
    if where == "generation_config":
        (folder / "generation_config.json").write_text(json.dumps(IDS | settings))
        return folder
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (config["text_config"] if where == "text_config" else config).update(IDS | settings)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def samples() -> Sequence[Sample]:
    _, tasks = resolve_suite("image", ["reading", "counting"], registry())
    return [sample for task in tasks for sample in list(task.samples())[:3]]


@pytest.fixture(scope="module")
def oracle(samples: Sequence[Sample]) -> list[str]:
    """The stock model's most likely token, step by step, without generate()."""
    model = AutoModelForImageTextToText.from_pretrained(TOY).eval()
    processor = AutoProcessor.from_pretrained(TOY)
    answers = []
    for sample in samples:
        content = [{"type": "image"}, {"type": "text", "text": sample.question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=text, images=list(sample.load()), return_tensors="pt")
        new: list[int] = []
        with torch.no_grad():
            while len(new) < LIMIT and IDS["eos_token_id"] not in new:
                ids = torch.cat([inputs["input_ids"], torch.tensor([new], dtype=torch.long)], 1)
                logits = model(input_ids=ids, pixel_values=inputs["pixel_values"], use_cache=False).logits
                new.append(int(logits[0, -1].argmax()))
        answers.append(processor.tokenizer.decode(new, skip_special_tokens=True).strip())
    return answers


def answered(folder: Path, samples: Sequence[Sample]) -> tuple[Model, list[str]]:
    model = Model(str(folder), locate(str(folder), registry()), "cpu")
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), model.depth)
    with model.pruner() as pruner:
        batch = model.prepare(samples)
        answers, _ = model.generate(batch, pruner, [vanilla] * len(samples), [LIMIT] * len(samples))
    return model, answers


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: "+".join(settings))
def test_no_setting_of_a_checkpoint_changes_an_answer(
    settings: dict[str, Any], samples: Sequence[Sample], oracle: list[str], tmp_path: Path
) -> None:
    model, answers = answered(folder_with("generation_config", settings, tmp_path / "model"), samples)
    assert answers == oracle
    unusual = {name: value for name, value in settings.items() if name != "max_length"}
    assert {name: model.generation_options[name] for name in unusual if name != "watermarking_config"} == {
        name: value for name, value in unusual.items() if name != "watermarking_config"
    }
    assert set(model.generation_options) == set(unusual)


@pytest.mark.parametrize("where", ["config", "text_config"])
@pytest.mark.parametrize("settings", SETTINGS[:4:3], ids=lambda s: "+".join(s))
def test_nor_does_one_in_the_configuration_of_an_older_checkpoint(
    where: str, settings: dict[str, Any], samples: Sequence[Sample], oracle: list[str], tmp_path: Path
) -> None:
    model, answers = answered(folder_with(where, settings, tmp_path / "model"), samples)
    assert answers == oracle
    assert model.generation_options == settings


def test_the_ids_that_end_an_answer_are_kept(samples: Sequence[Sample], oracle: list[str], tmp_path: Path) -> None:
    """A checkpoint may name several, and only its generation_config.json knows all of them."""
    tokenizer = AutoProcessor.from_pretrained(TOY).tokenizer
    first = tokenizer(oracle[0], add_special_tokens=False)["input_ids"][0]
    folder = folder_with("generation_config", {"eos_token_id": [2, first]}, tmp_path / "model")
    model, answers = answered(folder, samples[:1])
    assert answers == [tokenizer.decode([first])] != oracle[:1]
    assert model.generation_options == {}


def test_a_run_records_what_was_asked_for_and_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_with(
        "generation_config", {"repetition_penalty": 3.0, "suppress_tokens": [*range(50)]}, tmp_path / "m"
    )
    options = ("--strategies", "fastv", "--budgets", "1/3", "--tasks", "reading", "--limit", "2", "--seeds", "0")
    assert call("run", "--models", str(folder), *options, "-o", str(tmp_path / "run")) == 0
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    (model,) = manifest["models"].values()
    assert model["decoding"] == "greedy"
    assert model["checkpoint_asks_for"] == {"repetition_penalty": 3.0, "suppress_tokens": [*range(50)]}
    sentence = f"The checkpoint of {folder} asks for repetition_penalty=3.0, suppress_tokens."
    assert sum(note.startswith(sentence) for note in manifest["notes"]) == 1
    assert (tmp_path / "run" / "report" / "summary.md").read_text().count(r"repetition\_penalty=3.0") == 1
    assert "repetition_penalty" in capsys.readouterr().out


def test_the_toy_models_ask_for_nothing() -> None:
    for name in ("toy-llava", "toy-video-llava"):
        assert Model(name, locate(name, registry()), "cpu").generation_options == {}


@pytest.mark.parametrize("random", [True, False])
def test_bench_measures_greedy_decoding_too(random: bool, tmp_path: Path) -> None:
    where = "text_config" if random else "generation_config"
    folder = folder_with(where, {"num_beams": 4, "repetition_penalty": 3.0}, tmp_path / "model")
    protocol = Protocol(str(folder), (), random_weights=random, dtype="float32", device="cpu")
    _, model = load_model(protocol, registry())
    config = model.generation_config
    assert (config.num_beams, config.repetition_penalty) == (None, None)
    assert {name: getattr(config, name) for name in IDS} == IDS


@pytest.mark.parametrize("text", ["{", "[]", '{"watermarking_config": 3}', "[" * 100_000])
def test_a_generation_config_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    """Stock transformers goes on without it, and so without the ids that end an answer."""
    folder = folder_with("generation_config", {}, tmp_path / "model")
    (folder / "generation_config.json").write_text(text)
    source = locate(str(folder), registry())
    with pytest.raises(MachineError, match=r"cannot be loaded.*generation_config\.json") as error:
        Model(str(folder), source, "cpu")
    assert "\n" not in str(error.value)

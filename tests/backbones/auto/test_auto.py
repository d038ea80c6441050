"""Architectures without an adapter of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tokenbench
from benchmarks.architectures import RESULTS, STRATEGIES, changes, check, lacks
from tokenbench.errors import InfeasibleError, UsageError
from tokenbench.registry.backbones import backbone_of
from tokenbench.registry.plugins import registry
from tokenbench_backbones.auto import Auto
from tokenbench_backbones.auto.backbone import model_types
from tokenbench_backbones.auto.facts import FACTS, REFUSED
from tokenbench_backbones.auto.shrunk import shrunk

FEW = ("smolvlm", "llava_next", "llava_onevision", "gemma3", "qwen3_5", "qwen3_vl_moe", "mistral3", "paligemma")
"""Tiles, newlines, newlines, windows and bidirectional images, recurrent layers, experts, rows apart, a prefix LM."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_the_kit_passes(name: str) -> None:
    assert check(name)["class"] == "auto"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", model_types())
def test_the_table_is_right(name: str) -> None:
    assert check(name, STRATEGIES) == json.loads(RESULTS.read_text())["architectures"][name]


@pytest.mark.slow
def test_a_layer_without_positions_gets_none_when_positions_are_renumbered() -> None:
    """Every other layer of Muse has no rotary embedding, in the prompt and in what is decoded after it."""
    assert check("muse_glimmer", ("divprune",))["class"] == "auto"


def test_an_adapter_of_its_own_comes_first() -> None:
    assert not isinstance(backbone_of("llava", registry()), Auto)
    assert isinstance(backbone_of("llava_next", registry()), Auto)


def test_the_table_names_no_architecture_twice_or_in_vain() -> None:
    assert not set(FACTS) & set(REFUSED)
    assert {*FACTS, *REFUSED} <= set(model_types())


def test_a_refusal_says_why() -> None:
    with pytest.raises(UsageError, match="type 'mllama' cannot be pruned: its decoder sees images by cross-attention"):
        backbone_of("mllama", registry())
    with pytest.raises(UsageError, match="type 'internvl_chat' need code from their own repository") as error:
        backbone_of("internvl_chat", registry())
    assert "OpenGVLab/InternVL3_5-8B-HF" in str(error.value.hint)
    with pytest.raises(UsageError, match="no backbone supports models of type 'bert'"):
        backbone_of("bert", registry())


def test_costs_are_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="the cost of models of type 'aria' is not known"):
        Auto("aria").default_grids(None)


@pytest.fixture(scope="module")
def smolvlm() -> Any:
    return Auto("smolvlm").tiny()


def test_what_reads_an_encoder_that_is_not_described_is_refused() -> None:
    stage = tokenbench.Stage(0, 0.5, pixels=True)
    with pytest.raises(
        InfeasibleError, match="reads the vision encoder, which TokenBench does not describe for models of type 'aria'"
    ):
        Auto("aria").check_stage(stage)
    Auto("smolvlm").check_stage(stage)


def test_what_reads_lattices_is_refused_where_none_is_known() -> None:
    stage = tokenbench.Stage(0, 0.5, lattice=True)
    with pytest.raises(
        InfeasibleError,
        match="needs the position of every visual token on the image, which is not known for models of type 'aria'",
    ):
        Auto("aria").check_stage(stage)
    Auto("smolvlm").check_stage(stage)


def test_clse_sees_the_tiles_of_smolvlm(smolvlm: Any) -> None:
    model, prompts = smolvlm
    with torch.no_grad(), tokenbench.pruned(model, "clse", "1/3") as pruning:
        model(**prompts[1])
    (row,) = pruning.rows
    assert row.grids == (tokenbench.Grid(1, 2, 2),) * (row.visual // 4)
    assert row.mean_tokens < row.visual


def test_what_is_declared_checked_is_what_passed() -> None:
    stored = json.loads(Path(RESULTS).read_text())["architectures"]
    passed = {name for name, result in stored.items() if result["class"] == "auto"}
    assert passed == {name for name, facts in FACTS.items() if facts.checked}
    assert "has not been checked" in Auto("an_architecture_of_tomorrow").notes[0]


def test_results_are_of_every_architecture() -> None:
    stored = json.loads(Path(RESULTS).read_text())["architectures"]
    assert sorted(stored) == model_types()


def test_changes_of_class_are_told() -> None:
    before, after = {"a": "auto", "b": "auto", "c": "refused"}, {"a": "auto", "b": "failed", "d": "unchecked"}
    assert changes(before, after) == ["b: auto -> failed", "c: refused -> gone", "d: new -> unchecked"]


def test_what_was_checked_without_strategies_lacks_them() -> None:
    assert lacks(None, ())
    assert lacks({"class": "auto", "strategies": []}, ("clse",))
    assert not lacks({"class": "auto", "strategies": ["clse is infeasible"]}, ("clse",))
    assert not lacks({"class": "refused"}, ("clse",))


def test_llama4_is_refused_for_as_long_as_stock_code_cannot_run_it() -> None:
    model, prompts = shrunk("llama4")
    with pytest.raises(AttributeError, match="image_outputs"):
        model(**prompts[0])

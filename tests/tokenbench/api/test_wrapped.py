"""The stock model is found in what people wrap around it, and is as before when the context ends."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import tiny
from tokenbench import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits


class Plain:
    """A wrapper that is no module."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.config, self.name = inner, inner.config, "mine"

    def generate(self, **inputs: Any) -> Any:
        return self.inner.generate(**inputs)


def fresh() -> Any:
    return registry().get("backbones", "llava")().tiny()[0]


def answers(model: Any, wrapper: Any = None) -> tuple[torch.Tensor, list[list[int]]]:
    wrapper = model if wrapper is None else wrapper
    with tokenbench.pruned(wrapper, "fastv", "1/3") as pruning:
        output = generate(wrapper, batched(tiny("llava")[1]))
    return logits(output), [row.kept for row in pruning.rows]


@pytest.fixture(scope="module")
def expected() -> tuple[torch.Tensor, list[list[int]]]:
    return answers(tiny("llava")[0])


def is_as_expected(found: tuple[torch.Tensor, list[list[int]]], expected: tuple[torch.Tensor, list[list[int]]]) -> None:
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]


def test_an_object_that_holds_the_model(expected: Any) -> None:
    is_as_expected(answers(tiny("llava")[0], Plain(tiny("llava")[0])), expected)


def test_a_model_without_its_head() -> None:
    model, prompts = tiny("llava")
    with tokenbench.pruned(model.model, "fastv", "1/3") as pruning, torch.no_grad():
        model.model(**batched(prompts))
    assert all(len(row.kept) < row.visual for row in pruning.rows)


def test_accelerate(expected: Any) -> None:
    accelerate = pytest.importorskip("accelerate")
    is_as_expected(answers(accelerate.Accelerator(cpu=True).prepare(fresh())), expected)
    dispatched = accelerate.dispatch_model(fresh(), {"": "cpu"}, force_hooks=True)
    is_as_expected(answers(dispatched), expected)


def compiled_forward(model: Any) -> Any:
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def compiled_layers(model: Any) -> Any:
    for layer in model.model.language_model.layers:
        layer.compile(backend="eager", fullgraph=True)
    return model


def compiled_decoder(model: Any) -> Any:
    model.model.language_model = torch.compile(model.model.language_model, backend="eager")
    return model


@pytest.mark.parametrize("compiled", [compiled_forward, compiled_layers, compiled_decoder])
def test_parts_that_are_compiled_run_uncompiled(compiled: Any, expected: Any) -> None:
    is_as_expected(answers(compiled(fresh())), expected)


def test_compiling_is_on_again_afterwards() -> None:
    """However contexts overlap: the last one to leave gives it back."""
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    doubled = torch.compile(lambda x: x * 2, backend=backend)
    one, other = fresh(), fresh()
    outer, inner = tokenbench.pruned(one, "fastv"), tokenbench.pruned(other, "fastv")
    with outer:
        inner.__enter__()
        doubled(torch.ones(3))
    doubled(torch.ones(3))
    assert not graphs
    inner.__exit__(None, None, None)
    doubled(torch.ones(3))
    assert len(graphs) == 1


def test_what_cannot_be_pruned_is_refused_in_words() -> None:
    model, _ = tiny("llava")
    pair = Plain(model)
    pair.name = fresh()
    for wrapper, words in (
        (torch.nn.DataParallel(model), "several copies"),
        (pair, "Plain holds 2 models"),
        (torch.nn.Linear(2, 2), "no backbone supports models of type 'Linear'"),
        ("llava-1.5-7b", "no backbone supports models of type 'str'"),
    ):
        with pytest.raises(UsageError, match=words), tokenbench.pruned(wrapper, "fastv"):
            pass


def test_a_copy_made_inside_is_pruned_as_well_and_no_second_time(expected: Any) -> None:
    model, prompts = tiny("llava")
    with tokenbench.pruned(model, "fastv", "1/3") as pruning:
        copied = copy.deepcopy(model)
        ours = logits(generate(copied, batched(prompts)))
        assert torch.equal(logits(generate(model, batched(prompts))), ours)
    assert torch.equal(ours, expected[0])
    assert len(pruning.prefills) == 1
    with pytest.raises(UsageError, match="copied from"), tokenbench.pruned(copied, "fastv"):
        pass


def test_nothing_is_left_on_the_model() -> None:
    model = fresh()
    decoder = model.model.language_model
    before = [set(vars(part)) for part in (model, model.model, decoder)]
    with tokenbench.pruned(model, "visionzip"):
        generate(model, batched(tiny("llava")[1]))
    assert [set(vars(part)) for part in (model, model.model, decoder)] == before
    with pytest.raises(UsageError), tokenbench.pruned(model, "fastv"), tokenbench.pruned(model, "fastv"):
        pass
    assert [set(vars(part)) for part in (model, model.model, decoder)] == before


def test_a_generate_of_the_users_own_is_given_back() -> None:
    model = fresh()
    own = model.generate
    model.generate = lambda *args, **kwargs: own(*args, **kwargs)
    mine = model.generate
    with tokenbench.pruned(model, "fastv", "1/3") as pruning:
        generate(model, batched(tiny("llava")[1]), use_cache=False)
    assert model.generate is mine
    assert len(pruning.prefills) == 1


def test_a_pruned_model_says_what_prunes_it_at_which_budget() -> None:
    model = fresh()
    before = repr(model)
    with tokenbench.pruned(model, "clse:temp=0.2", "1/3") as pruning:
        assert "pruned by clse:temp=0.2 at budget 1/3" in repr(model)
        assert repr(pruning) == f"Pruner({type(pruning.decoder).__name__} pruned by clse:temp=0.2 at budget 1/3)"
        assert "pruned by" in repr(Wrapper(model))
    assert repr(model) == before
    strategy = registry().get("strategies", "fastv")(layer=3)
    with tokenbench.pruned(model, strategy, 4):
        assert "pruned by FastV:layer=3 at budget 4" in repr(model)


class Wrapper(torch.nn.Module):
    """A wrapper that shows what it holds."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

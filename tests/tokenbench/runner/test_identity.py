"""Whatever can change an answer makes another cell, and the cell says what it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import tokenbench
from tokenbench import Budget
from tokenbench.contract.suite import Sample, Task
from tokenbench.registry.names import NamedStrategy, parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench.runner import identity, sources
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve
from tokenbench.runner.sources import source_of
from tokenbench.runner.work import works_of
from tokenbench.store.spec import Arm, Spec

SPEC = Spec(
    suite="image", tasks=("attribute",), models=("toy-llava",), strategies=("fastv",), floors=(), budgets=("1/3",), seeds=(0,),
    limit=None, batch_size=4, device="cpu", dtype="float32", attention="sdpa",
)  # fmt: skip
MODEL: dict[str, Any] = {
    "name": "toy", "identity": "weights", "prompt": "chat", "device": "cpu", "attention": "sdpa",
    "backbone": registry().get("backbones", "llava")(),
}  # fmt: skip
ARM = Arm(parse_strategy("fastv", registry()), Budget.parse("1/3"), 0)
SUITES_TASK = resolve_suite("image", ("attribute",), registry())[1][0]
OTHER_STRATEGY = parse_strategy("clse", registry()).strategy


class Own(Task):
    """As the suite's task says of itself, but from another file."""

    name, identity, max_new_tokens = SUITES_TASK.name, SUITES_TASK.identity, SUITES_TASK.max_new_tokens

    def samples(self) -> list[Sample]:
        return []

    def score(self, answer: str, sample: Sample) -> float:
        return 0.0


TASK = Own()


def task(name: str, value: Any) -> Task:
    """The task with another attribute."""
    other = Own()
    setattr(other, name, value)
    return other


def cell(spec: Spec = SPEC, arm: Arm = ARM, task: Task = TASK, **model: Any) -> identity.Cell:
    return identity.cell(spec, SimpleNamespace(**{**MODEL, **model}), arm, task)  # type: ignore[arg-type]


CHANGES: dict[tuple[str, str], Callable[[], identity.Cell]] = {
    ("model", "name"): lambda: cell(name="another"),
    ("model", "weights"): lambda: cell(identity="others"),
    ("model", "adapter"): lambda: cell(backbone=registry().get("backbones", "qwen2-vl")()),
    ("model", "prompt"): lambda: cell(prompt="another"),
    ("strategy", "name"): lambda: cell(arm=replace(ARM, named=NamedStrategy("another", ARM.named.strategy))),
    ("strategy", "source"): lambda: cell(arm=replace(ARM, named=NamedStrategy(ARM.named.name, OTHER_STRATEGY))),
    ("budget", "asked"): lambda: cell(arm=replace(ARM, budget=Budget.parse("1/9"))),
    ("budget", "match"): lambda: cell(replace(SPEC, match="tokens")),
    ("seed", "number"): lambda: cell(arm=replace(ARM, seed=1)),
    ("task", "name"): lambda: cell(task=task("name", "another")),
    ("task", "source"): lambda: cell(task=SUITES_TASK),
    ("task", "version"): lambda: cell(task=task("identity", "another")),
    ("generation", "new tokens"): lambda: cell(task=task("max_new_tokens", 99)),
    ("numerics", "dtype"): lambda: cell(replace(SPEC, dtype="bfloat16")),
    ("numerics", "device"): lambda: cell(device="cuda"),
    ("numerics", "batch size"): lambda: cell(replace(SPEC, batch_size=8)),
    ("numerics", "attention"): lambda: cell(attention="eager"),
    ("numerics", "quantization"): lambda: cell(replace(SPEC, quantization="bnb-8bit")),
    ("numerics", "device map"): lambda: cell(replace(SPEC, device_map="auto")),
}
LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow")


def changed(one: identity.Cell, other: identity.Cell) -> set[tuple[str, str]]:
    """Which parts of their identities differ."""
    names = {(part, name) for parts in (one.parts, other.parts) for part in parts for name in parts[part]}
    return {(part, name) for part, name in names if one.parts[part].get(name) != other.parts[part].get(name)}


@pytest.mark.parametrize("part", CHANGES, ids=": ".join)
def test_each_thing_that_can_change_answers_changes_its_own_part_and_the_cell(part: tuple[str, str]) -> None:
    here, there = cell(), CHANGES[part]()
    assert changed(here, there) == {part}
    assert here.id != there.id


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_of_another_version_makes_another_cell(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, version = cell(), identity.version
    monkeypatch.setattr(identity, "version", lambda name: "0.0" if name == library else version(name))
    identity.versions.cache_clear()
    there = cell()
    identity.versions.cache_clear()
    assert changed(here, there) == {("libraries", library)}
    assert here.id != there.id


def test_another_engine_makes_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    here = cell()
    modules = {
        "tokenbench.engine.pruner",
        "tokenbench.engine.no_question_pass",
        "tokenbench.runner.passes",
        "tokenbench.runner.records",
    }
    assert modules <= {*here.parts["engine"]["source"]}
    with monkeypatch.context() as patch:
        patch.setattr(identity, "ENGINE", ("tokenbench.errors",))
        assert changed(here, cell()) == {("engine", "source")}
    monkeypatch.setattr(tokenbench, "__version__", "9.9")
    assert changed(here, cell()) == {("engine", "tokenbench")}


def test_nothing_else_is_part_of_it() -> None:
    """A part that this file does not change would be held by no test."""
    constant = {("generation", "decoding")}
    engine = {("engine", "source"), ("engine", "tokenbench")}
    here = cell(replace(SPEC, quantization="bnb-4bit", device_map="auto"))  # which other cells lack
    known = {*CHANGES, *constant, *engine, *(("libraries", library) for library in LIBRARIES)}
    assert {(part, name) for part in here.parts for name in here.parts[part]} == known


@pytest.mark.parametrize(
    "change", [{"limit": 3}, {"seeds": (0, 1)}, {"strategies": ("fastv", "clse")}, {"budgets": ("1/3", "1/9")}]
)
def test_a_run_that_grows_keeps_its_cells(change: dict[str, Any]) -> None:
    assert cell(replace(SPEC, **change)).id == cell().id


def test_cells_of_a_run_are_those_made_alone_and_no_class_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {
        "strategies": "fastv,clse@pdrop",
        "budgets": "1/3,1/9",
        "seeds": "0,1",
        "tasks": "attribute,counting",
        "limit": 1,
    }
    run, looked = resolve(Request.of({**few, "device": "cpu"}), registry()), Counter[object]()
    monkeypatch.setattr(sources, "source_of", lambda obj: looked.update([obj]) or source_of(obj))
    (work,) = works_of(run, registry()).values()
    assert len(work.cells) == 2 * (1 + 2 + 2 + 2 * 2 + 2)
    assert set(looked.values()) == {1}
    assert {type(work.model.backbone), *map(type, work.tasks.values()), *identity.ENGINE} <= set(looked)
    for (arm, name), made in work.cells.items():
        assert made == identity.cell(run.spec, work.model, work.arms[arm], work.tasks[name])

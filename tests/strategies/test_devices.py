"""Strategies make their tensors where the states are: on a GPU nothing may come from the CPU by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import STRATEGIES, tiny
from tokenbench import Selection, View
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("backbone", ["llava", "video-llava", "qwen2-vl"])
def test_no_tensor_is_made_on_the_default_device(name: str, backbone: str) -> None:
    """A default device without storage: what is made there cannot be mixed with anything."""
    cls = registry().get("strategies", name)
    checked: list[int] = []

    class Elsewhere(cls):  # type: ignore[misc, valid-type]
        batching = "loop"

        def select(self, view: View) -> Selection:
            def again() -> Any:
                generator = torch.Generator()
                generator.set_state(view.generator.get_state())
                return replace(view, memo=dict(view.memo), generator=generator)

            usual, other = again(), again()
            expected = super().select(usual)
            with torch.device("meta"):
                found = super().select(other)
            assert torch.equal(found.keep, expected.keep)
            assert (found.values is None) == (expected.values is None)
            if found.values is not None:
                assert torch.equal(found.values, expected.values)
            checked.append(len(found.keep))
            view.memo.update(usual.memo)
            return expected  # type: ignore[no-any-return]

    model, prompts = tiny(backbone)
    with tokenbench.pruned(model, Elsewhere(), "1/2"):
        generate(model, batched(prompts), tokens=1)
    assert len(checked) >= len(prompts)

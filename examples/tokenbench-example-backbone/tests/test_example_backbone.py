"""The conformance test: stock transformers is the oracle, and every strategy must run."""

import pytest
import tokenbench
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, check_backbone, generate

from tokenbench_example_backbone import ExampleBackbone


def test_it_keeps_the_contract():
    check_backbone(*ExampleBackbone().tiny(), ExampleBackbone())


@pytest.mark.parametrize("strategy", [name for name in registry().names("strategies") if name != "vanilla"])
def test_every_strategy_prunes_it(strategy):
    model, prompts = ExampleBackbone().tiny()
    with tokenbench.pruned(model, strategy, "1/3") as pruning:
        generate(model, batched(prompts), tokens=2)
    assert all(row.mean_tokens < row.visual for row in pruning.rows)

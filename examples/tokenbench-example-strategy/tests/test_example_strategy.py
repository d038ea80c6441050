"""The contract by the kit, and what the method says of itself."""

import tokenbench
from tokenbench.testing import architectures, batched, check_merger, check_strategy, generate
from tokenbench.registry.plugins import registry

from tokenbench_example_strategy import Contrast, Mean


def test_the_strategy_keeps_the_contract():
    check_strategy(Contrast())


def test_the_merger_keeps_the_contract():
    check_merger(Mean())


def test_it_is_registered_with_its_parameters():
    _, backbone = next(architectures(registry()))
    model, prompts = backbone.tiny()
    with tokenbench.pruned(model, "example-contrast:layers=1/3:weight=0.5+example-mean", "1/3") as pruning:
        generate(model, batched(prompts), tokens=1)
    assert [layer for layer, _ in pruning.rows[0].stages] == [1, 3]
    assert pruning.rows[0].merged

"""The record of a sample: which visual tokens leave at which layer."""

import pytest
from torch import tensor

from tokenbench.engine.trace import RowTrace
from tokenbench.runner.records import leaving_layers


def test_every_token_leaves_at_the_first_stage_that_does_not_keep_it() -> None:
    row = RowTrace(visual=6, text=2, depth=4, stages=[(1, tensor([5, 0, 2])), (3, tensor([2]))])
    assert leaving_layers(row) == [3, 1, -1, 1, 1, 3]


@pytest.mark.parametrize("stages", [[], [(2, tensor([0, 1]))]])
def test_one_stage_or_none_needs_no_layers(stages: list) -> None:  # type: ignore[type-arg]
    assert leaving_layers(RowTrace(visual=6, text=2, depth=4, stages=stages)) is None

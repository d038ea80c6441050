"""What the oracles call equal."""

from __future__ import annotations

import pytest
import torch

from tokenbench.testing.oracles import assert_close, assert_close_or_sensitive

EXPECTED = torch.ones(2, 3)


@pytest.mark.parametrize(("off", "moved", "equal"), [(3e-4, 2e-4, True), (3e-4, 1e-4, False), (1e-3, 1.0, False)])
def test_what_rounding_alone_moves_may_differ_by_as_much_and_by_no_more_than_tenfold(
    off: float, moved: float, equal: bool
) -> None:
    """Of four other roundings, the one that moves most counts; each decoding step is measured by itself."""
    actual = EXPECTED.clone()
    actual[1, 2] += off
    with pytest.raises(AssertionError):
        assert_close(actual, EXPECTED)

    def rounded(seed: int) -> torch.Tensor:
        return EXPECTED + torch.tensor([[5.0], [moved if seed == 2 else 0.0]])

    if equal:
        assert_close_or_sensitive(actual, EXPECTED, rounded)
    else:
        with pytest.raises(AssertionError):
            assert_close_or_sensitive(actual, EXPECTED, rounded)

"""The conformance test."""

from tokenbench.testing import check_suite

from tokenbench_example_suite import suite


def test_it_keeps_the_contract():
    check_suite(suite)

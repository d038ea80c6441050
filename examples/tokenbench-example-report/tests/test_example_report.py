"""The conformance test."""

from tokenbench.testing import check_report

from tokenbench_example_report import ExampleReport


def test_it_keeps_the_contract():
    check_report(ExampleReport())

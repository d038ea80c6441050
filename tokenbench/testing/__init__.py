"""The conformance kit: checks that every plug-in must pass, built-in or not. Stock transformers is the oracle.

A plug-in's own tests call it::

    def test_my_strategy():
        check_strategy(MyStrategy())  # on a tiny model of every registered architecture

    def test_my_backbone():
        check_backbone(*MyBackbone().tiny(), MyBackbone())

    def test_my_suite(tmp_path):
        check_suite(suite)
        check_report(MyReport())

`tokenbench check NAME` runs the same checks and prints a verdict on each. A check that fails raises AssertionError, which says what is
wrong and how to fix it.
"""

from tokenbench.engine import Replay
from tokenbench.testing.backbone import backbone_checks, case_of, check_backbone
from tokenbench.testing.case import BUDGET, Case, KeepAll, architectures
from tokenbench.testing.check import Check, CheckResult, ContractError
from tokenbench.testing.merger import check_merger, merger_checks
from tokenbench.testing.oracles import CLOSE, Prompt, batched, generate, logits, masked
from tokenbench.testing.report import check_report, report_checks
from tokenbench.testing.strategy import check_strategy, plan_checks, strategy_checks
from tokenbench.testing.suite import check_suite, suite_checks

__all__ = [
    "BUDGET",
    "CLOSE",
    "Case",
    "Check",
    "CheckResult",
    "ContractError",
    "KeepAll",
    "Prompt",
    "Replay",
    "architectures",
    "backbone_checks",
    "batched",
    "case_of",
    "check_backbone",
    "check_merger",
    "check_report",
    "check_strategy",
    "check_suite",
    "generate",
    "logits",
    "masked",
    "merger_checks",
    "plan_checks",
    "report_checks",
    "strategy_checks",
    "suite_checks",
]

"""Runs the checks on everything that a plug-in registers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.hookspecs import KINDS
from tokenbench.contract.strategy import Strategy
from tokenbench.errors import TokenBenchError, unknown
from tokenbench.registry.backbones import backbone_of
from tokenbench.registry.composition import compose
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import Plugin, Registry
from tokenbench.testing.backbone import AttentionTwice, backbone_checks, case_of
from tokenbench.testing.case import architectures
from tokenbench.testing.check import Check, CheckResult, judge, reason
from tokenbench.testing.merger import merger_checks
from tokenbench.testing.report import report_checks
from tokenbench.testing.selecting import selection_cost
from tokenbench.testing.strategy import plan_checks, strategy_checks
from tokenbench.testing.suite import suite_checks

__all__ = ["architecture_verdicts", "verdicts"]

SINGULAR = {
    "strategies": "strategy",
    "mergers": "merger",
    "backbones": "backbone",
    "suites": "suite",
    "reports": "report",
}
LOADS = Check("loads", "It can be imported, and registers an object of the right kind.", "", lambda _: None)
HOW = "import it by hand: a hook marked with tokenbench.hookimpl registers what the contract of its kind asks for"


def verdicts(text: str) -> Iterator[CheckResult]:
    """Yield the verdicts on a plug-in.

    Args:
        text: The name of a strategy (with parameters), merger, backbone, suite or report format; of an installed plug-in or
            distribution; or a .py file.

    Raises:
        UsageError: There is nothing of this name.
    """
    registry = Registry()
    if text.endswith(".py"):
        try:
            registry = Registry([text])
        except TokenBenchError as error:
            yield _load_failure(f"plug-in {text}", error)
            return
        yield from _plugin(registry.plugins[-1], registry)
    elif re.search("[:@+]", text):
        yield from _strategy(f"strategy {text}", parse_strategy(text, registry).strategy, registry)
    elif kinds := [kind for kind in KINDS if text in registry.names(kind)]:
        for kind in kinds:
            yield from _check_by_name(kind, text, registry)
    else:
        plugins = [plugin for plugin in registry.plugins if text in (plugin.name, plugin.distribution)]
        if not plugins:
            names = {name for kind in KINDS for name in registry.names(kind)} | {
                plugin.name for plugin in registry.plugins
            }
            raise unknown(
                "plug-in", text, names, "a strategy, merger, backbone, suite, report, distribution or .py file"
            )
        for plugin in plugins:
            yield from _plugin(plugin, registry)


def architecture_verdicts(model_type: str) -> Iterator[CheckResult]:
    """Yield the verdicts on the backbone that serves an architecture, on the backbone's tiny model.

    Args:
        model_type: The name of the architecture in configurations.

    Raises:
        UsageError: No backbone serves it.
    """
    yield from _backbone(f"model type {model_type}", backbone_of(model_type, Registry()))


def _plugin(plugin: Plugin, registry: Registry) -> Iterator[CheckResult]:
    """Check everything that a plug-in registers."""
    if plugin.error:
        yield CheckResult(f"plug-in {plugin.name}", LOADS.name, LOADS.verifies, "FAILED", plugin.error, HOW)
    for kind, names in plugin.registered.items():
        for name in names:
            yield from _check_by_name(kind, name, registry)


def _check_by_name(kind: str, name: str, registry: Registry) -> Iterator[CheckResult]:
    subject = f"{SINGULAR[kind]} {name}"
    try:
        target = registry.get(kind, name)
        made = target if kind == "suites" else target()
    except Exception as error:  # a constructor is a third party's code, too
        yield _load_failure(subject, error)
        return
    yield judge(LOADS, subject, [("", made)])
    if kind == "strategies":
        yield from _strategy(subject, made, registry)
    elif kind == "mergers":
        yield from _run_checks(merger_checks(), subject, made)
        yield from _on_models(subject, compose(name, AttentionTwice(), None, made), registry)
    elif kind == "backbones":
        if made.fallback and made.source:  # a name alone: the configuration says which backbone serves the model
            return
        yield from _backbone(subject, made)
    else:
        yield from _run_checks(suite_checks() if kind == "suites" else report_checks(), subject, made)


def _strategy(subject: str, strategy: Strategy, registry: Registry) -> Iterator[CheckResult]:
    yield from _run_checks(plan_checks(), subject, strategy)
    yield from _on_models(subject, strategy, registry)


def _on_models(subject: str, strategy: Strategy, registry: Registry) -> Iterator[CheckResult]:
    """Check a strategy on the tiny model of every architecture."""
    tiny = ((name, case_of(backbone)) for name, backbone in architectures(registry))
    cases = [(name, replace(case, strategy=strategy)) for name, case in tiny]
    for check in strategy_checks():
        yield judge(check, subject, cases)
    yield judge(selection_cost, subject, [("", [case for _, case in cases])])


def _backbone(subject: str, backbone: Backbone) -> Iterator[CheckResult]:
    try:
        case = case_of(backbone)
    except Exception as error:
        text = "tiny() gives a small random model and prompts."
        yield CheckResult(
            subject, "has a tiny model", text, "FAILED", reason(error), "write tiny(): see tokenbench.Backbone"
        )
        return
    yield from _run_checks(backbone_checks(), subject, case)


def _run_checks(checks: Iterable[Check], subject: str, made: Any) -> Iterator[CheckResult]:
    for check in checks:
        yield judge(check, subject, [("", made)])


def _load_failure(subject: str, error: Exception) -> CheckResult:
    return CheckResult(subject, LOADS.name, LOADS.verifies, "FAILED", reason(error), getattr(error, "hint", "") or HOW)

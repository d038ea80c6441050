"""Finds out for a dry run which strategies the models of a run would refuse, from configurations alone."""

from __future__ import annotations

from collections.abc import Iterator

from tokenbench.cost.matching import match
from tokenbench.engine import RowPlan
from tokenbench.errors import InfeasibleError, MachineError, UsageError
from tokenbench.models.source import configuration
from tokenbench.registry.plugins import Registry
from tokenbench.runner.resolve import Resolved

__all__ = ["foresee_refusals"]


def foresee_refusals(resolved: Resolved, registry: Registry) -> Iterator[str]:
    """Yield sentences on what would fail on this machine, and on cells that would be infeasible. No weights are read.

    Args:
        resolved: The run.
        registry: The plug-ins that register models.

    Raises:
        UsageError: There is no such model, or its decoder cannot run a strategy.
    """
    for name in resolved.spec.models:
        try:
            backbone, config = configuration(name, registry)
        except MachineError as error:
            yield f"model {name} could not be checked on this machine: {error}"
            continue
        try:
            size = backbone.size(config)
        except (NotImplementedError, UsageError):  # the depth of such a model is known once it is built
            continue
        depth = size.decoder.layers
        for arm in resolved.arms:
            strategy = arm.named.strategy
            fit = match(resolved.spec.match, strategy, arm.budget, depth, size)
            plan = RowPlan.make(strategy, arm.budget, depth, arm.seed, fit, arm.named.name)
            try:
                plan.check_backbone(backbone)
            except InfeasibleError as error:
                yield f"{name}: {arm.named.name} at {arm.budget} is infeasible: {error}"

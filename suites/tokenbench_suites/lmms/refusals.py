"""Tasks that cannot be run, told from their definition alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from tokenbench.errors import UsageError

__all__ = ["is_submission", "refuse"]

JUDGES = re.compile(r"requests\.post|openai|get_chat_response|llm_judge|call_gpt|get_eval|ask_gpt|server\.evaluate")


def refuse(task: str, config: Mapping[str, Any], judged: bool = False) -> None:
    """Raise UsageError for a task whose answers cannot be scored here.

    Args:
        task: The name of the task.
        config: Its YAML, with functions in the place of their names.
        judged: Whether it may ask a judge, since that can do without an answer.

    Raises:
        UsageError: The task is a Python class, does not ask for generated text, calls a judge for every score, or has no right answers.
    """
    kind = config.get("output_type", "generate_until")
    if "class" in config or kind != "generate_until":
        what = "is written as a Python class" if "class" in config else f"asks for {kind}"
        raise UsageError(f"task '{task}' {what}; TokenBench runs tasks that generate an answer")
    if not judged and _asks_judge(config.get("process_results")):
        raise UsageError(
            f"task '{task}' calls a judge model for every score, which is not supported during a run",
            "redefine it with another metric (--tasks-dir), or rate the stored answers with tokenbench judge",
        )
    metrics = [metric.get("metric") for metric in config.get("metric_list") or () if isinstance(metric, Mapping)]
    if metrics and all(is_submission(str(metric)) for metric in metrics):
        raise UsageError(
            f"the right answers of task '{task}' are not public: it only writes a file for the benchmark's server",
            "run the split with answers, which most benchmarks call val or dev",
        )


def is_submission(metric: str) -> bool:
    """Whether a metric is no number, but a file for a benchmark's server."""
    return metric.startswith("submission") or metric.endswith(("submission", "passthrough"))


def _asks_judge(function: Any) -> bool:
    """Whether the code that scores one answer, or what it calls in its module, speaks of a judge."""
    if not inspect.isfunction(function):
        return False
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    own = [f for f in called if inspect.isfunction(f) and f.__globals__ is function.__globals__]
    return any(JUDGES.search(inspect.getsource(f)) for f in (function, *own))

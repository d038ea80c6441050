"""RUN/bench.json: a stored measurement of time and memory. The classes name what reports read; the file may hold more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tokenbench.errors import UsageError
from tokenbench.store import files
from tokenbench.store.foreign import check_shape, read_json
from tokenbench.store.manifest import Name, Versioned

__all__ = ["FILE", "SCHEMA_VERSION", "Measurement", "read_bench"]

FILE, SCHEMA_VERSION = "bench.json", 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Ratio(_Part):
    """A ratio of the strategy's time to vanilla's, with a 95 % confidence interval."""

    estimate: float
    low: float | None
    high: float | None


class _Row(_Part):
    """One strategy at one budget and number of visual tokens."""

    strategy: Name
    budget: Name
    visual_tokens: int
    """Visual tokens of each prompt, before pruning."""
    ttft_seconds: float
    """Time to the first token."""
    decode_seconds: float
    """Time per further token."""
    kv_bytes: float
    """Size of the KV cache."""
    peak_bytes: float
    """Peak memory."""
    ttft_ratio: _Ratio
    decode_ratio: _Ratio
    joules_per_prompt: float | None = None
    """Energy of the GPU for a prompt with its new tokens; None where nothing told it."""


class _LoadRow(_Part):
    """One strategy at one budget, number of visual tokens and number of clients."""

    strategy: Name
    budget: Name
    visual_tokens: int
    clients: int
    requests_per_second: float
    ttft_p50_seconds: float
    ttft_p99_seconds: float
    ratio: _Ratio


class _BreakEven(_Part):
    """Where a strategy begins to be faster than vanilla."""

    visual: float
    """Number of visual tokens, or of clients."""
    bound: Name
    """Whether the true number is this one, lower or higher."""


class _Model(_Part):
    """All measurements of one model."""

    model: Name
    rows: list[_Row]
    break_even: dict[str, _BreakEven | None]
    """The break-even point for each strategy and budget; None if the intervals show none."""
    load: list[_LoadRow] = []
    """What clients saw under load; empty if no load was measured."""
    notes: list[str]
    infeasible: list[str]
    """Sentences on the strategies that cannot run at a budget."""
    protocol: dict[str, Any] = {}
    """How the times were measured."""


class Measurement(Versioned):
    """The content of bench.json."""

    models: list[_Model]


def read_bench(run: Path) -> list[dict[str, Any]]:
    """Return the measurements in a run directory, a dict per model; empty if there are none.

    Raises:
        MachineError: The file cannot be read.
        UsageError: Another version of TokenBench wrote the file.
    """
    path, hint = run / FILE, "measure again, or remove it"
    if not files.is_file(path, run):
        return []
    content = read_json(path, run, Versioned, hint)
    if content["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"{path} was written by another version of TokenBench (schema {content['schema_version']})", hint
        )
    models: list[dict[str, Any]] = check_shape(content, path, Measurement, hint)["models"]
    return models

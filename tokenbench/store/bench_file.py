"""A stored measurement of time and memory, `bench.json`: what reports read of it. It may hold more."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from tokenbench.store.manifest import Name, Versioned

__all__ = ["FILE", "SCHEMA_VERSION", "Measurement"]

FILE, SCHEMA_VERSION = "bench.json", 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Ratio(_Part):
    estimate: float
    low: float | None
    high: float | None


class _Row(_Part):
    strategy: Name
    budget: Name
    visual_tokens: int
    ttft_seconds: float
    decode_seconds: float
    kv_bytes: float
    peak_bytes: float
    ttft_ratio: _Ratio
    decode_ratio: _Ratio


class _BreakEven(_Part):
    visual: float
    bound: Name


class _Model(_Part):
    model: Name
    rows: list[_Row]
    break_even: dict[str, _BreakEven | None]
    notes: list[str]
    infeasible: list[str]
    protocol: dict[str, Any] = {}


class Measurement(Versioned):
    """bench.json."""

    models: list[_Model]

"""What TokenBench reads of the JSON files of a run directory. They may hold more; what is named here is as said, or refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CellFailure", "CellSummary", "Manifest", "Name", "Versioned"]

# Names are shown on terminals and in tables, which control characters would upset.
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
# Ids become names of files.
CellId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Identity(_Part):
    model: Name
    strategy: Name
    budget: Name
    seed: int
    task: Name


class _Cell(_Identity):
    id: CellId
    samples: Count | None = None
    parts: dict[str, str]


class _Spec(_Part):
    suite: Name
    limit: Annotated[int, Field(ge=1)] | None
    match: Literal["nominal", "tokens", "flops"]
    floors: list[Name]
    tasks: list[Name]
    models: list[Name]
    strategies: list[Name]
    budgets: list[Name]
    seeds: list[int]
    data: list[Name]
    definitions: list[Name]
    batch_size: Annotated[int, Field(ge=1)]
    device: Name
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: Name
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    until: Literal["", "decided"] = ""
    looks: Annotated[int, Field(ge=1)] = 1
    spending: Literal["", "obrien-fleming", "pocock"] = ""
    strict: bool = False


class _Task(_Part):
    unit_rule: Literal["mean", "all", "mean+all"]
    samples: Count
    of: Count | None = None


class _Plan(_Part):
    looks: Annotated[int, Field(ge=1)]
    spending: Literal["obrien-fleming", "pocock"]
    maximum: dict[Name, Count]
    samples: dict[Name, list[Count]]


class _Look(_Part):
    time: Name
    samples: dict[Name, Count]


class _Model(_Part):
    device: Name


class Versioned(_Part):
    """A file that says which version it is of."""

    schema_version: int


class Manifest(Versioned):
    """run.json."""

    spec: _Spec
    cells: list[_Cell]
    parts: dict[str, dict[str, Any]]
    tasks: dict[Name, _Task]
    models: dict[Name, _Model]
    plugin_files: list[Name]
    versions: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    notes: list[str] = []
    unregistered: dict[Literal["strategies", "suites"], dict[Name, Name]] = {}
    seed_scopes: dict[Name, Literal["sample", "run"]] = {}
    plan: _Plan | None = None
    looks: list[_Look] = []


class CellSummary(_Part):
    """cells/ID.json."""

    samples: int
    official: dict[Name, float] = {}


class CellFailure(_Identity):
    """cells/ID.failed.json."""

    kind: Name
    reason: str
    samples: Count = 1

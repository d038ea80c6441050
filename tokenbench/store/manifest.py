"""The shapes of the JSON files of a run directory, as far as TokenBench reads them. The files may hold more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tokenbench.contract.sampling import FRAMES

__all__ = ["CellFailure", "CellSummary", "Manifest", "Name", "Versioned"]

Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Text that is shown on terminals and in tables, which control characters would corrupt."""
CellId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
"""The id of a cell, which becomes the name of a file."""
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
    """The number of samples that the cell is asked; None for all of its task."""
    parts: dict[str, str]
    """The digests of the parts of its identity, by name."""


class _Spec(_Part):
    """The settings of a run; `tokenbench.store.spec.Spec` documents them."""

    suite: Name
    limit: Annotated[int, Field(ge=1)] | None
    match: Literal["nominal", "tokens", "flops"]
    held_out: Count = 0
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
    dtype: Literal["float32", "bfloat16", "float16", "unknown"]
    attention: Name
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    until: Literal["", "decided"] = ""
    looks: Annotated[int, Field(ge=1)] = 1
    spending: Literal["", "obrien-fleming", "pocock"] = ""
    frames: Annotated[int, Field(ge=1)] | None = FRAMES
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    strict: bool = False
    quantization: Name = ""
    device_map: Name = ""


class _Task(_Part):
    unit_rule: Literal["mean", "all", "mean+all"]
    graded: bool = False
    """Whether scores say how good an answer is and not whether it is right."""
    samples: Count
    """The number of samples that are asked."""
    of: Count | None = None
    """The number of samples that the task has."""
    frames: Name = ""
    """Which frames of its clips are shown, in words; empty if it shows no clips, or always the same frames."""


class _Calibration(_Identity):
    """What `--match` found for a cell whose strategy decides its own counts."""

    parameter: Name
    """The parameter that was calibrated."""
    value: float | None
    """Its value; None if there is none that can be used."""
    base: CellId
    """The id that the cell would have without it."""
    unit: Name
    """What `target` and `reached` count."""
    target: float
    """The mean work that the budget stands for."""
    reached: float
    """The mean work on the samples that were held out."""
    held_out: Count
    """How many samples these were."""
    kind: Literal["", "infeasible", "failed"]
    """Why there is no value; empty if there is one."""
    reason: str
    """The same in words."""


class _Plan(_Part):
    """The planned looks of a run that stops when it is decided."""

    looks: Annotated[int, Field(ge=1)]
    spending: Literal["obrien-fleming", "pocock"]
    maximum: dict[Name, Count]
    """The number of images by task."""
    samples: dict[Name, list[Count]]
    """The number of leading samples that each look sees, by task."""


class _Look(_Part):
    time: Name
    """When the verdicts were shown (UTC)."""
    samples: dict[Name, Count]
    """The number of leading samples that it saw, by task."""


class _Imported(_Part):
    """What `tokenbench import` was told and what it read."""

    command: Name
    """The command, without paths."""
    sources: list[dict[str, Any]]
    """The commands of the other tool: what was run, with which arguments, and the SHA-256 of each file."""


class _Model(_Part):
    device: Name


class Versioned(_Part):
    """A file that states the version of its schema."""

    schema_version: int


class Manifest(Versioned):
    """The content of run.json."""

    spec: _Spec
    cells: list[_Cell]
    parts: dict[str, dict[str, Any]]
    """The parts of the cells' identities, by their digests."""
    tasks: dict[Name, _Task]
    models: dict[Name, _Model]
    plugin_files: list[Name]
    """The single-file plug-ins that the run was made with."""
    versions: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    notes: list[str] = []
    """Sentences that a reader of the numbers must see."""
    unregistered: dict[Literal["strategies", "suites", "models"], dict[Name, Name]] = {}
    """The objects that no plug-in registers, by the names under which the run uses them."""
    seed_scopes: dict[Name, Literal["sample", "run"]] = {}
    """For each strategy, what one draw of its seed may move."""
    released_dtypes: dict[Name, Literal["float32", "bfloat16", "float16"]] = {}
    """For each strategy that rounding changes, the type of numbers in which its released code decides."""
    calibration: list[_Calibration] = []
    """What `--match` found for strategies that decide their own counts."""
    imported: _Imported | None = None
    """Where the answers are from, of a run that another tool ran."""
    plan: _Plan | None = None
    """The planned looks; None for a run that does not stop early."""
    looks: list[_Look] = []
    """The looks so far."""


class CellSummary(_Part):
    """The content of cells/ID.json."""

    samples: int
    official: dict[Name, float] = {}
    """The metrics that the benchmark itself reports, on its own scale."""


class CellFailure(_Identity):
    """The content of cells/ID.failed.json."""

    kind: Name
    """`failed` or `infeasible`."""
    reason: str
    samples: Count = 1
    """The number of samples that the cell was asked when it failed."""

"""What a run is: its settings as run.json holds them, and the arms that follow from them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tokenbench.contract.sampling import FRAMES, FrameSampling

if TYPE_CHECKING:
    from tokenbench.contract.budget import Budget
    from tokenbench.registry.names import NamedStrategy

__all__ = ["NO_SEED", "SEEDS", "Arm", "Spec"]

SEEDS = {"sample": (0, 1, 2), "run": (0, 1, 2, 3, 4)}
"""The seeds of a run that names none, by seed scope. If one draw may move all samples, only the seeds show by how much, and three are too few."""
NO_SEED = 0
"""The seed of a strategy that does not draw at random, so that its cells stay the same when a run gets more seeds."""

LATER = {"turns": 1, "quantization": "", "device_map": ""}
"""Settings that are stored only if they are not these, so that the names of run directories stay what they were."""


@dataclass(frozen=True)
class Spec:
    """Everything that a user may set, as run.json stores it.

    Names are canonical; `tokenbench.runner.resolve` turns them into objects. Two commands with the same spec are the same run.
    """

    suite: str
    """Names of suites, separated by commas, each with an optional task name after a colon."""
    tasks: tuple[str, ...]
    """Names of the tasks to ask."""
    models: tuple[str, ...]
    """Registered names, folders or Hugging Face ids."""
    strategies: tuple[str, ...]
    """Canonical names, without vanilla."""
    floors: tuple[str, ...]
    """Trivial baselines that run although the user did not name them."""
    budgets: tuple[str, ...]
    """Budgets, as the user wrote them."""
    seeds: tuple[int, ...]
    """Seeds of the strategies that draw at random; if empty, each strategy gets the default seeds of its scope."""
    limit: int | None
    """The number of samples per task; None for all."""
    batch_size: int
    """Questions per batch."""
    device: str
    """The device that the user named, such as `auto`."""
    dtype: str
    """The data type of the weights."""
    attention: str
    """The decoder's implementation of attention."""
    match: str = "nominal"
    """How budgets are matched: nominal, tokens or flops."""
    held_out: int = 0
    """How many samples of each task are held out to calibrate strategies that decide their own counts."""
    data: tuple[str, ...] = ()
    """`TASK=FOLDER` texts with absolute folders."""
    definitions: tuple[str, ...] = ()
    """Absolute folders with task definitions."""
    margin: float = 1.0
    """Points of accuracy kept whose loss is of no importance."""
    until: Literal["", "decided"] = ""
    """When a strategy stops; if empty, when it has answered all samples."""
    looks: int = 1
    """The number of planned looks, which is more than one only with `until`."""
    spending: Literal["", "obrien-fleming", "pocock"] = ""
    """How the looks share the error; empty without `until`."""
    frames: int | None = FRAMES
    """The number of frames that are shown of a clip; None if `fps` determines it."""
    fps: float | None = None
    """The number of frames per second of a clip that are shown; None if `frames` determines them."""
    strict: bool = False
    """Whether a sample that a model cannot be asked fails its whole task."""
    turns: int = 1
    """How many questions about an image are asked, at most, of the tokens that the first of them chooses."""
    quantization: str = ""
    """How the weights are quantized while they are loaded; empty for as they are stored."""
    device_map: str = ""
    """How the modules are spread over devices, as `read_device_map` takes it; empty for one device, or for all GPUs with `auto`."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as run.json stores them."""
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        for name, usual in LATER.items():
            if settings[name] == usual:
                del settings[name]
        return settings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Spec:
        """Return the spec that `to_json` made these settings of."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**values)

    @property
    def sampling(self) -> FrameSampling:
        """Which frames of clips are shown."""
        return FrameSampling(self.frames, self.fps)

    @property
    def folder_name(self) -> str:
        """The default name of the run directory."""
        return re.sub(r"[^\w.-]+", "-", self.suite) + f"-{self.digest}"

    @property
    def digest(self) -> str:
        """Eight hex digits that tell specs apart."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Arm:
    """One strategy at one budget and seed, which a whole batch runs at once."""

    named: NamedStrategy
    """The strategy with its canonical name."""
    budget: Budget
    """Its budget."""
    seed: int
    """Its seed; `NO_SEED` if it does not draw at random."""

"""A request for a run: every option of `tokenbench run`, as names or objects, checked one by one."""

from __future__ import annotations

import json
import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.loaded import LoadedModel
from tokenbench.contract.sampling import MOST_FPS, MOST_FRAMES
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.suite import Suite
from tokenbench.cost.matching import Mode
from tokenbench.errors import UsageError
from tokenbench.registry.names import NamedStrategy

__all__ = [
    "BUDGETS",
    "HELD_OUT",
    "LARGEST_SEED",
    "Attention",
    "Dtype",
    "Quantization",
    "Request",
    "Spending",
    "check_seed",
    "check_strategy",
]

Dtype = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]
Quantization = Literal["bnb-8bit", "bnb-4bit", "torchao-int8"]
Spending = Literal["obrien-fleming", "pocock"]

BUDGETS = ("1/3", "2/9", "1/9")
"""The budgets of a run that names none."""
HELD_OUT = 64
"""How many samples of each task are held out, unless the user says another number, if a strategy has to be calibrated."""
LARGEST_SEED = 2**31 - 1


def _several(value: object) -> list[Any]:
    """Return a list of one value or of several. A text is a comma list, as on the command line."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping, Strategy)):
        return list(value)
    return [value]


def _strategies(value: object) -> tuple[str | Strategy | NamedStrategy, ...]:
    return tuple(map(check_strategy, _several(value)))


def check_strategy(value: object, argument: str = "strategies") -> str | Strategy | NamedStrategy:
    """Return a strategy that is a name or an object. Raises UsageError, which names the argument, for anything else."""
    if isinstance(value, type):
        hint = f"make an instance: {value.__name__}()" if issubclass(value, Strategy) else ""
        raise UsageError(f"{argument}: {value.__name__} is a class, not an instance", hint)
    if not isinstance(value, (str, Strategy, NamedStrategy)):
        raise UsageError(
            f"{argument}: {_describe(value)} is neither a name nor a tokenbench.Strategy",
            'write, for example, "clse" or "fastv:layer=3"',
        )
    return value


def _budgets(value: object) -> tuple[Budget, ...]:
    return tuple(map(_budget, _several(value)))


def _budget(value: object) -> Budget:
    if isinstance(value, float) and len(str(value)) > len("0.123456789"):
        raise UsageError(f"budgets: {value} has too many digits", 'write a share as a text, "1/3", or as 0.333')
    try:
        budget = Budget.parse(value if isinstance(value, (str, float)) else str(value))
    except UsageError as error:
        raise UsageError(f"budgets: {str(error).removeprefix('budget ')}", error.hint) from None
    if isinstance(value, Budget) and not value.same_as(budget):
        raise UsageError(f"budgets: {value!r} does not match its own text", "create budgets with Budget.parse")
    return budget


def _seeds(value: object) -> tuple[int, ...] | None:
    return None if value is None else tuple(map(check_seed, _several(value)))


def check_seed(value: object, argument: str = "seeds") -> int:
    """Return a seed as Python's own integer. Raises UsageError, which names the argument, for anything that is no seed."""
    number: Any = -1
    if (isinstance(value, numbers.Integral) and not isinstance(value, bool)) or (
        isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(LARGEST_SEED))
    ):
        number = int(value)
    if not 0 <= number <= LARGEST_SEED:
        raise UsageError(f"{argument}: {value!r:.30} is not a whole number from 0 to {LARGEST_SEED}")
    return int(number)


def _names(name: str, value: object) -> tuple[str, ...]:
    names = _several(value)
    for one in names:
        if not isinstance(one, str):
            raise UsageError(f"{name}: {_describe(one)} is not a name")
    return tuple(names)


def _device_map(value: object) -> str:
    """Return a device map as a text. A mapping from modules to devices is allowed as well."""
    text = json.dumps(value, default=str) if isinstance(value, Mapping) else value or ""
    if not isinstance(text, str):
        raise UsageError(f"device_map: {_describe(value)} is neither a name nor devices by module")
    if text:
        from tokenbench.models.device import read_device_map

        read_device_map(text)
    return text


def _models(value: object) -> tuple[str | Backbone | LoadedModel, ...] | None:
    if value is None:
        return None
    models = [str(one) if isinstance(one, Path) else one for one in _several(value)]
    for one in models:
        if not isinstance(one, (str, Backbone, LoadedModel)):
            raise UsageError(
                f"models: {type(one).__name__} {repr(one).split(chr(10), 1)[0]:.60} is not a name, a folder or a Hugging Face id",
                "to run a model object, pass it with its processor: tokenbench.LoadedModel(model, processor)",
            )
    return tuple(models)


def _folders(value: object) -> tuple[str, ...]:
    """Return `TASK=FOLDER` texts. A mapping from tasks to folders is allowed as well."""
    texts = [f"{task}={folder}" for task, folder in value.items()] if isinstance(value, Mapping) else value
    return _names("data", texts)


def _tasks_dir(value: object) -> tuple[str, ...]:
    return _names("tasks_dir", [str(one) if isinstance(one, Path) else one for one in _several(value)])


def _suite(value: object) -> str | Suite:
    if isinstance(value, (str, Suite)):
        return value
    raise UsageError(
        f"suite: {_describe(value)} is neither a name nor a tokenbench.Suite",
        'write, for example, "image" or "lmms:pope"',
    )


def _describe(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"


def _as_int(value: object) -> object:
    """Convert whole numbers of other libraries to Python's own."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


Whole = Annotated[int, BeforeValidator(_as_int)]


class Request(BaseModel):
    """The options of a run with their defaults. `tokenbench run --help` and `tokenbench.run` describe them.

    Names are not looked up yet: see `tokenbench.runner.resolve`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    suite: Annotated[str | Suite, PlainValidator(_suite)] = "image"
    tasks: Annotated[tuple[str, ...], PlainValidator(lambda value: _names("tasks", value))] = ()
    """The names of the tasks to ask; empty for all."""
    strategies: Annotated[tuple[str | Strategy | NamedStrategy, ...], PlainValidator(_strategies)] = ()
    budgets: Annotated[tuple[Budget, ...], PlainValidator(_budgets)] = _budgets(BUDGETS)
    models: Annotated[tuple[str | Backbone | LoadedModel, ...] | None, PlainValidator(_models)] = None
    """None for the suite's own model."""
    seeds: Annotated[tuple[int, ...] | None, PlainValidator(_seeds)] = None
    """None for the default seeds of each strategy."""
    floors: bool = True
    match: Mode = "nominal"
    held_out: Annotated[Whole, Field(ge=1)] | None = None
    """None for `HELD_OUT` if a strategy needs them, else for none."""
    strict: bool = False
    turns: Annotated[Whole, Field(ge=1)] = 1
    limit: Annotated[Whole, Field(ge=1)] | None = None
    until: Literal["decided"] | None = None
    looks: Annotated[Whole, Field(ge=2, le=100)] | None = None
    spending: Spending | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    frames: Annotated[Whole, Field(ge=1, le=MOST_FRAMES)] | None = None
    """None for the default, or if `fps` is given."""
    fps: Annotated[float, Field(gt=0, le=MOST_FPS, allow_inf_nan=False)] | None = None
    batch_size: Annotated[Whole, Field(ge=1)] = 32
    device: str = "auto"
    dtype: Dtype = "float32"
    attention: Attention = "sdpa"
    quantization: Quantization | None = None
    """None for weights as they are stored."""
    device_map: Annotated[str, PlainValidator(_device_map)] = ""
    """A way of accelerate's or a JSON object of devices by module; empty for one device."""
    data: Annotated[tuple[str, ...], PlainValidator(_folders)] = ()
    """`TASK=FOLDER` texts."""
    tasks_dir: Annotated[tuple[str, ...], PlainValidator(_tasks_dir)] = ()

    def override(self, other: Request) -> Request:
        """Return this request with the options that the other one sets in place of its own."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})

    @classmethod
    def of(cls, options: Mapping[str, object], others: Iterable[str] = ()) -> Request:
        """Make a request from options.

        Args:
            options: The options by name.
            others: What may stand beside them where they come from, for the error.

        Raises:
            UsageError: An option is unknown, or has an invalid value. The message is one line that names the option.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            unknown = first["type"] == "extra_forbidden"
            hint = f"known: {', '.join((*cls.model_fields, *sorted(others)))}" if unknown else ""
            given = "" if unknown else f", not {first['input']!r:.60}"
            raise UsageError(f"{first['loc'][0]}: {first['msg']}{given}", hint) from None

"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.store.run import Run

__all__ = [
    "Finite",
    "Names",
    "Place",
    "Whole",
    "absolute",
    "attention_option",
    "data_of_run_option",
    "details_option",
    "device_option",
    "dtype_option",
    "examples",
    "flat",
    "held_out_option",
    "list_option",
    "match_option",
    "models_of_run_option",
    "named_data",
    "offline_command",
    "peek_option",
    "plugin_option",
    "show_scores",
    "tasks_dir_option",
    "whole_numbers",
]

LARGEST = 2**31 - 1
LONGEST_NAME = 255
"""The longest name of a file, in bytes, on every file system in use."""

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType[Any]):
    """A comma list. The option may be repeated as well."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split the text at its commas, and drop empty parts."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Place(click.Path):
    """A file or folder, which need not exist. A name that no file can have is refused."""

    def __init__(self, **more: Any) -> None:
        super().__init__(path_type=Path, **more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the text to a path, as `click.Path` does."""
        path = Path(value)
        if "\0" in str(path) or any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            self.fail(f"no file can have the name {str(path)[:60]!r}", param, ctx)
        return super().convert(value, param, ctx)


class _Number(click.ParamType[Any]):
    """A number within limits. The help shows no limits, as click's own ranges do (`[1<=x<=1000000000]`); the error states them."""

    def __init__(self, min: float | None = None, max: float | None = None, min_open: bool = False) -> None:
        self._min, self._max, self._min_open = min, max, min_open

    def _check(self, number: float, param: click.Parameter | None, ctx: click.Context | None) -> None:
        """Report a number that is not within the limits."""
        low, high = self._min, self._max
        too_small = low is not None and (number <= low if self._min_open else number < low)
        if too_small or (high is not None and number > high):
            lower = "" if low is None else f"above {low:,}" if self._min_open else f"at least {low:,}"
            upper = "" if high is None else f"at most {high:,}"
            self.fail(f"it must be {' and '.join(filter(None, (lower, upper)))}, not {str(number)[:30]}", param, ctx)


class Finite(_Number):
    """A float within limits, neither NaN nor infinite."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the text to a number, and check the limits."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        self._check(number, param, ctx)
        return number


class Whole(_Number):
    """A whole number within limits."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert the text to a number, and check the limits."""
        number: int = click.INT.convert(value, param, ctx)
        self._check(number, param, ctx)
        return number


def whole_numbers(option: str, texts: Iterable[str], least: int = 0) -> tuple[int, ...]:
    """Convert texts to whole numbers.

    Args:
        option: The name of the option, for the error.
        texts: The texts.
        least: The smallest number that is allowed.

    Raises:
        UsageError: A text is not a whole number, or the number is too small or does not fit into 32 bits.
    """
    numbers = []
    for text in texts:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1
        if not least <= number <= LARGEST:
            limit = f"above {least - 1}" if least else f"up to {LARGEST}"
            raise UsageError(f"{option} takes whole numbers {limit}, not {text[:30]}")
        numbers.append(number)
    return tuple(numbers)


def absolute(folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders of `--tasks-dir` as a run stores them. Raises the errors of `absolute_folders`."""
    from tokenbench.registry.suites import absolute_folders

    return absolute_folders(folders)


def flat(values: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return all names of a repeated list option, each once, in the order in which they were given."""
    return tuple(dict.fromkeys(name for part in values for name in part))


def list_option(*names: str, help: str, default: str | None = None, required: bool = False) -> Callable[[F], F]:
    """Return a decorator that adds an option which takes a comma list, and may be repeated."""
    return click.option(
        *names,
        type=Names(),
        multiple=True,
        default=[default] if default else None,
        show_default=default is not None,
        required=required,
        callback=_require_one if required else None,
        help=help,
    )


def _require_one(ctx: click.Context, param: click.Parameter, value: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Treat a list without any name (`--models ,`) as an option that was not given."""
    if not flat(value):
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


def examples(*lines: str) -> str:
    """Return the epilog of a command's help: commands to copy, which click neither wraps nor joins."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


STRATEGIES = "Strategies, with parameters after colons: clse,fastv:layer=3."
BUDGETS = "Visual tokens to keep: a number (192) or a share (1/3, 33%, 0.334)."
MODELS = "Model names, folders, or Hugging Face ids (ID@REVISION)."

plugin_option = click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    metavar="FILE",
    help="Load a plug-in from a Python file. May be repeated.",
)
tasks_dir_option = list_option(
    "--tasks-dir",
    help="Folders of task definitions that the run used. They hold code, so name them only if you trust them.",
)
data_of_run_option = list_option(
    "--data", help="Data folders of the run that may be read, with their present location: TASK=FOLDER."
)
models_of_run_option = list_option("--models", help="Models of the run that may be read.")


def named_data(texts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the texts of `--data` as a run stores them. Raises the errors of `data_folders`."""
    from tokenbench.registry.suites import absolute_data

    return absolute_data(flat(texts))


def offline_command(command: F) -> F:
    """Run a command that only reads a run directory without downloading anything, since the directory may come from anybody."""

    @wraps(command)
    def run_offline(*args: Any, **options: Any) -> Any:
        from tokenbench.models.offline import offline

        with offline():
            return command(*args, **options)

    decorated: Any = run_offline
    return decorated  # type: ignore[no-any-return]


details_option = click.option(
    "--details", is_flag=True, help="Print all verdicts, tables and notes instead of the short report."
)
peek_option = click.option(
    "--peek",
    is_flag=True,
    help="Show scores only, without intervals, p-values or verdicts. This does not count as a look.",
)


def show_scores(run: Run) -> None:
    """Print a run's scores, one row per strategy, budget and task."""
    from tokenbench.commands.output import say
    from tokenbench.comparison.tables import scores_table
    from tokenbench.tables import text_table

    say(*text_table(scores_table(run.scores())).splitlines())


device_option = click.option(
    "--device", default="auto", show_default=True, help="Device to run on: auto, cpu, cuda, cuda:1, …"
)


def dtype_option(default: str) -> Callable[[F], F]:
    """Return a decorator that adds the option `--dtype` with this default."""
    return click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default=default,
        show_default=True,
        help="Data type of weights and activations.",
    )


def attention_option(of: str) -> Callable[[F], F]:
    """Return a decorator that adds the option `--attention`, for the decoder or whatever `of` names."""
    return click.option(
        "--attention",
        type=click.Choice(["sdpa", "eager", "flash_attention_2"]),
        default="sdpa",
        show_default=True,
        help=f"Attention implementation of the {of}.",
    )


match_option = click.option(
    "--match",
    type=click.Choice(["nominal", "tokens", "flops"]),
    default="nominal",
    show_default=True,
    help="How budgets count: as in each method's paper, or with schedules scaled, and thresholds calibrated, to equal mean tokens or FLOPs.",
)
held_out_option = click.option(
    "--held-out",
    type=Whole(min=1),
    help="Samples at the beginning of each task that are left out of the results, to calibrate thresholds on, with --match.  "
    "[default: 64 if a strategy decides its own counts]",
)

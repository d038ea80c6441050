"""A run from Python: what `tokenbench run` does, without its reports."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.executor import Executor
from tokenbench.contract.loaded import LoadedModel
from tokenbench.contract.strategy import Strategy
from tokenbench.contract.suite import Suite
from tokenbench.cost.matching import Mode
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry
from tokenbench.runner.execute import execute
from tokenbench.runner.progress import progress as progress_bar
from tokenbench.runner.request import BUDGETS, Attention, Dtype, Quantization, Request, Spending
from tokenbench.runner.resolve import resolve
from tokenbench.store.run import Run

__all__ = ["run"]


def run(  # noqa: PLR0913 (an option each)
    strategies: str | Strategy | Iterable[str | Strategy],
    output: str | Path | None = None,
    *,
    suite: str | Suite = "image",
    tasks: str | Iterable[str] = (),
    budgets: str | float | Budget | Iterable[str | float | Budget] = BUDGETS,
    models: str | Path | Backbone | LoadedModel | Iterable[str | Path | Backbone | LoadedModel] | None = None,
    seeds: int | Iterable[int] | None = None,
    floors: bool = True,
    match: Mode = "nominal",
    held_out: int | None = None,
    strict: bool = False,
    turns: int = 1,
    limit: int | None = None,
    until: Literal["decided"] | None = None,
    looks: int | None = None,
    spending: Spending | None = None,
    margin: float = 1.0,
    frames: int | None = None,
    fps: float | None = None,
    batch_size: int = 32,
    device: str = "auto",
    dtype: Dtype = "float32",
    attention: Attention = "sdpa",
    quantization: Quantization | None = None,
    device_map: str | Mapping[str, int | str] | None = None,
    data: Mapping[str, str | Path] | Iterable[str] = (),
    tasks_dir: str | Path | Iterable[str | Path] = (),
    plugins: str | Path | Iterable[str | Path] = (),
    executor: Executor | None = None,
    progress: bool = False,
) -> Run:
    """Run every strategy x budget x model cell of a suite, and return the run.

    Example::

        run = tokenbench.run(["clse", FastV(layer=3)], "my-run", budgets=["1/3", 64], limit=20)
        run.compare().summary

    The options are those of `tokenbench run`. An existing run directory is continued and grows: only what it lacks is
    run. A cell that fails does not stop the others, see `Run.failures`.

    A strategy or a suite may be an object of a class that no plug-in registers, such as one written in a notebook. It
    goes by the name of its class and runs in this process alone; to continue such a run later, give the object again.

    Args:
        strategies: Names with parameters (`"clse:temp=0.2"`), or objects; a text may be a comma list.
        output: The run directory; by default `runs/SUITE-HASH`.
        suite: The name of a suite, or names with tasks (`"lmms:pope,lmms:mme"`), or an object.
        tasks: Names of tasks of the suite; by default all of them.
        budgets: How many visual tokens to retain: numbers of tokens (`192`), or shares (`"1/3"`, `"33%"`, `0.334`).
        models: Names, folders with weights, Hugging Face ids (`"ID@REVISION"`), registered backbones, or models that are loaded
            already (`tokenbench.LoadedModel`), which run in this process as they are: `device`, `attention`,
            `quantization` and `device_map` say nothing of them. By default the suite's own model.
        seeds: Seeds of the strategies that draw at random; by default 0, 1, 2, or 0 to 4 if one draw may affect all
            samples.
        floors: Whether the trivial baselines `random` and `downsample` run, too.
        match: `"nominal"` to count budgets as each method's paper does, or what schedules are scaled to match:
            `"tokens"` or `"flops"`.
        held_out: With `match`, how many samples at the beginning of each task are left out of the results, to calibrate
            strategies that decide their own counts; by default 64 if there is such a strategy.
        strict: Whether a sample that cannot be shown to a model (such as a damaged picture) fails its whole task
            instead of only itself.
        turns: How many questions about an image are asked, at most, of the tokens that the first of them leaves.
        limit: The number of samples of each task; by default all of them.
        until: `"decided"` to take whole images at random and to stop every strategy whose verdict is final.
        looks: With `until`, the largest number of looks; by default 5.
        spending: With `until`, how the looks share the error: `"obrien-fleming"` (the default) or `"pocock"`.
        margin: The loss, in points of accuracy kept, that is of no importance.
        frames: The number of frames that a model sees of each clip; by default 8. A clip that has fewer is shown as it is.
        fps: The number of frames per second that it sees, in place of `frames`; at most 768 frames of a clip.
        batch_size: Questions in a batch.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, ...
        dtype: The type of the weights.
        attention: The decoder's implementation of attention.
        quantization: How weights are quantized while they are loaded: `"bnb-8bit"`, `"bnb-4bit"` or `"torchao-int8"`; by
            default they stay as they are stored.
        device_map: How modules are spread over devices: `"auto"`, `"balanced"`, `"balanced_low_0"`, `"sequential"`, or a
            mapping from modules to devices (`0`, `"cpu"`, `"disk"`).
        data: Folders with local data of public tasks, by the name of the task.
        tasks_dir: Folders with task definitions, for the suite `lmms`.
        plugins: Plug-ins that are single Python files.
        executor: Where the work is done; by default in this process.
        progress: Whether to show progress on standard error.

    Returns:
        The run, whose tables, reports and comparisons are read from its directory.

    Raises:
        UsageError: If an argument is unknown, malformed or does not fit the run directory; the message names it.
        MachineError: If this machine cannot do it.
    """
    request = Request.of(
        {
            "strategies": strategies, "suite": suite, "tasks": tasks, "budgets": budgets, "models": models, "seeds": seeds,
            "floors": floors, "match": match, "held_out": held_out, "strict": strict, "turns": turns, "limit": limit, "until": until,
            "looks": looks, "spending": spending, "margin": margin, "frames": frames, "fps": fps, "batch_size": batch_size,
            "device": device, "dtype": dtype,
            "attention": attention, "quantization": quantization, "device_map": device_map, "data": data, "tasks_dir": tasks_dir,
        }
    )  # fmt: skip
    registry = Registry([plugins] if isinstance(plugins, (str, Path)) else plugins)
    asked = resolve(request, registry)
    folder = _folder(output) or Path("runs") / asked.spec.folder_name
    bar = partial(progress_bar, out=sys.stderr, quiet=not progress)
    resolved = execute(asked, folder, registry, bar, _check_executor(executor))
    return Run.open(folder, registry, asked.spec.definitions, asked.spec.data, resolved.tasks)


def _folder(output: object) -> Path | None:
    if output is None or isinstance(output, Path):
        return output
    if isinstance(output, str) and output and "\0" not in output:
        return Path(output)
    raise UsageError(f"output: {type(output).__name__} {output!r:.60} is not a folder")


def _check_executor(executor: object) -> Executor | None:
    if executor is None or isinstance(executor, Executor):
        return executor
    raise UsageError(
        f"executor: {type(executor).__name__} {executor!r:.60} is not a tokenbench.Executor", "pass an instance"
    )

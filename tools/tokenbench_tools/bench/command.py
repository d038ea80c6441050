"""The command `tokenbench bench`. Imports nothing heavy before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.loading import quantization_option
from tokenbench.commands.options import (
    BUDGETS,
    MODELS,
    STRATEGIES,
    Place,
    Whole,
    attention_option,
    device_option,
    dtype_option,
    examples,
    flat,
    list_option,
    plugin_option,
    whole_numbers,
)
from tokenbench.commands.output import say, say_json
from tokenbench.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bench"]


@click.command(
    epilog=examples(
        "tokenbench bench --models toy-llava --strategies clse -o my-run",
        "tokenbench bench --models llava-1.5-7b --random-weights --strategies clse",
        "tokenbench bench --models llava-1.5-7b --strategies clse,fastv --budgets 192,64 --load 1,4,16,32",
    )
)
@list_option("--models", required=True, help=MODELS)
@list_option("--strategies", required=True, help=STRATEGIES)
@list_option("--budgets", default="1/3,2/9,1/9", help=BUDGETS)
@list_option(
    "--visual-tokens",
    help="Visual tokens in each prompt. Give several lengths to find the break-even point.  [default: those of a typical input]",
)
@click.option(
    "--text-tokens", "text", type=Whole(min=1), default=50, show_default=True, help="Text tokens in each prompt."
)
@click.option(
    "--new-tokens", "new", type=Whole(min=2), default=16, show_default=True, help="Tokens to generate per prompt."
)
@click.option("--batch-size", "rows", type=Whole(min=1), default=1, show_default=True, help="Prompts per batch.")
@click.option(
    "--launches",
    type=Whole(min=1),
    default=8,
    show_default=True,
    help="Fresh processes to measure in. Intervals are computed over launches.",
)
@click.option("--repetitions", type=Whole(min=1), default=5, show_default=True, help="Timed passes per launch.")
@click.option(
    "--warm-up", type=Whole(min=0), default=2, show_default=True, help="Untimed passes at the start of each launch."
)
@list_option(
    "--load",
    help="Numbers of clients (1,4,16,32) that ask, wait for the answer and ask again: measures requests per second, and p50 and p99 of TTFT.",
)
@click.option(
    "--largest-batch",
    type=Whole(min=1),
    help="With --load, the largest number of requests that are answered in one batch.  [default: the largest load]",
)
@click.option("--random-weights", is_flag=True, help="Use random weights of the model's sizes; nothing is downloaded.")
@click.option("--layers", type=Whole(min=1), help="Keep the first N decoder layers only, for small machines.")
@device_option
@dtype_option("float32")
@attention_option("model")
@quantization_option
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Output format."
)
@click.option(
    "-o", "--output", metavar="RUN", type=Place(), help="Run directory to store the result in, as RUN/bench.json."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@plugin_option
def bench(form: str, output: Path | None, quiet: bool, plugin_files: tuple[str, ...], **options: Any) -> None:
    """Measure time and memory of strategies on this machine.

    All ratios are to the stock model. The prompts are made up. TTFT is the time to the first token, TPOT the time per
    further token.
    """
    from tokenbench.models.source import configuration
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.bench_file import FILE, SCHEMA_VERSION
    from tokenbench.store.directory import Store
    from tokenbench.store.files import sweep, write_atomically
    from tokenbench_tools.bench.plans import make_ways
    from tokenbench_tools.bench.protocol import Protocol
    from tokenbench_tools.bench.rounds import bench as measured

    models, strategies, budgets, visual_tokens = (
        flat(options.pop(name)) for name in ("models", "strategies", "budgets", "visual_tokens")
    )
    folder = Store.open(output).folder if output else None
    if folder:
        _check_models(models, folder)
    registry = Registry(plugin_files)
    ways, lengths = make_ways(strategies, budgets, registry), _lengths(visual_tokens)
    options["load"] = whole_numbers("--load", flat(options["load"]), least=1)
    options["quantization"] = options["quantization"] or ""
    if options["largest_batch"] and not options["load"]:
        raise UsageError("--largest-batch requires --load", "give the numbers of clients, such as --load 1,4,16")
    for model in models:  # before minutes go into the first one
        configuration(model, registry)
    found = [
        measured(
            Protocol(model=model, ways=ways, lengths=lengths, plugins=plugin_files, **options),
            registry,
            lambda text: None if quiet else say(text, err=True),
        )
        for model in models
    ]
    content = {"schema_version": SCHEMA_VERSION, "models": [one.to_json() for one in found]}
    if folder:
        try:
            sweep(folder, folder)
            write_atomically(folder / FILE, json.dumps(content, indent=2).encode())
        except OSError as error:
            raise MachineError(f"cannot write {folder / FILE}: {error.strerror or error}") from None
    if form == "json":
        say_json(content)
    else:
        say(*"\n\n".join(map(str, found)).split("\n"))


def _check_models(models: Sequence[str], folder: Path) -> None:
    """Check that a run has the models whose times are to be stored beside its answers."""
    from tokenbench.store.run_json import read_manifest

    own = list(read_manifest(folder)["models"])
    if other := next((model for model in models if model not in own), None):
        raise UsageError(
            f"{folder} is not a run of {other}: its {'model is' if len(own) == 1 else 'models are'} {', '.join(own)}",
            "name the model as the run does, or leave out -o to print the times only",
        )


def _lengths(texts: Sequence[str]) -> tuple[int | None, ...]:
    """Numbers of visual tokens; those of a common input if none is given."""
    return whole_numbers("--visual-tokens", texts, least=1) or (None,)

"""The command `tokenbench bench`. Imports nothing heavy before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.options import (
    Place,
    attention_option,
    device_option,
    dtype_option,
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


@click.command()
@list_option("--models", help="Names, folders, or Hugging Face ids (ID@REVISION).")
@list_option("--strategies", help="Strategies, with parameters after colons: clse,fastv:layer=3.")
@list_option("--budgets", default="1/3,2/9,1/9", help="What to retain: tokens (192) or shares (1/3, 33%, 0.334).")
@list_option("--visual-tokens", help="Of the prompts; several show the break-even.  [default: a common input's]")
@click.option(
    "--text-tokens", "text", type=click.IntRange(min=1), default=50, show_default=True, help="Of the prompts."
)
@click.option("--new-tokens", "new", type=click.IntRange(min=2), default=16, show_default=True, help="To generate.")
@click.option("--batch-size", "rows", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts a batch.")
@click.option(
    "--launches", type=click.IntRange(min=1), default=8, show_default=True, help="Processes, the unit of intervals."
)
@click.option("--repetitions", type=click.IntRange(min=1), default=5, show_default=True, help="Timed passes in each.")
@click.option("--warm-up", type=click.IntRange(min=0), default=2, show_default=True, help="Passes before them.")
@click.option("--random-weights", is_flag=True, help="The model's sizes with random numbers; no weights are needed.")
@click.option(
    "--layers", type=click.IntRange(min=1), help="Only the first N layers of the decoder, for small machines."
)
@device_option
@dtype_option("float32")
@attention_option("model")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-o", "--output", metavar="RUN", type=Place(), help="Keep it with a run: RUN/bench.json.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@plugin_option
def bench(form: str, output: Path | None, quiet: bool, plugin_files: tuple[str, ...], **options: Any) -> None:
    """Measure time and memory of strategies on this machine, against the stock model."""
    from tokenbench.models.source import configuration
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.bench_file import FILE, SCHEMA_VERSION
    from tokenbench.store.directory import Store
    from tokenbench.store.files import publish, sweep
    from tokenbench_tools.bench.plans import ways_of
    from tokenbench_tools.bench.protocol import Protocol
    from tokenbench_tools.bench.rounds import bench as measured

    folder = Store.open(output).folder if output else None
    models, strategies, budgets, visual_tokens = (
        flat(options.pop(name)) for name in ("models", "strategies", "budgets", "visual_tokens")
    )
    if not models:
        raise UsageError("no model named", "name one with --models")
    known = Registry(plugin_files)
    ways, lengths = ways_of(strategies, budgets, known), _lengths(visual_tokens)
    for model in models:  # before minutes go into the first one
        configuration(model, known)
    found = [
        measured(
            Protocol(model=model, ways=ways, lengths=lengths, plugins=plugin_files, **options),
            known,
            lambda text: None if quiet else say(text, err=True),
        )
        for model in models
    ]
    content = {"schema_version": SCHEMA_VERSION, "models": [one.to_json() for one in found]}
    if folder:
        try:
            sweep(folder, folder)
            publish(folder / FILE, json.dumps(content, indent=2).encode())
        except OSError as error:
            raise MachineError(f"cannot write {folder / FILE}: {error.strerror or error}") from None
    if form == "json":
        say_json(content)
    else:
        say(*"\n\n".join(map(str, found)).split("\n"))


def _lengths(texts: Sequence[str]) -> tuple[int | None, ...]:
    """Numbers of visual tokens; those of a common input if none is given."""
    return whole_numbers("--visual-tokens", texts, least=1) or (None,)

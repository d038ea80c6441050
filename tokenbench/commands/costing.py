"""The command that counts what strategies cost, before anything is run."""

from __future__ import annotations

from typing import Any

import click

from tokenbench.commands.options import (
    BUDGETS,
    STRATEGIES,
    Whole,
    dtype_option,
    examples,
    flat,
    list_option,
    match_option,
    plugin_option,
)
from tokenbench.commands.output import say, say_json

__all__ = ["cost"]


@click.command(
    epilog=examples(
        "tokenbench cost --models llava-1.5-7b --strategies clse,fastv --budgets 192,64",
        "tokenbench cost --models toy-llava --strategies clse,fastv --match tokens",
    )
)
@list_option(
    "--models", required=True, help="Model names, folders, or Hugging Face ids (ID@REVISION). No weights are needed."
)
@list_option("--strategies", required=True, help=STRATEGIES)
@list_option("--budgets", default="1/3,2/9,1/9", help=BUDGETS)
@click.option(
    "--visual-tokens", type=Whole(min=1), help="Visual tokens in the prompt.  [default: those of a typical input]"
)
@click.option("--text-tokens", type=Whole(min=1), default=50, show_default=True, help="Text tokens in the prompt.")
@dtype_option("float16")
@match_option
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Output format."
)
@plugin_option
def cost(form: str, plugin_files: tuple[str, ...], **options: Any) -> None:
    """Count tokens, FLOPs and KV cache without running a model.

    The counts follow from schedules and model sizes; no weights are needed.
    """
    from tokenbench.cost.table import costs
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    tables = [
        costs(
            model,
            flat(options["strategies"]),
            flat(options["budgets"]),
            registry,
            options["visual_tokens"],
            options["text_tokens"],
            options["dtype"],
            options["match"],
        )
        for model in flat(options["models"])
    ]
    if form == "json":
        say_json({"models": [table.to_json() for table in tables]})
    else:
        say(*"\n\n".join(map(str, tables)).split("\n"))

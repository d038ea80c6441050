"""The command that counts what strategies cost, before anything is run."""

from __future__ import annotations

from typing import Any

import click

from tokenbench.commands.options import dtype_option, flat, list_option, match_option, plugin_option
from tokenbench.commands.output import say, say_json

__all__ = ["cost"]


@click.command()
@click.option("--model", required=True, help="Name, folder, or Hugging Face id (ID@REVISION); no weights are needed.")
@list_option("--strategies", help="Strategies, with parameters after colons: clse,fastv:layer=3.")
@list_option("--budgets", default="1/3,2/9,1/9", help="What to retain: tokens (192) or shares (1/3, 33%, 0.334).")
@click.option("--visual-tokens", type=click.IntRange(min=1), help="Of the prompt.  [default: those of a common input]")
@click.option("--text-tokens", type=click.IntRange(min=1), default=50, show_default=True, help="Of the prompt.")
@dtype_option("float16")
@match_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@plugin_option
def cost(model: str, form: str, plugin_files: tuple[str, ...], **options: Any) -> None:
    """Count visual tokens, FLOPs and KV cache of strategies on a model, without running it."""
    from tokenbench.cost.table import costs
    from tokenbench.registry.plugins import Registry

    table = costs(
        model,
        flat(options["strategies"]),
        flat(options["budgets"]),
        Registry(plugin_files),
        options["visual_tokens"],
        options["text_tokens"],
        options["dtype"],
        options["match"],
    )
    if form == "json":
        say_json(table.to_json())
    else:
        say(*str(table).split("\n"))

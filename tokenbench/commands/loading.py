"""Options on how the weights of a model are loaded."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.errors import UsageError

__all__ = ["device_map_option", "quantization_option"]

quantization_option = click.option(
    "--quantization",
    type=click.Choice(["bnb-8bit", "bnb-4bit", "torchao-int8"]),
    help="Quantize the weights while they are loaded, with bitsandbytes or torchao.  [default: as they are stored]",
)


def _read_map(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the content of a JSON file, or the text as it is."""
    try:
        return Path(value).read_text(encoding="utf-8") if value and value.endswith(".json") else value
    except (OSError, ValueError) as error:
        raise UsageError(f"--device-map {value}: {getattr(error, 'strerror', None) or error}") from None


device_map_option = click.option(
    "--device-map",
    callback=_read_map,
    metavar="MAP",
    help="Spread the modules of a model over devices: auto, balanced, balanced_low_0, sequential, or a JSON file of devices by module "
    "(0, cpu, disk).",
)

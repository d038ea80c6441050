"""The doors by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.bad import Bad
from tests.fuzz.cli_door import bad_command_lines
from tests.fuzz.image_door import bad_images
from tests.fuzz.plugin_door import bad_plugins
from tests.fuzz.run_door import bad_runs
from tests.fuzz.spec_door import bad_specs

DOORS: dict[str, Callable[[random.Random, Path], list[Bad]]] = {
    "command line": bad_command_lines,
    "run spec": bad_specs,
    "run directory": bad_runs,
    "image": bad_images,
    "plug-in": bad_plugins,
}

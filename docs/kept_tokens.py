"""Draw the tokens that every strategy keeps of one picture: docs/_static/pictures/kept-by-all.png.

In the repository: ``python docs/kept_tokens.py``. Nothing is fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tokenbench import Budget
from tokenbench.contract.suite import Sample
from tokenbench.engine import EncoderRequests, RowPlan
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import suite_alone

PICTURE = Path(__file__).parent / "_static" / "pictures" / "kept-by-all.png"
MODEL, TASK, BUDGET = "toy-llava", "reading", "1/3"
SIDE, GAP, LABEL, COLUMNS = 112, 8, 16, 7
DARK = 0.22


def keep_by_all(names: list[str]) -> tuple[Image.Image, str, dict[str, np.ndarray]]:
    """The picture, the question about it, and by strategy which cells of the lattice are left before the last layer."""
    plugins = registry()
    (task,) = (task for task in suite_alone("image", plugins).tasks if task.name == TASK)
    sample: Sample = task.samples()[0]
    model = Model(MODEL, locate(MODEL, plugins), "cpu")
    kept = {}
    with model.pruner() as pruner:
        for name in names:
            strategy = parse_strategy(name, plugins).strategy
            budget = Budget.parse(BUDGET) if strategy.budgeted else Budget.none()
            plan = RowPlan.make(strategy, budget, model.depth, name=name).of("0", model.question(sample))
            batch = model.prepare([sample], EncoderRequests.of(plan.typical))
            _, (row,) = model.generate(batch, pruner, [plan], [1])
            cells = np.zeros(row.visual, bool)
            cells[row.kept] = True
            (grid,) = row.grids
            kept[name] = cells[np.array(grid.patches()[0])]
    (picture,) = sample.load()
    return picture, sample.question, kept  # type: ignore[return-value]


def draw(picture: Image.Image, kept: dict[str, np.ndarray]) -> Image.Image:
    """A sheet with a panel for the picture and one for every strategy."""
    panels: dict[str, Any] = {"the picture": None, **kept}
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + LABEL + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    small = np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), float)
    for i, (name, cells) in enumerate(panels.items()):
        x, y = GAP + i % COLUMNS * (SIDE + GAP), GAP + i // COLUMNS * (SIDE + LABEL + GAP)
        light = np.ones((SIDE, SIDE)) if cells is None else _enlarge(cells)
        pen.text((x, y), name, "black", font)
        sheet.paste(Image.fromarray((small * light[..., None]).astype(np.uint8)), (x, y + LABEL))
    return sheet


def _enlarge(cells: np.ndarray) -> np.ndarray:
    """[SIDE, SIDE] how bright each pixel is."""
    at = [np.arange(SIDE) * length // SIDE for length in cells.shape]
    return np.where(cells[np.ix_(*at)], 1.0, DARK)


def main() -> None:
    """Write the picture."""
    names = [name for name in registry().names("strategies") if name not in ("vanilla", "blind", "downsample")]
    picture, question, kept = keep_by_all(names)
    draw(picture, kept).save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB, {len(kept)} strategies, asked: {question}\n")


if __name__ == "__main__":
    main()

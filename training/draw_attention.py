"""Where toy-llava looks: `python -m training.draw_attention` draws one question, and prints every layer's attention to evidence.

Attention is that of the last prompt token to the visual tokens, as the mean over heads. Nothing but the answers taught it, so that
what it looks at is learnt.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import tokenbench
from tokenbench.contract.suite import Sample
from tokenbench_suites.image import suite
from training.evaluate import Forced, Judge
from training.scene_batches import SIDE
from training.toy_llava import WEIGHTS_FOLDER

STRATEGIES = ("clse", "fastv")
BUDGET = "1/9"


def attention_by_layer(judge: Judge, samples: list[Sample]) -> Tensor:
    """[layers, samples, visual tokens]: shares of the attention that goes to visual tokens."""
    _, rows = Forced(judge, samples).run()
    stacked = torch.stack(rows)
    return stacked / stacked.sum(-1, keepdim=True)


def kept_tokens(judge: Judge, sample: Sample, strategy: str) -> np.ndarray:
    """[SIDE, SIDE]: which visual tokens remain after the last layer."""
    with tokenbench.pruned(judge.model, strategy, BUDGET) as pruning, torch.no_grad():
        judge.model(**judge.inputs([sample]))
        kept = pruning.rows[0].kept
    grid = np.zeros(SIDE * SIDE, dtype=bool)
    grid[kept] = True
    return grid.reshape(SIDE, SIDE)


def print_evidence(judge: Judge, count: int) -> Tensor:
    """Print and return each layer's share of attention on evidence [layers], over `count` questions of each task."""
    shares, chance = [], []
    for task in suite().tasks:
        samples = list(task.samples()[:count])
        evidence = torch.from_numpy(np.stack([judge.evidence(sample) > 0 for sample in samples])).float()
        shares.append((attention_by_layer(judge, samples) * evidence).sum(-1).mean(-1))
        chance.append(float(evidence.mean()))
    print(f"| layer | {' | '.join(task.name for task in suite().tasks)} |")
    for layer, row in enumerate(torch.stack(shares, 1).tolist()):
        print(f"| {layer} | {' | '.join(f'{100 * share:.0f}' for share in row)} |")
    print(f"| share of the tokens | {' | '.join(f'{100 * share:.0f}' for share in chance)} |")
    return torch.stack(shares).mean(0)


def draw(judge: Judge, sample: Sample, layers: list[int], path: Path) -> None:
    """The image, the attention of some layers, and what strategies keep, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * (1 + len(layers) + len(STRATEGIES)), 2.5), layout="constrained")
    panels = figure.subplots(1, 1 + len(layers) + len(STRATEGIES))
    (image,) = sample.load()
    pixels = np.asarray(image)
    shown = attention_by_layer(judge, [sample])[:, 0].reshape(-1, SIDE, SIDE)
    for panel in panels:
        _show(panel, pixels)
        for box in sample.evidence:
            _outline(panel, box, pixels.shape[0])
    panels[0].set_title("evidence outlined", fontsize=8)
    for panel, layer in zip(panels[1:], layers, strict=False):
        panel.imshow(shown[layer], cmap="magma", alpha=0.75, extent=_extent(pixels))
        panel.set_title(f"attention, layer {layer}", fontsize=8)
    for panel, strategy in zip(panels[1 + len(layers) :], STRATEGIES, strict=True):
        dropped = np.where(kept_tokens(judge, sample, strategy), np.nan, 1.0)
        panel.imshow(dropped, cmap="gray", vmin=1, vmax=2, alpha=0.8, extent=_extent(pixels))
        panel.set_title(f"{strategy} keeps at {BUDGET}", fontsize=8)
    figure.suptitle(f"{sample.question}  ({sample.target})", fontsize=9)
    _save(figure, path)


def _show(panel: Any, pixels: np.ndarray) -> None:
    panel.imshow(pixels, extent=_extent(pixels))
    panel.set_axis_off()


def _outline(panel: Any, box: Any, size: int) -> None:
    from matplotlib.patches import Rectangle

    corner, wide, high = (box.x0 * size, box.y0 * size), (box.x1 - box.x0) * size, (box.y1 - box.y0) * size
    panel.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor="white", linewidth=1.2))


def _save(figure: Any, path: Path) -> None:
    """As a PNG of 256 colors, since it is kept in the repository."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


def _extent(pixels: np.ndarray) -> tuple[int, int, int, int]:
    return 0, pixels.shape[1], pixels.shape[0], 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--task", default="position", choices=[task.name for task in suite().tasks])
    parser.add_argument("--question", type=int, default=0, help="its number in the task")
    parser.add_argument("--limit", type=int, default=10, help="questions a task that the table is about")
    parser.add_argument("--layers", type=int, nargs="+", help="[default: the two with the most attention on evidence]")
    parser.add_argument("--target", type=Path, default=Path("docs/_static/toy-attention.png"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge(args.folder)
    shares = print_evidence(judge, args.limit)
    layers = args.layers or sorted(shares.topk(2).indices.tolist())
    task = next(task for task in suite().tasks if task.name == args.task)
    draw(judge, task.samples()[args.question], layers, args.target)


if __name__ == "__main__":
    main()

"""What the shipped model can do, and what pruning costs it: `python -m training.evaluate`.

Independent of the pruning engine: tokens are masked from a layer on in the stock eager model. An answer counts if every
token of the target, and the end after it, is the most likely one: the same as greedy generation being exactly right.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoProcessor, LlavaForConditionalGeneration, PreTrainedModel

from tokenbench.contract.cells import VANILLA
from tokenbench.contract.suite import Sample, Suite, Task
from tokenbench_suites.image import suite
from training.scene_batches import SIDE
from training.toy_llava import WEIGHTS_FOLDER

BUDGETS = {"1/3": 48, "2/9": 32, "1/9": 16}
LAYERS = (1, 2, 3)
WAYS = ("oracle", "attention", "random")


class Judge:
    """A model and its processor. token: what its configuration calls the number of its visual token's mark."""

    architecture: type[PreTrainedModel] = LlavaForConditionalGeneration
    token = "image_token_id"
    budgets: ClassVar[dict[str, int]] = BUDGETS

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = self.architecture.from_pretrained(folder, attn_implementation="eager").float().eval()

    def evidence(self, sample: Sample) -> np.ndarray:
        """Share of each visual token [n] that is evidence."""
        return evidence_share(sample)

    def inputs(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """The batch as a user would make it, left-padded."""
        prompts = []
        for sample in samples:
            content = [{"type": "image"}, {"type": "text", "text": sample.question}]
            chat = [{"role": "user", "content": content}]
            prompts.append(self.processor.apply_chat_template(chat, add_generation_prompt=True))
        images = [image for sample in samples for image in sample.load()]
        return dict(self.processor(text=prompts, images=images, padding=True, return_tensors="pt"))

    @torch.no_grad()
    def answers(self, samples: Sequence[Sample], limit: int) -> list[str]:
        inputs = self.inputs(samples)
        out = self.model.generate(**inputs, do_sample=False, max_new_tokens=limit)
        texts: list[str] = self.processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return texts


class Forced:
    """Samples with their targets behind the prompts, so that one forward pass says whether greedy decoding is right."""

    def __init__(self, judge: Judge, samples: Sequence[Sample]) -> None:
        self.model, self.samples = judge.model, samples
        self.inputs = judge.inputs(samples)
        self.prompt = self.inputs["input_ids"].shape[1]
        tokenizer = judge.processor.tokenizer
        ends = [[*tokenizer(s.target, add_special_tokens=False).input_ids, tokenizer.eos_token_id] for s in samples]
        most = max(map(len, ends))
        self.target = torch.tensor([end + [-100] * (most - len(end)) for end in ends])
        fed = self.target.clamp_min(0)
        self.inputs["input_ids"] = torch.cat([self.inputs["input_ids"], fed], 1)
        self.inputs["attention_mask"] = torch.cat([self.inputs["attention_mask"], torch.ones_like(fed)], 1)
        for name in ("token_type_ids", "mm_token_type_ids"):
            self.inputs.pop(name, None)
        self.visual = self.inputs["input_ids"] == getattr(self.model.config, judge.token)

    @torch.no_grad()
    def run(self, layer: int = 0, keep: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """(right [b], last prompt row's mean attention to visual tokens by layer [b, n]); keep [b, n] holds from `layer` on."""
        drop = torch.zeros_like(self.visual)
        if keep is not None:
            drop[self.visual] = ~keep.flatten()
        with masked_from(self.model, layer, drop):
            out = self.model(**self.inputs, output_attentions=True)
        chosen = out.logits[:, self.prompt - 1 : -1].argmax(-1)
        right = ((chosen == self.target) | (self.target < 0)).all(1)
        rows = [a[:, :, self.prompt - 1].mean(1)[self.visual].view(len(self.samples), -1) for a in out.attentions]
        return right, rows


@contextmanager
def masked_from(model: PreTrainedModel, layer: int, drop: Tensor) -> Iterator[None]:
    """Nothing sees the tokens `drop` [b, s] from a layer on."""

    def hide(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs["attention_mask"]
        return args, kwargs | {"attention_mask": mask.masked_fill(drop[:, None, None], torch.finfo(mask.dtype).min)}

    layers = model.model.language_model.layers[layer:]
    hooks = [one.register_forward_pre_hook(hide, with_kwargs=True) for one in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def evidence_share(sample: Sample) -> np.ndarray:
    """Share of each patch [n] that the sample's evidence boxes cover."""
    edges = np.arange(SIDE + 1) / SIDE
    share = np.zeros((SIDE, SIDE))
    for box in sample.evidence:
        wide = np.clip(np.minimum(edges[1:], box.x1) - np.maximum(edges[:-1], box.x0), 0, None)
        high = np.clip(np.minimum(edges[1:], box.y1) - np.maximum(edges[:-1], box.y0), 0, None)
        share += high[:, None] * wide[None] * SIDE**2
    return share.reshape(-1)


def top(scores: Tensor, k: int) -> Tensor:
    """Mask [b, n] of the k highest scores of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(k, 1).indices, True)


def prune(task: Task, judge: Judge, count: int, batch: int = 50) -> dict[tuple[str, int, str], float]:
    """(way, layer, budget) -> accuracy over the first `count` samples."""
    right: dict[tuple[str, int, str], float] = {}
    samples = task.samples()[:count]
    draw = torch.Generator().manual_seed(0)
    for at in range(0, len(samples), batch):
        forced = Forced(judge, samples[at : at + batch])
        vanilla, attention = forced.run()
        noise = torch.rand(attention[0].shape, generator=draw)
        shares = torch.from_numpy(np.stack([judge.evidence(sample) for sample in forced.samples])).float()
        add(right, (VANILLA, 0, "all"), vanilla)
        for layer in LAYERS:
            scores = {"oracle": shares * 10 + noise, "attention": attention[layer - 1], "random": noise}
            for way in WAYS:
                for budget, kept in judge.budgets.items():
                    add(right, (way, layer, budget), forced.run(layer, top(scores[way], kept))[0])
            add(right, ("evidence dropped", layer, "all"), forced.run(layer, shares == 0)[0])
    return {cell: value / len(samples) for cell, value in right.items()}


def add(right: dict[tuple[str, int, str], float], cell: tuple[str, int, str], flags: Tensor) -> None:
    right[cell] = right.get(cell, 0.0) + float(flags.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--limit", type=int, default=300, help="questions a task, generated")
    parser.add_argument("--pruned", type=int, default=100, help="questions a task in the pruning table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report(Judge(args.folder), suite(), args.limit, args.pruned)


def report(judge: Judge, suite: Suite, limit: int, pruned: int) -> None:
    """Print accuracies of generated answers on `limit` questions a task, and the pruning table on `pruned`."""
    for task in suite.tasks if limit else ():
        samples = task.samples()[:limit]
        scores = []
        for at in range(0, len(samples), 50):
            part = samples[at : at + 50]
            answers = judge.answers(part, task.max_new_tokens)
            scores += [task.score(answer, sample) for answer, sample in zip(answers, part, strict=True)]
        print(f"vanilla {task.name}: {np.mean(scores):.3f} (n = {len(scores)})", flush=True)
    if pruned:
        tables = [prune(task, judge, pruned) for task in suite.tasks]
        for cell in tables[0]:
            each = " ".join(f"{table[cell]:.2f}" for table in tables)
            print(f"{cell[0]} before layer {cell[1]} keep {cell[2]}: {np.mean([t[cell] for t in tables]):.3f} | {each}")


if __name__ == "__main__":
    main()

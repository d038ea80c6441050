"""What the shipped video model can do, and what pruning costs it: `python -m training.evaluate_clips`. As evaluate.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, VideoLlavaForConditionalGeneration

from tokenbench.contract.suite import Sample
from tokenbench_suites.clips import FRAMES
from tokenbench_suites.video import suite
from training.clip_batches import CLIP_SIDE, FRAME_TOKENS
from training.evaluate import Judge, report
from training.toy_video_llava import CLIP_WEIGHTS


class ClipJudge(Judge):
    """The video model and its processor."""

    architecture: type[PreTrainedModel] = VideoLlavaForConditionalGeneration
    token = "video_token_id"
    budgets: ClassVar[dict[str, int]] = {"1/3": 99, "2/9": 66, "1/9": 33}

    def inputs(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """The batch as a user would make it, left-padded."""
        prompts = []
        for sample in samples:
            content = [{"type": "video"}, {"type": "text", "text": sample.question}]
            chat = [{"role": "user", "content": content}]
            prompts.append(self.processor.apply_chat_template(chat, add_generation_prompt=True))
        clips = [list(clip.frames) for sample in samples for clip in sample.load()]  # type: ignore[union-attr]
        return dict(self.processor(text=prompts, videos=clips, padding=True, return_tensors="pt"))

    def evidence(self, sample: Sample) -> np.ndarray:
        """Share of each visual token that the sample's boxes cover while they are there; none of a [CLS]."""
        edges = np.arange(CLIP_SIDE + 1) / CLIP_SIDE
        share = np.zeros((FRAMES, FRAME_TOKENS))
        for box in sample.evidence:
            wide = np.clip(np.minimum(edges[1:], box.x1) - np.maximum(edges[:-1], box.x0), 0, None)
            high = np.clip(np.minimum(edges[1:], box.y1) - np.maximum(edges[:-1], box.y0), 0, None)
            seen = slice(round(box.t0 * FRAMES), round(box.t1 * FRAMES))
            share[seen, 1:] += (high[:, None] * wide[None] * CLIP_SIDE**2).reshape(-1)
        return share.reshape(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=CLIP_WEIGHTS)
    parser.add_argument("--limit", type=int, default=300, help="questions a task, generated")
    parser.add_argument("--pruned", type=int, default=100, help="questions a task in the pruning table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report(ClipJudge(args.folder), suite(), args.limit, args.pruned)


if __name__ == "__main__":
    main()

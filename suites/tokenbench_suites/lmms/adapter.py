"""TokenBench as a model of lmms-eval, so that its users get pruning without a fork.

The command is, for example::

    python -m lmms_eval --model tokenbench --model_args backbone=llava-1.5-7b,strategy=clse,budget=1/3 --tasks pope
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import datasets
import torch
from lmms_eval.api.model import lmms
from loguru import logger
from PIL import Image

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA
from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.suite import Sample, Video
from tokenbench.engine import EncoderRequests, RowPlan
from tokenbench.errors import UsageError, unknown
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench_suites.lmms.benchmark import MAX_NEW_TOKENS, open_media
from tokenbench_suites.lmms.exit import tell_the_shell
from tokenbench_suites.lmms.library import content, cut, interleaved
from tokenbench_suites.lmms.rows import Rows
from tokenbench_suites.lmms.video import hash_file

__all__ = ["TokenBench"]

LOADING = ("dtype", "attention", "quantization", "device_map")
ARGUMENTS = ("backbone", "strategy", "budget", "seed", *LOADING, "frames", "fps", "model_name")


class TokenBench(lmms):  # type: ignore[misc]
    """A backbone under a strategy, as lmms-eval sees it.

    Args:
        backbone: The model, as `tokenbench run --models` takes it.
        strategy: The strategy, with parameters after colons.
        budget: The budget, if the strategy takes one.
        seed: The seed of a strategy that draws at random.
        batch_size: lmms-eval's own option.
        device: lmms-eval's own option.
        others: `dtype`, `attention`, `quantization`, `device_map`, `frames` and `fps`, as `tokenbench run` takes them; and `model_name`,
            after which lmms-eval names the folder of its files.
    """

    is_simple = False

    def __init__(
        self,
        backbone: str = "",
        strategy: str = VANILLA,
        budget: Any = "1/3",
        seed: int = 0,
        batch_size: Any = 1,
        device: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        for name in set(others) - {*ARGUMENTS, "max_batch_size"}:
            raise unknown("argument of the model tokenbench", name, ARGUMENTS)
        if not backbone:
            raise UsageError(
                "the model 'tokenbench' needs a backbone",
                "write, for example, --model_args backbone=llava-1.5-7b,strategy=clse",
            )
        self._sampling = FrameSampling.of(others.get("frames"), others.get("fps"))
        plugins = registry()
        method = parse_strategy(strategy, plugins).strategy
        whole = Budget.everything() if strategy == VANILLA else Budget.none()
        allowed = Budget.parse(str(budget)) if method.budgeted else whole
        loading = {name: others[name] for name in LOADING if name in others}
        self._model = Model(backbone, locate(backbone, plugins), choose_device(device), **loading)
        for note in self._model.notes:
            if note not in self._model.backbone.notes:
                logger.warning(note)
        self._plan = RowPlan.make(method, allowed, self._model.depth, int(seed))
        self._requests = EncoderRequests.of(self._plan.typical)
        self._batch_size = int(batch_size)

    @property
    def device(self) -> torch.device:
        """The device of this process, on which lmms-eval counts the requests of all processes."""
        return torch.device(self._model.device)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> TokenBench:
        """Make the model that lmms-eval's command line asks for. If its evaluation fails, so does the command."""
        tell_the_shell()
        made: TokenBench = super().create_from_arg_string(arg_string, additional_config)
        return made

    def generate_until(self, requests: Sequence[Any]) -> Iterator[str]:
        """Answer requests, in their order and as soon as each answer is there, so that lmms-eval can keep them."""
        with self._model.pruner() as pruner:
            for start in range(0, len(requests), self._batch_size):
                asked = requests[start : start + self._batch_size]
                samples = [self._sample(request) for request in asked]
                plans = [self._plan.of(sample.key) for sample in samples]
                limits = [int(request.args[2].get("max_new_tokens") or MAX_NEW_TOKENS) for request in asked]
                batch = self._model.prepare(samples, self._requests)
                answers, _ = self._model.generate(batch, pruner, plans, limits)
                for request, answer in zip(asked, answers, strict=True):
                    yield cut(answer, request.args[2].get("until"))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuse: models under TokenBench only generate."""
        raise NotImplementedError(
            "the model 'tokenbench' generates answers; it cannot compute likelihoods of given ones"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse: TokenBench has no conversations."""
        raise NotImplementedError("the model 'tokenbench' does not support generation in several rounds")

    def clean(self) -> None:
        """Keep the model: lmms-eval would delete it after its first task."""

    def _sample(self, request: Any) -> Sample:
        _, messages, _, doc_id, task, split = request.args
        parts = content(messages(self.task_dict[task][split][doc_id]))
        shown: list[Image.Image | Video] = [
            open_media(p["url"], None, self._sampling) for p in parts if p["type"] in ("image", "video")
        ]
        if not shown:
            raise UsageError(
                f"task '{task}': row {doc_id} has neither an image nor a video, so there is nothing to prune"
            )
        question = interleaved(parts)
        key = self._key(task, split, doc_id, question, [p["url"] for p in parts if p["type"] in ("image", "video")])
        return Sample(key, key, question, "", lambda: shown)

    def _key(self, task: str, split: str, doc_id: int, question: str, media: Sequence[Any]) -> str:
        """The key of a row in `tokenbench run`, so that strategies draw the same random numbers there; else its place."""
        data = self.task_dict[task][split]
        if not isinstance(data, datasets.Dataset):
            return f"{task}/{doc_id}"
        rows = _rows(data)
        shown = rows.media_hash(doc_id)[0]
        if not shown and all(isinstance(item, str) for item in media):
            shown = "-".join(hash_file(item, None) for item in media)
        return f"{task}/{rows.key(doc_id, question, shown) if shown else doc_id}"


@cache
def _rows(split: datasets.Dataset) -> Rows:
    """The rows of a split, hashed once."""
    return Rows(split)


def choose_device(device: str | None) -> str:
    """Return the device of this process. Where lmms-eval runs several, each takes a GPU of its own."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1 or not torch.cuda.is_available()
    if alone or device not in (None, "auto", "cuda"):
        return device or "auto"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"

"""What sharing saves in a sweep: `python -m benchmarks.sweep`.

Six strategies x three budgets and vanilla on suite `image` with toy-llava, interleaved: one pass for all cells (shared), the
same without sharing between questions on one image (apart), the cells one at a time with the same engine (alone), and a
loop over cells and samples that loads, encodes and generates one sample at a time inside `tokenbench.pruned`, as patched
forks do (peers; loading the model is not counted). Ratios of CPU time on one thread; all ways must give the same answers. The cost model says what sharing can save.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

import tokenbench
from tokenbench.contract.suite import first
from tokenbench.cost.macs import encoder_macs
from tokenbench.cost.realised import decoder_macs
from tokenbench.cost.sharing import shared_macs
from tokenbench.engine import EncoderRequests, Pruner, RowPlan, RowTrace
from tokenbench.models.model import Model
from tokenbench.models.source import locate
from tokenbench.registry.plugins import registry
from tokenbench.runner.passes import BatchQuestions, run_plans
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve

STRATEGIES = "clse,fastv,priortr,divprune,random,downsample"
Answers = dict[int, list[str]]
Questions = Sequence[tuple[Any, Any]]


class Sweep:
    """The cells, and the questions in batches as a run makes them."""

    def __init__(self, strategies: str, budgets: str, limit: int, size: int, model: Model | None = None) -> None:
        known = registry()
        self.model = model or Model("toy-llava", locate("toy-llava", known))
        options = {"strategies": strategies, "budgets": budgets, "seeds": 0, "floors": False, "device": "cpu"}
        run = resolve(Request.of({**options, "limit": limit, "batch_size": size}), known)
        self.plans = [
            RowPlan.make(arm.named.strategy, arm.budget, self.model.depth, arm.seed, name=arm.named.name)
            for arm in run.arms
        ]
        questions = [(task, sample) for task in run.tasks for sample in first(task, limit)]
        questions.sort(key=lambda question: question[1].cluster)
        self.batches = [questions[at : at + size] for at in range(0, len(questions), size)]

    def shared(self, pruner: Pruner, questions_share: bool = True) -> tuple[Answers, list[list[RowTrace]]]:
        """All cells of a batch from one prefix; questions_share: those on one image share what comes before them."""
        requests = EncoderRequests.of(stage for plan in self.plans for stage in plan.typical)
        answers: Answers = {}
        traces: list[list[RowTrace]] = [[] for _ in self.plans]
        for questions in self.batches:
            batch = self.model.prepare([sample for _, sample in questions], requests)
            if not questions_share:
                batch = replace(batch, same=list(range(len(questions))))
            asked = BatchQuestions(batch, _keys(questions), _limits(questions))
            every = range(len(self.plans))
            for outcome in run_plans(self.model, pruner, self.plans, every, (), asked, self.model.size):
                answers.setdefault(outcome.plan, []).extend(outcome.answers)
                traces[outcome.plan].extend(outcome.rows)
        return answers, traces

    def alone(self, pruner: Pruner) -> Answers:
        """Cell by cell."""
        answers: Answers = {}
        for i, plan in enumerate(self.plans):
            for questions in self.batches:
                batch = self.model.prepare([sample for _, sample in questions], EncoderRequests.of(plan.typical))
                plans = [plan.of(key) for key in _keys(questions)]
                answers.setdefault(i, []).extend(self.model.generate(batch, pruner, plans, _limits(questions))[0])
        return answers

    def peers(self, most: int | None = None) -> Answers:
        """Cell by cell and sample by sample, on the stock classes; the first `most` questions only, if it is given."""
        model, processor = self.model._model, self.model._processor
        answers: Answers = {}
        for i, plan in enumerate(self.plans):
            for questions in [self.batches[0][:most]] if most else self.batches:
                for (task, sample), key in zip(questions, _keys(questions), strict=True):
                    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": sample.question}]}]
                    prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
                    inputs = processor(images=sample.load(), text=prompt, return_tensors="pt")
                    inputs = inputs.to(model.device, model.dtype)
                    with (
                        torch.inference_mode(),
                        tokenbench.pruned(model, plan.strategy, plan.budget, seed=plan.seed, keys=[key]),
                    ):
                        ids = model.generate(**inputs, do_sample=False, max_new_tokens=task.max_new_tokens)
                    new = ids[0, inputs["input_ids"].shape[1] :]
                    answers.setdefault(i, []).append(processor.tokenizer.decode(new, skip_special_tokens=True).strip())
        return answers

    def predicted(self, traces: Sequence[Sequence[RowTrace]], questions_share: bool = True) -> float:
        """Share of the multiply-accumulates of `alone` that `shared` needs; decoding and selection left aside."""
        shared, alone = self.macs(traces, questions_share)
        return shared / alone

    def macs(self, traces: Sequence[Sequence[RowTrace]], questions_share: bool = True) -> tuple[float, float]:
        """Multiply-accumulates of `shared` and of `alone`; decoding and selection left aside."""
        size = self.model.size
        assert size is not None
        images = len({sample.cluster for questions in self.batches for _, sample in questions})
        alone = len(traces) * images * encoder_macs(size.encoder, traces[0][0].grids)
        alone += sum(decoder_macs(row, size) for rows in traces for row in rows)
        return shared_macs(size, self.plans, traces, images, questions_share), alone


def _keys(questions: Questions) -> list[str]:
    return [f"{task.name}/{sample.key}" for task, sample in questions]


def _limits(questions: Questions) -> list[int]:
    return [task.max_new_tokens for task, _ in questions]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default=STRATEGIES)
    parser.add_argument("--budgets", default="1/3,2/9,1/9")
    parser.add_argument("--limit", type=int, default=16, help="questions a task")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=int, default=1, help="rounds of the slowest way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sweep = Sweep(options.strategies, options.budgets, options.limit, options.batch_size)
    times: dict[str, list[float]] = {"shared": [], "apart": [], "alone": [], "peers": []}
    with sweep.model.pruner() as pruner:
        answers, traces = sweep.shared(pruner)  # warm-up
        for _ in range(options.rounds):
            for name, way in (
                ("shared", lambda: sweep.shared(pruner)[0]),
                ("apart", lambda: sweep.shared(pruner, questions_share=False)[0]),
                ("alone", lambda: sweep.alone(pruner)),
            ):
                start = time.process_time()
                found = way()
                times[name].append(time.process_time() - start)
                _say_differences(name, found, answers)
    for _ in range(options.peers):
        start = time.process_time()
        found = sweep.peers()
        times["peers"].append(time.process_time() - start)
        _say_differences("peers", found, answers)
    cells, count = len(sweep.plans), sum(map(len, sweep.batches))
    print(f"{cells} cells x {count} questions")
    middle = {name: statistics.median(values) for name, values in times.items() if values}
    for name in ("apart", "alone", "peers"):
        if name in middle:
            ratios = [value / middle["shared"] for value in times[name]]
            print(f"{name} / shared: {middle[name] / middle['shared']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    for name, questions_share in (("shared", True), ("apart", False)):
        predicted = sweep.predicted(traces, questions_share)
        measured = middle[name] / middle["alone"]
        print(
            f"cost model: alone / {name} {1 / predicted:.2f}; saved {1 - measured:.1%} of alone, possible {1 - predicted:.1%}"
        )


def _say_differences(name: str, found: Answers, answers: Answers) -> None:
    differing = sum(a != b for i in answers for a, b in zip(answers[i], found[i], strict=True))
    if differing:
        print(f"{name}: {differing} answers differ")


if __name__ == "__main__":
    main()

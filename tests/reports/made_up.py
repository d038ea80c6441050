"""A run that never ran: answers with a known truth, pictures, and whatever strings a test wants to see survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tokenbench.comparison import compare
from tokenbench.contract.suite import Box, Sample
from tokenbench.store.frames import count_kept, select

SIDE = 6
BUDGETS = ("1/2", "1/4", "1/9")
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&{{7*7}}"
LONG = "long " * 2000


class MadeUpRun:
    """What a report asks of a run."""

    def __init__(self, samples, questions=None, **about):
        self._samples, self._questions = samples, questions or {}
        self._about = {
            "spec": {"suite": "image", "limit": None, "floors": [], "strategies": ["a"]},
            "versions": {"tokenbench": "0.1.0"},
            **about,
        }

    folder = Path("my-run")
    folders = (folder,)

    def about(self):
        return self._about

    def samples(self, columns=None, of=None):
        return select(self._samples, columns, of)

    @property
    def measured(self):
        return self._samples.assign(kept=count_kept(self._samples["kept"]))

    def questions(self):
        return self._questions


def bench(model="toy", strategies=("good",), budget="1/4"):
    """What ``tokenbench bench`` keeps of one model, as far as reports read it."""
    ratio = {"estimate": 0.512, "low": 0.487, "high": 0.538}
    row = {"visual_tokens": 576, "decode_seconds": 0.0204, "kv_bytes": 3 * 2**20, "peak_bytes": 700 * 2**20}
    one = {"estimate": 1.0, "low": 1.0, "high": 1.0}
    stock = {
        **row,
        "strategy": "vanilla",
        "budget": "stock",
        "ttft_seconds": 0.2,
        "ttft_ratio": one,
        "decode_ratio": one,
    }
    own = {**row, "budget": budget, "ttft_seconds": 0.1024, "ttft_ratio": ratio, "decode_ratio": {**ratio, "low": None}}
    return {
        "model": model,
        "rows": [stock, *({**own, "strategy": name} for name in strategies)],
        "break_even": {f"{name} at {budget}": {"visual": 143.7, "bound": "about"} for name in strategies},
        "infeasible": ["dart at 1/4 is left out: no schedule"],
        "notes": ["toy (its own weights, float32) on a made-up processor."],
    }


def answers(
    loses, tasks=("count", "read"), images=40, models=("toy",), answer="yes", budgets=BUDGETS, seed=0, able=0.8
):
    """Rows of a run of a model that is ``able`` to answer so many questions; ``loses`` maps a strategy to the share of right answers that it spoils."""
    rng, rows = np.random.default_rng(seed), []
    for model in models:
        for task in tasks:
            right = rng.uniform(size=images) < able
            for strategy, spoils in {"vanilla": 0.0, **loses}.items():
                for budget in ("all",) if strategy == "vanilla" else budgets:
                    share = 1.0 if strategy == "vanilla" else eval(budget)
                    for at, score in enumerate(right & (rng.uniform(size=images) >= spoils)):
                        n = round(SIDE * SIDE * share)
                        kept = np.sort(rng.permutation(SIDE * SIDE)[:n]).astype(np.int32)
                        rows.append({
                            "model": model, "strategy": strategy, "budget": budget, "seed": 0, "task": task,
                            "sample": f"{task}-{at}", "cluster": f"image-{at}", "answer": answer, "target": "yes",
                            "score": float(score), "kept": kept, "visual_tokens": SIDE * SIDE,
                            "lattice": np.array([1, SIDE, SIDE, 0], dtype=np.int32), "realised_tokens": float(n),
                            "flops": 1e9 * share, "cache_bytes": 1e6 * share, "evidence_recall": share,
                        })  # fmt: skip
    return pd.DataFrame(rows)


def asked(samples, question="What is there?"):
    """The questions to these rows, each with a picture of its own."""
    found = {}
    for task, key, cluster in samples[["task", "sample", "cluster"]].drop_duplicates().itertuples(index=False):
        shade = int(key.rpartition("-")[2]) * 5 % 255
        image = Image.new("RGB", (60, 60), (shade, 120, 200 - shade // 2))
        found[task, key] = Sample(
            key, cluster, question, "yes", lambda image=image: [image], (Box(0.1, 0.1, 0.4, 0.4),)
        )
    return found


def made_up(loses, question="What is there?", about=None, **options):
    """A comparison, and the run it is of."""
    samples = answers(loses, **options)
    comparison = compare(samples.assign(kept=samples["kept"].map(len)), resamples=199)
    return comparison, MadeUpRun(samples, asked(samples, question), **(about or {}))

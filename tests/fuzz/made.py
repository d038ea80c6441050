"""A small finished run directory, written by the store itself, without running a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenbench.store.directory import Store
from tokenbench.store.run_json import SCHEMA_VERSION

SIDE = 3
IDS = ("00aa11bb22cc33dd44ee", "01aa11bb22cc33dd44ee", "02aa11bb22cc33dd44ee")
SPEC = {
    "suite": "image", "tasks": ["attribute"], "models": ["toy-llava"], "strategies": ["good", "bad"], "floors": [],
    "budgets": ["1/2"], "seeds": [0], "limit": None, "batch_size": 4, "device": "cpu", "dtype": "float32",
    "attention": "sdpa", "match": "nominal", "data": [], "definitions": [],
}  # fmt: skip
BENCH = {
    "schema_version": 1,
    "models": [
        {
            "model": "toy-llava",
            "rows": [
                {
                    "strategy": "vanilla", "budget": "stock", "visual_tokens": 9, "ttft_seconds": 0.2, "decode_seconds": 0.1,
                    "kv_bytes": 100, "peak_bytes": 1000, "ttft_ratio": {"estimate": 1.0, "low": 1.0, "high": 1.0},
                    "decode_ratio": {"estimate": 1.0, "low": None, "high": None},
                }
            ],
            "break_even": {"good at 1/2": {"visual": 12.0, "bound": "about"}},
            "infeasible": [],
            "notes": ["made up"],
        }
    ],
}  # fmt: skip


def record(sample: int, right: bool, tokens: int) -> dict[str, Any]:
    """One answer, as the runner makes it."""
    return {
        "sample": f"s{sample}", "cluster": f"image-{sample}", "unit": f"s{sample}", "stratum": "", "answer": "red" if right else "blue",
        "target": "red", "score": float(right), "kept": list(range(tokens)), "visual_tokens": SIDE * SIDE,
        "lattice": [1, SIDE, SIDE, 0], "tokens_per_layer": [SIDE * SIDE, tokens], "realised_tokens": (SIDE * SIDE + tokens) / 2,
        "text_tokens": 5, "flops": 1e9 * tokens, "cache_bytes": 1e3 * tokens, "evidence_recall": 0.5, "seconds": 0.01,
    }  # fmt: skip


def made_run(folder: Path, samples: int = 6) -> Path:
    """Vanilla, a good and a bad strategy on one task; a measurement beside them."""
    arms = [("vanilla", "all"), ("good", "1/2"), ("bad", "1/2")]
    cells = [
        {
            "id": name,
            "model": "toy-llava",
            "strategy": strategy,
            "budget": budget,
            "seed": 0,
            "task": "attribute",
            "parts": {"seed": "0a"},
        }
        for name, (strategy, budget) in zip(IDS, arms, strict=True)
    ]
    store = Store(folder)
    store.start({
        "schema_version": SCHEMA_VERSION, "spec": SPEC, "cells": cells, "parts": {"0a": {"number": 0}},
        "tasks": {"attribute": {"unit_rule": "mean", "identity": "", "samples": samples}},
        "models": {
            "toy-llava": {
                "identity": "abc", "prompt": "p", "attention": "sdpa", "device": "cpu", "decoder_layers": 2, "decoding": "greedy",
            }
        },
        "versions": {"tokenbench": "0.1.0"}, "hardware": {"machine": "x", "threads": 1, "gpu": None},
        "plugins": [], "plugin_files": [], "notes": [],
    })  # fmt: skip
    for at, cell in enumerate(cells):
        tokens = SIDE * SIDE if at == 0 else 4
        keys = [f"s{i}" for i in range(samples)]
        store.journals.append((cell["id"], record(i, at < 2 or i % 2 == 0, tokens)) for i in range(samples))
        store.finish(cell["id"], dict.fromkeys(keys, ""), {**cell, "official": {"accuracy": 0.5}})
        store.clean_up(cell["id"])
    (folder / "bench.json").write_text(json.dumps(BENCH))
    return folder

"""TokenBench from Python: prune a model, run a sweep, read a run. `python examples/python_api.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import tokenbench
from tokenbench.registry.plugins import registry


def prune(source: str) -> None:
    """Prune a stock transformers model inside a with block; outside of it the model is as it was."""
    model = AutoModelForImageTextToText.from_pretrained(source).eval()
    processor = AutoProcessor.from_pretrained(source)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is there?"}]}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True)
    inputs = processor(images=[picture], text=[prompt], return_tensors="pt")
    with tokenbench.pruned(model, "fastv", budget="1/3") as pruning:
        model.generate(**inputs, max_new_tokens=2)
    (row,) = pruning.rows
    print(f"kept {len(row.kept)} of {row.visual} visual tokens; per layer: {row.tokens_per_layer}")


def sweep(folder: Path) -> None:
    """Run strategies at budgets on a suite, compare them, and read every answer."""
    run = tokenbench.run(["fastv", "clse"], folder, tasks=["attribute"], budgets=["1/9"], limit=8, floors=False)
    summary = run.compare().summary
    print(summary[summary["task"] == "mean"][["strategy", "budget", "score", "retention"]].to_string(index=False))
    samples = tokenbench.Run.open(folder).samples()
    print(f"{len(samples)} answers, right ones by strategy: {samples.groupby('strategy')['score'].sum().to_dict()}")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/python-api")
    prune(registry().get("backbones", "toy-llava").source)  # or any folder or Hugging Face id of a served architecture
    sweep(target)

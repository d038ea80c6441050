"""Runs the checks of backbones on a small random model of every image-text-to-text architecture of transformers.

    python -m benchmarks.architectures                  # what benchmarks/architectures.json lacks, then the page
    python -m benchmarks.architectures smolvlm gemma3   # these anew
    python -m benchmarks.architectures --strategies     # the checks of five strategies as well, where these are lacking

Every architecture is checked in a process of its own with bounded memory and time. A new release of transformers is
checked from the start. At the end, a line for each architecture says how its class changed, or that it is new or gone; the exit
status is 1 if one that passed no longer does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "architectures.json", ROOT / "docs" / "architectures.md"
MEMORY, SECONDS = 12 << 30, 1800
STRATEGIES = ("random", "fastv", "clse", "divprune", "visionzip")
CLASSES = {
    "adapter": "an adapter of its own",
    "auto": "`Auto`, all checks passed",
    "unchecked": "`Auto`, not checked: no small model could be made",
    "failed": "`Auto`, but a check failed: not recommended",
    "refused": "refused",
}


def main() -> None:
    """Check, store and write the page."""
    import transformers

    import tokenbench.testing.backbone  # noqa: F401 -- once, before the processes fork
    import tokenbench_backbones.auto.shrunk  # noqa: F401
    from tokenbench_backbones.auto.backbone import model_types

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--strategies", action="store_true")
    options = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = {name: result["class"] for name, result in stored.get("architectures", {}).items()}
    if stored.get("transformers") != transformers.__version__:
        stored = {"transformers": transformers.__version__, "architectures": {}}
    known = stored["architectures"]
    strategies = STRATEGIES if options.strategies else ()
    for name in options.names or [name for name in model_types() if lacks(known.get(name), strategies)]:
        known[name] = in_process(name, strategies)
        print(name, known[name], flush=True)
        RESULTS.write_text(json.dumps({**stored, "architectures": dict(sorted(known.items()))}, indent=1) + "\n")
    PAGE.write_text(page(stored["transformers"], dict(sorted(known.items()))))
    changed = changes(before, {name: result["class"] for name, result in known.items()})
    print(*changed, sep="\n")
    if any(line.endswith(("auto -> failed", "auto -> unchecked")) for line in changed):
        sys.exit(1)


def lacks(result: dict[str, Any] | None, strategies: tuple[str, ...]) -> bool:
    """Whether an architecture was not checked yet, or not with these strategies."""
    if result is None:
        return True
    ran = {text.partition(" ")[0] for text in result.get("strategies", ())}
    return result["class"] in ("adapter", "auto") and not ran.issuperset(strategies)


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """A line for every architecture whose class is not what it was."""
    return [
        f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def in_process(name: str, strategies: tuple[str, ...]) -> dict[str, Any]:
    """The result of one architecture, checked in a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=run, args=(name, strategies, theirs))
    child.start()
    theirs.close()
    try:
        found: dict[str, Any] = (
            ours.recv() if ours.poll(SECONDS) else {"class": "failed", "why": "the checks took too long"}
        )
    except EOFError:
        found = {"class": "unchecked", "why": "the process ended early: too little memory"}
    child.kill()
    child.join()
    return found


def run(name: str, strategies: tuple[str, ...], answer: Any) -> None:
    """Send the result of one architecture."""
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answer.send(check(name, strategies))


def check(name: str, strategies: tuple[str, ...] = ()) -> dict[str, Any]:
    """The class of an architecture, and what the checks say of it."""
    from tokenbench.errors import InfeasibleError, TokenBenchError, UsageError, brief
    from tokenbench.registry.backbones import backbone_of
    from tokenbench.registry.names import parse_strategy
    from tokenbench.registry.plugins import registry
    from tokenbench.testing import backbone_checks, strategy_checks
    from tokenbench.testing.backbone import case_of
    from tokenbench_backbones.auto import Auto

    try:
        backbone = backbone_of(name, registry())
    except UsageError as error:
        return {"class": "refused", "why": str(error).partition(": ")[2]}
    own = not isinstance(backbone, Auto)
    described = {
        "lattice": "known" if own or backbone.knows_lattices else "unknown",
        "encoder": "described" if own or backbone.describes_towers else "unknown",
    }
    try:
        case = case_of(backbone)
    except TokenBenchError as error:
        return {"class": "unchecked", **described, "why": brief(error.__cause__ or error)}
    ran = []
    try:
        for one in backbone_checks():
            one(case)
        for text in strategies:
            pruned = replace(case, strategy=parse_strategy(text, registry()).strategy)
            try:
                for one in strategy_checks():
                    one(pruned)
                ran.append(text)
            except AssertionError as error:
                if not isinstance(error.__cause__, InfeasibleError):
                    raise
                ran.append(f"{text} is infeasible")
    except Exception as error:  # whatever goes wrong is the finding
        return {"class": "failed", **described, "why": " ".join(str(error).split())[:200]}
    return {"class": "adapter" if own else "auto", **described, "strategies": ran}


def page(version: str, known: dict[str, dict[str, Any]]) -> str:
    """The page of the documentation."""
    counts = {kind: sum(result["class"] == kind for result in known.values()) for kind in CLASSES}
    lines = [
        "# Architectures",
        "",
        f"This page lists every image-text-to-text architecture of transformers {version}, by `config.model_type`. It is "
        "written by `python -m benchmarks.architectures`, which makes a small random model of each from its default "
        "configuration and runs the checks of backbones on it (see [checks](checks.md)): stock logits bit for bit where "
        "nothing is dropped, stock logits with the dropped tokens hidden where something is, batches equal to single "
        "rows, cached equal to uncached decoding. Then come the checks of these strategies: "
        f"{', '.join(f'`{name}`' for name in STRATEGIES)}. No trained weights were run.",
        "",
        "| what serves it | architectures |",
        "|---|---|",
        *(f"| {CLASSES[kind]} | {count} |" for kind, count in counts.items() if count),
        "",
        "Where the lattice is unknown, strategies that need the position of every visual token on the image (`clse`, "
        "`pooling`, `downsample`) are reported as infeasible. Where the encoder is unknown, so are strategies that read "
        "the vision encoder (`visionzip`, `hired`, `prumerge`, …), and `tokenbench cost`, `plan` and "
        "`bench --random-weights` cannot tell what the model computes.",
        "",
        "| `model_type` | what serves it | lattice | encoder | strategies that passed | remark |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{name}` | {CLASSES[result['class']]} | {result.get('lattice', '')} | {result.get('encoder', '')} "
            f"| {_passed(result.get('strategies'))} | {_cell(result.get('why', ''))} |"
            for name, result in known.items()
        ),
        "",
    ]
    return "\n".join(lines)


def _passed(strategies: list[str] | None) -> str:
    """The strategies that passed their checks, which all others cannot run."""
    passed = [text for text in strategies or () if " " not in text]
    return f"all {len(passed)}" if passed == list(STRATEGIES) else ", ".join(passed)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    start = time.process_time()
    main()
    print(f"{time.process_time() - start:.0f} s", file=sys.stderr)

"""A page for every registered strategy, written from the strategy itself when the site is built."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from method_tables import (
    BUDGETS,
    DEPTH,
    VISUAL,
    count_table,
    escape,
    lines_table,
    marked,
    read_fidelity,
    recorded_table,
    stages_of,
)

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.stage import Attn, NoQuestionAttn, Stage
from tokenbench.contract.strategy import Strategy
from tokenbench.registry.plugins import registry

FOLDER = "strategies"
QUERIES = {"last": "the last prompt token", "null": "the first token after the image"}


def setup(app: Any) -> dict[str, bool]:
    """Pages are written anew before every build, and only where something changed."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / FOLDER))
    return {"parallel_read_safe": True}


def write(folder: Path) -> None:
    """The pages and the table of the built-in strategies; pages of strategies that are gone are removed."""
    folder.mkdir(exist_ok=True)
    plugins = registry()
    names = sorted(n for p in plugins.plugins if p.distribution == "tokenbench" for n in p.registered["strategies"])
    pages = {f"{name}.md": page(name, plugins.get("strategies", name), folder) for name in names}
    strategies = {name: plugins.get("strategies", name) for name in names}
    pages["table.txt"] = overview(strategies)
    pages["recorded.txt"] = recorded_table()
    pages["counts.txt"] = count_table(strategies)
    pages["lines.txt"] = lines_table(strategies)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for file, text in pages.items():
        path = folder / file
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def overview(strategies: dict[str, type[Strategy]]) -> str:
    """One line a strategy: name, what it does, where it acts on a decoder of 32 layers."""
    rows = [
        f"| [`{name}`](strategies/{name}.md) | {escape(_about(cls))} | {_place(cls)} |"
        for name, cls in strategies.items()
    ]
    return "\n".join(["| name | method | where it acts |", "|---|---|---|", *rows, ""])


def page(name: str, cls: type[Strategy], folder: Path) -> str:
    """The whole page in MyST."""
    source = inspect.getsourcefile(cls)
    assert source is not None
    parts = [
        f"# {name}",
        f"**{escape(_about(cls))}**",
        escape(marked(inspect.getdoc(cls) or "")),
        "## Parameters",
        _parameters(name, cls),
        "## Schedule",
        _schedule(cls),
        "## What it reads and changes",
        "\n".join(f"* {line}" for line in _traits(cls)),
        *_fidelity(name),
        "## Source",
        f"```{{literalinclude}} {os.path.relpath(source, folder)}\n:language: python\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _fidelity(name: str) -> Iterator[str]:
    """What paper, released code and this strategy do, and how many recorded decisions are equal."""
    known = read_fidelity().get(name)
    if known is None:
        return
    yield "## Against the paper and the released code"
    if known["rows"]:
        rows = ["| | paper | released code | TokenBench |", "|---|---|---|---|"]
        yield "\n".join([*rows, *(f"| {' | '.join(map(escape, row))} |" for row in known["rows"])])
    why = f" {known['why']}" if "why" in known else ""
    if known["cases"]:
        why = f"Decisions of the released code on fixed inputs: {known['equal']} of {known['cases']} recorded cases are equal.{why}"
    yield escape(marked(why.strip()))


def _about(cls: type) -> str:
    """The first line of its file, `FastV: after layer K, …`; its own, where the file holds an earlier strategy."""
    module = sys.modules[cls.__module__]
    text = inspect.getdoc(module if getattr(module, "__all__", [cls.__name__])[0] == cls.__name__ else cls) or ""
    return text.partition("\n")[0].rstrip(".") + "."


def _parameters(name: str, cls: type[Strategy]) -> str:
    if not cls.model_fields:
        return "None."
    rows = ["| name | default | meaning |", "|---|---|---|"]
    for own, field in cls.model_fields.items():
        default = "/".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "by depth" if default in (None, "") else f"`{default}`"
        rows.append(f"| `{field.alias or own}` | {shown} | {escape(field.description or '')} |")
    return (
        f"Parameters are written as `{name}:NAME=VALUE`, and lists with slashes, such as `layers=1/11/21`.\n\n"
        + "\n".join(rows)
    )


def _typical(cls: type[Strategy]) -> Sequence[Stage]:
    return stages_of(cls, Budget.parse(BUDGETS[0]) if cls.budgeted else Budget.none())


def _place(cls: type[Strategy]) -> str:
    stages = _typical(cls)
    if not stages:
        return "nowhere"
    if any(stage.pixels for stage in stages):
        return "before the vision encoder"
    if any(stage.rerun is not None for stage in stages):
        return "in the vision encoder"
    layers = [str(stage.layer) for stage in stages]
    if layers == ["0"]:
        return "before the decoder"
    return f"before layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"


def _schedule(cls: type[Strategy]) -> str:
    """What stays at the field's budgets on LLaVA-1.5-7B."""
    if not cls.budgeted:
        return "This method takes no budget, and runs once."
    rows = ["| budget | visual tokens by layer | mean |", "|---|---|---|"]
    for tokens in BUDGETS:
        spans, mean = _spans(stages_of(cls, Budget.parse(tokens)))
        rows.append(f"| {tokens} | {spans} | {mean:.1f} |")
    return (
        f"On a decoder of {DEPTH} layers and {VISUAL} visual tokens (LLaVA-1.5-7B, one image), as counted for `tokenbench cost`:"
        "\n\n" + "\n".join(rows)
    )


def _spans(stages: Sequence[Stage]) -> tuple[str, float]:
    """`576 in layers 0–1, 192 in layers 2–31`, and the mean over all layers."""
    edges, alive, total, spans = [*(stage.layer for stage in stages), DEPTH], VISUAL, 0, []
    if edges[0] > 0:
        spans.append(_span(alive, 0, edges[0]))
        total += alive * edges[0]
    for stage, (start, end) in zip(stages, pairwise(edges), strict=True):
        assert stage.keep is not None
        alive = count(stage.keep, VISUAL, alive)
        spans.append(_span(alive, start, end))
        total += alive * (end - start)
    return ", ".join(spans), total / DEPTH


def _span(tokens: int, start: int, end: int) -> str:
    return f"{tokens} in {start}–{end - 1}" if end - start > 1 else f"{tokens} in {start}"


def _queries(request: Attn) -> str:
    if isinstance(request, NoQuestionAttn):
        return "the last prompt token in a second forward pass without the question"
    return QUERIES.get(request.queries, "the question's tokens")


def _traits(cls: type[Strategy]) -> Iterator[str]:
    stages = _typical(cls)
    attention = {request for stage in stages for request in stage.attention}
    if attention:
        queries = {_queries(request) for request in attention}
        yield f"Attention of {' and of '.join(sorted(queries))}, at layers {_numbers({r.layer for r in attention})}."
    for what, field in (("Hidden states of visual tokens", "hidden"), ("Hidden states of the question", "text")):
        if depths := {depth for stage in stages for depth in getattr(stage, field)}:
            yield f"{what}, at depths {_numbers(depths)}."
    if keys := {layer for stage in stages for layer in stage.keys}:
        yield f"Keys of layers {_numbers(keys)}."
    if signals := {signal.kind for stage in stages for signal in stage.signals}:
        yield f"Signals of the vision encoder: {', '.join(sorted(signals))}."
    if any(stage.rerun is not None for stage in stages):
        yield "It runs the upper layers of the vision encoder again, on fewer tokens."
    yield "It merges dropped tokens into kept ones." if cls.merges else "Kept tokens do not change."
    yield (
        "Dropped tokens are also removed from the KV caches of earlier layers."
        if cls().trims(DEPTH)
        else "The KV caches of earlier layers do not change."
    )
    yield f"Remaining tokens {'are renumbered' if cls.positions == 'compact' else 'keep their positions'}."
    if cls.stochastic:
        yield "It draws at random, and runs once per seed."


def _numbers(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)))
